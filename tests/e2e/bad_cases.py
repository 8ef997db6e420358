"""What customers send by mistake or from odd machines, and what is to become of it. Cases only; they are dropped and
looked at in test_bad_input.py."""

from pathlib import Path
from typing import Any

import numpy as np

from audiomill.audio import resampled
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.engines.cores import CoreBudget
from audiomill.engines.text_to_speech.espeak import Espeak
from audiomill.storage.keys import INBOX
from tests.e2e.conftest import WORKSPACE, recording
from tests.fakes.recordings import BROKEN, GOOD, encoded, mp3, pcm16, video, wav

DROP = f"{INBOX}{WORKSPACE}"

SPOKEN = "please close the door and open the window"
UNDERSTOOD = {"open", "window"}
"""Words of it that pocketsphinx understands of espeak-ng's voice in each of the odd forms."""

ODD_FORMS = ("24-channels.wav", "one-of-24-channels.wav", "384-khz.wav", "mu-law-8-khz.wav")

FLAWED = {"cut.mp3": "cut_off", "says-more.wav": "cut_off", "says-less.wav": "wrong_length_in_header"}
"""Worked on as far as they go; the receipt names what was wrong."""

LONG_NAME = "/".join(["folder-" + "x" * 193] * 4) + "/" + "y" * 160 + ".wav"
GOOD_NAMES = ("good.wav", "good, under another name.wav", "🎙️ ümläut.wav", "two\nlines.wav", LONG_NAME)

SOUNDS: dict[str, set[str]] = {
    **{name: codes for name, (_, codes) in BROKEN.items()},
    "silent-film.mp4": {"no_sound_track"},
    "too-long.wav": {"recording_too_long"},
}
"""Recordings that fail: name, and the codes that they may fail with."""

TEXTS: dict[str, tuple[bytes, set[str]]] = {
    "empty.txt": (b"", {"empty_text"}),
    "blank.txt": (b" \n\t\n ", {"empty_text"}),
    "two-million.txt": (b"word " * 400_000, {"text_too_long"}),
    "control.txt": (b"a bell \x07 rings", {"control_characters"}),
    "latin-1.txt": ("grün".encode("latin-1"), {"not_text"}),
    "dashes.txt": ("— — —".encode(), {"nothing_to_speak"}),
}
"""Texts that fail: name, bytes, codes."""

REFUSED = {
    f"{INBOX}nobody/transcribe/a.wav": "There is no workspace 'nobody'",
    f"{DROP}/no-such-recipe/a.wav": "There is no recipe 'no-such-recipe'",
    f"{INBOX}a.wav": "inbox/<workspace>/<recipe>/",
    f"{DROP}/a.wav": "inbox/<workspace>/<recipe>/",
    f"{DROP}/transcribe/six-gigabytes.wav": "6.0 GB",
}
"""Keys that become no job, and a part of the reason."""

ORDERS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "empty": ({"inputs": [{"text": ""}]}, {"empty_text"}),
    "two million characters": ({"inputs": [{"text": "word " * 400_000}]}, {"text_too_long"}),
    "control character": ({"inputs": [{"text": "a bell \x07 rings"}]}, {"control_characters"}),
    "one of two is blank": ({"inputs": [{"text": "good"}, {"text": " "}]}, {"empty_text"}),
    "a language without a voice": (
        {"inputs": [{"text": "nuqneH"}], "parameters": {"language": "tlh"}},
        {"engine_unavailable"},
    ),
}
"""Orders to synthesize that the API refuses as a whole: body, codes."""

FILENAMES = {"../../etc/passwd.wav": "passwd.wav", "two\nlines 🎙.wav": "twolines 🎙.wav", "n" * 1000: "n" * 255}
"""Names that a client announces, and what the job is listed under."""


def odd_forms(folder: Path) -> dict[str, bytes]:
    """SPOKEN by espeak-ng, in the forms of ODD_FORMS."""
    espeak = Espeak(model_store=folder, budget=CoreBudget(folder / "cores", 1))
    (spoken,) = espeak.synthesize([SPOKEN], SynthesizeParameters(rate_wpm=150))
    assert not isinstance(spoken, Exception)
    at_16_khz = resampled(spoken.audio, 16_000).samples
    one_of_24 = np.zeros((24, at_16_khz.shape[1]), np.float32)
    one_of_24[5] = at_16_khz[0]
    narrow = encoded(folder / "mu.wav", "pcm_mulaw", resampled(spoken.audio, 8_000).samples, rate=8_000)
    contents = (
        wav(pcm16(np.repeat(at_16_khz, 24, axis=0).T.reshape(-1)), channels=24),
        wav(pcm16(one_of_24.T.reshape(-1)), channels=24),
        wav(pcm16(resampled(spoken.audio, 384_000).samples[0]), rate=384_000),
        narrow.read_bytes(),
    )
    return dict(zip(ODD_FORMS, contents, strict=True))


def sounds(folder: Path) -> dict[str, bytes]:
    """The bytes of all recordings, broken, odd and good, by name."""
    whole, good = mp3(), recording()
    return {
        **{name: data for name, (data, _) in BROKEN.items()},
        "silent-film.mp4": video(folder / "silent.mp4").read_bytes(),
        "too-long.wav": wav(bytes(601 * 8_000), rate=8_000, bits=8),
        "cut.mp3": whole[: len(whole) // 2 + 7],
        "says-more.wav": wav(GOOD, says_bytes=10**9),
        "says-less.wav": wav(GOOD, says_bytes=100),
        **odd_forms(folder),
        "good.wav": good,
        "good, under another name.wav": good,
        **{name: recording() for name in GOOD_NAMES[2:]},
    }
