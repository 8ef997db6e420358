"""A decoding process: told what to do, one file at a time, by whoever started it. `python -m` it with a descriptor.

It is handed open files over its socket, and answers in JSON: what comes from here is from a process that a customer's
file may have taken over, so nothing is unpickled. The other side is audiomill/audio/decoder_process.py.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

from audiomill.decoding.confinement import Limits, confine, end_with
from audiomill.decoding.container import needs_too_much_memory
from audiomill.decoding.reading import Order, look_at, read_sound
from audiomill.decoding.remuxing import WRITTEN, RemuxOrder, remux, tracks_of
from audiomill.errors import AudiomillError

_MESSAGE_BYTES = 1 << 16
_MOST_FILES = 4


def main(descriptor: int, parent: int) -> None:
    """Serve until the other side closes its end."""
    end_with(parent)
    channel = socket.socket(fileno=descriptor)
    _warm_up()
    limits = Limits()
    confined = confine()
    _say(channel, {"confined": confined})
    while True:
        message, descriptors, _, _ = socket.recv_fds(channel, _MESSAGE_BYTES, _MOST_FILES)
        if not message:
            return
        files = [open(one, "r+b" if index else "rb", buffering=0) for index, one in enumerate(descriptors)]  # noqa: PTH123, SIM115
        answer = _answer(json.loads(message), files, limits)
        for file in files:
            file.close()
        _say(channel, answer)


def _answer(request: dict[str, Any], files: list[Any], limits: Limits) -> dict[str, Any]:
    limits.set(**request["limits"])
    if request.get("tracks"):
        return _outcome(lambda: tracks_of(files[0]))
    if (film := request.get("remux")) is not None:
        source, sound, cues, out = files
        _empty(out)
        cues.seek(0)
        return _outcome(lambda: remux(source, sound, cues, _Whole(out), RemuxOrder(**film)))
    order = request["order"]
    if order is None:
        return _outcome(lambda: look_at(files[0]))
    source, out = files
    _empty(out)
    return _outcome(lambda: read_sound(source, _Whole(out), Order(**order)))


def _empty(out: Any) -> None:  # noqa: ANN401 - io.FileIO
    """A process that died of the file has left something."""
    if out.seek(0, os.SEEK_END):
        out.truncate(0)
        out.seek(0)


class _Whole:
    """A raw file whose writes are whole: one that is cut short by a limit or a full disk raises OSError at the next."""

    def __init__(self, file: Any) -> None:  # noqa: ANN401 - io.FileIO
        self._file = file

    def write(self, data: memoryview | bytes) -> int:
        view = memoryview(data)
        rest = view.cast("B") if view.nbytes else view
        while rest.nbytes:
            rest = rest[self._file.write(rest) :]
        return view.nbytes

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())


def _outcome(work: Callable[[], Any]) -> dict[str, Any]:
    """What work came to, or why not, in plain data."""
    try:
        return {"result": asdict(work())}
    except AudiomillError as error:
        return _refusal(error)
    except MemoryError as error:
        refusal = needs_too_much_memory()
        refusal.__cause__ = error
        return _refusal(refusal)
    except OSError as error:
        return {"machine": error.errno}
    except Exception as error:  # noqa: BLE001 - a fault of ours: told by its kind, for its words may hold content
        return {"broken": type(error).__name__}


def _refusal(error: AudiomillError) -> dict[str, Any]:
    detail = "" if error.__cause__ is None else f"{type(error.__cause__).__name__}: {error.__cause__}"
    return {
        "refused": {
            "kind": type(error).__name__,
            "code": error.code,
            "message": error.message,
            "detail": detail[:1000],
        }
    }


def _say(channel: socket.socket, what: dict[str, Any]) -> None:
    channel.send(json.dumps(what).encode())


def _warm_up() -> None:
    """Decode once each way that imports or allocates something: later nothing can be opened, modules included."""
    form = b"WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x40\x1f\x00\x00\x80\x3e\x00\x00\x02\x00\x10\x00data"
    sound = b"RIFF" + (36 + 3200).to_bytes(4, "little") + form + (3200).to_bytes(4, "little") + b"\x10\x00" * 1600
    for content in (sound, b"no sound, but text"):
        for order in (Order(16_000, mono=True, max_seconds=60, most_bytes=1 << 20), None):
            with _in_memory(content) as source, _in_memory(b"") as out:
                work = partial(read_sound, source, _Whole(out), order) if order else partial(look_at, source)
                json.dumps(_outcome(work))

    for kind in WRITTEN:
        for content in (sound, b"no sound, but text"):
            raw, lines = b"\x00" * 8000, b'[[[0, 10, "a"]]]'
            with (
                _in_memory(content) as source,
                _in_memory(raw) as new,
                _in_memory(lines) as cues,
                _in_memory(b"") as out,
            ):
                cues.seek(0)
                order_of_film = RemuxOrder(kind, None, 48_000, 1, "und", "", [["und", ""]])
                json.dumps(_outcome(partial(remux, source, new, cues, _Whole(out), order_of_film)))
                json.dumps(_outcome(partial(tracks_of, source)))


def _in_memory(content: bytes) -> Any:  # noqa: ANN401 - io.FileIO
    file = open(os.memfd_create("warm-up"), "r+b", buffering=0)  # noqa: PTH123, SIM115 - the caller's
    file.write(content)
    return file


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
