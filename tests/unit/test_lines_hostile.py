"""Subtitles that bite: they are read in the time that their size takes, for nothing else runs meanwhile."""

import resource
import subprocess
import sys

import pytest

from audiomill.lines.subtitles import read_subtitles

CPU_SECONDS = 30
"""Of a process of its own: an expression that walks twice over the same blanks takes hours of it, ours not one."""

READ = """
import sys
from audiomill.errors import BadInput
from audiomill.lines.subtitles import read_subtitles
try:
    print(len(read_subtitles(sys.stdin.buffer.read()).lines))
except BadInput as error:
    print(error.code)
"""

TIMES = b"00:00:01,000 --> 00:00:02,000"
CUE = b"1\n" + TIMES + b"\n"
BLANKS = b" " * 3_000_000

HOSTILE = {
    "blanks before what is no time": (BLANKS + b"-->\nhi", "damaged_subtitles"),
    "blanks behind the arrow": (b"00:00:01,000 -->" + BLANKS + b"x\nhi", "damaged_subtitles"),
    "blanks behind a sign": (b"-" + BLANKS + b"-->\nhi", "damaged_subtitles"),
    "blanks where they may be": (BLANKS + b"00:00:01,000 --> " + BLANKS + b"00:00:02,000" + BLANKS + b"\nhi", "1"),
    "voices that never end": ((CUE + b"<v." * 6000 + b">" * 15000 + b"\n\n") * 200, "subtitle_too_long"),
    "voices of blanks": ((CUE + b"hi <v" + b" " * 4900 + b"\n\n") * 2000, "2000"),
}


def limited() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))


@pytest.mark.parametrize("name", HOSTILE)
def test_no_subtitles_take_longer_than_their_size(name: str) -> None:
    data, said = HOSTILE[name]
    done = subprocess.run(
        [sys.executable, "-c", READ], input=data, capture_output=True, preexec_fn=limited, check=False
    )
    assert (done.returncode, done.stdout.decode().strip()) == (0, said), done.stderr.decode()[-500:]


@pytest.mark.parametrize("digits", [9, 4301, 7000])
@pytest.mark.parametrize("where", ["text", "speaker"])
def test_a_number_that_no_character_has_is_none(digits: int, where: str) -> None:
    number = f"&#{'9' * digits};"
    text = f"{number} hi" if where == "text" else f"<v {number[:150]}>hi</v>"
    (line,) = read_subtitles(CUE + text.encode()).lines
    assert line.text.endswith("hi")
    assert "9" not in line.text


def test_voices_are_known_with_classes_and_blanks() -> None:
    (line,) = read_subtitles(CUE + b"<v.first.loud  Esme>hi</v>").lines
    assert (line.speaker, line.text) == ("Esme", "hi")


def test_a_sign_may_stand_before_a_time() -> None:
    (line,) = read_subtitles(b"  - 00:00:00,000 -->  00:00:02,000 align:start\nhi").lines
    assert (line.start_ms, line.end_ms) == (0, 2000)
