"""The espeak-ng C library by ctypes: voices, and one text to samples and events. No orders, no engine protocol here.

Structures and constants are those of espeak-ng 1.52's `speak_lib.h`. The library is one global state per process and
is not thread-safe: everything here happens under one lock.

Each text is spoken by a freshly loaded copy of the library. Its synthesiser keeps state (phases, flutter, random
numbers) that neither another voice, `espeak_ng_SetRandSeed` nor `espeak_Terminate` resets: measured, the same sentence
came out differently nine times of nine. Unloading the shared object resets all of it and costs 5 ms. The breath of
some variants (`+f2`) is noise that starts from the time of day; it starts from a number of ours instead.
"""

import _ctypes
import ctypes
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import espeakng_loader

from audiomill.errors import EngineFailed

_SYNCHRONOUS = 2  # AUDIO_OUTPUT_SYNCHRONOUS: samples go to the callback, no thread of its own (it would outlive us)
_DO_NOT_EXIT = 0x8000  # espeakINITIALIZE_DONT_EXIT: report missing data instead of ending the process
_CHARACTERS_UTF8 = 1  # espeakCHARS_UTF8; no SSML, no [[phonemes]]: text is text
_POSITION_CHARACTER = 1  # POS_CHARACTER
_RATE, _PITCH = 1, 3  # espeakRATE (words a minute), espeakPITCH (0 to 99)
_EVENT_LIST_TERMINATED, EVENT_WORD, EVENT_CLAUSE_END = 0, 1, 5
_OK = 0

# Listed by the library, but their dictionaries are not in espeakng-loader 0.2.4: they would spell letter by letter.
_WITHOUT_DICTIONARY = frozenset({"gmq/fo", "trk/kaa", "art/xex"})

_BREATH = 1
"""What the noise of breathing voices begins from."""

_lock = threading.Lock()


@dataclass(frozen=True)
class Voice:
    """A voice. `languages`: (priority, BCP 47 tag in lower case), a lower priority is the better match."""

    name: str
    identifier: str
    languages: tuple[tuple[int, str], ...]


@dataclass(frozen=True)
class Event:
    """A word starts, or a clause ends. `position`: character of the text, from 0; `sample`: from the text's start."""

    kind: int
    position: int
    sample: int


class _EventIdentifier(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventIdentifier),
    ]


class _Voice(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Session:
    """A freshly loaded library with a voice set, for one text. Made by `session`."""

    def __init__(self, library: ctypes.CDLL, sample_rate_hz: int) -> None:
        self._library = library
        self.sample_rate_hz = sample_rate_hz

    def set_voice(self, identifier: str, rate_wpm: int, pitch: int) -> None:
        """Choose the voice, its speed in words a minute and its pitch (0 to 99, 50 as it is)."""
        self._checked("set the voice", self._library.espeak_SetVoiceByName(identifier.encode()))
        self._checked("set the rate", self._library.espeak_SetParameter(_RATE, rate_wpm, 0))
        self._checked("set the pitch", self._library.espeak_SetParameter(_PITCH, pitch, 0))

    def speak(self, text: str, on_samples: Callable[[bytes], None]) -> list[Event]:
        """Speak a text. `on_samples` gets 16-bit native samples, block by block. Events count from this text's start.

        What `on_samples` raises ends the speaking and is raised here.
        """
        events: list[Event] = []
        broken: list[BaseException] = []

        def receive(samples: "ctypes._Pointer[ctypes.c_short]", count: int, raw: "ctypes._Pointer[_Event]") -> int:
            try:
                if samples and count > 0:
                    on_samples(ctypes.string_at(samples, count * 2))
                index = 0
                while raw[index].type != _EVENT_LIST_TERMINATED:
                    event = raw[index]
                    if event.type in {EVENT_WORD, EVENT_CLAUSE_END}:
                        events.append(Event(event.type, max(0, event.text_position - 1), event.sample))
                    index += 1
            except BaseException as error:  # noqa: BLE001 - C cannot carry it: kept, and raised below
                broken.append(error)
                return 1  # stop speaking
            return 0

        callback = _Callback(receive)
        self._library.espeak_SetSynthCallback(callback)
        encoded = text.encode() + b"\0"
        code = self._library.espeak_Synth(
            encoded, ctypes.c_size_t(len(encoded)), 0, _POSITION_CHARACTER, 0, _CHARACTERS_UTF8, None, None
        )
        if broken:
            raise broken[0]
        self._checked("speak", code)
        return events

    @staticmethod
    def _checked(what: str, code: int) -> None:
        if code != _OK:
            raise EngineFailed(f"espeak-ng could not {what} (error {code}).")


@contextmanager
def session() -> Iterator[Session]:
    """A library as new, for one text; the others wait."""
    with _lock:
        library = ctypes.CDLL(espeakng_loader.get_library_path())
        try:
            rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(data_folder()).encode(), _DO_NOT_EXIT)
            if rate <= 0:
                raise EngineFailed(f"espeak-ng did not start (error {rate}): is its data folder complete?")
            library.espeak_ng_SetRandSeed(ctypes.c_long(_BREATH))
            try:
                yield Session(library, rate)
            finally:
                library.espeak_Terminate()
        finally:
            _ctypes.dlclose(library._handle)  # ctypes has no public way to unload


@lru_cache(maxsize=1)
def data_folder() -> Path:
    """Where its voices, dictionaries and phonemes are."""
    return Path(espeakng_loader.get_data_path())


@lru_cache(maxsize=1)
def version() -> str:
    """The library's version, such as `1.52.0`. Asked once a process: asking loads the library, and others wait."""
    with session() as opened:
        info = opened._library.espeak_Info
        info.restype = ctypes.c_char_p
        path = ctypes.c_char_p()
        text: bytes = info(ctypes.byref(path))
        return text.decode().split()[0]


@lru_cache(maxsize=1)
def variants() -> tuple[str, ...]:
    """What can be laid over any voice: `f2`, `m3`. Names that are more than one word are left out."""
    return tuple(sorted(path.name for path in (data_folder() / "voices" / "!v").iterdir() if path.name.isalnum()))


@lru_cache(maxsize=1)
def voices() -> tuple[Voice, ...]:
    """All voices that the library carries and can speak with."""
    with session() as opened:
        listing = opened._library.espeak_ListVoices
        listing.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
        found = listing(None)
        result = []
        index = 0
        while found[index]:
            voice = found[index].contents
            if voice.identifier.decode() not in _WITHOUT_DICTIONARY:
                result.append(
                    Voice(voice.name.decode().strip(), voice.identifier.decode(), _languages(voice.languages))
                )
            index += 1
        return tuple(result)


def _languages(address: int) -> tuple[tuple[int, str], ...]:
    """Read espeak's list: a priority byte and a zero-ended tag, again and again; a zero byte ends it."""
    result = []
    while priority := ctypes.string_at(address, 1)[0]:
        tag = ctypes.string_at(address + 1)
        result.append((priority, tag.decode().lower()))
        address += 2 + len(tag)
    return tuple(result)
