"""Endings and media types: each said once, for the store, the receipt, the API and the commands."""

import re
from pathlib import Path
from typing import get_args

import pytest

from audiomill.audio import SoundFormat
from audiomill.catalogue.synthesize import SpeechFormat
from audiomill.catalogue.transcribe import TranscriptFormat
from audiomill.formats import MEDIA_TYPES, RECEIPT_SUFFIX, UNKNOWN, is_receipt, media_type_of, sizes_shown
from audiomill.storage.local import LocalStore
from audiomill.transcripts.formats import FORMATS

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [
    path
    for folder in ("audiomill", "api", "assets", "ops", "resources", "sensors")
    for path in (ROOT / folder).rglob("*.py")
    if path != ROOT / "audiomill" / "formats.py"
]


@pytest.mark.parametrize(
    "ending", sorted({*get_args(TranscriptFormat), *get_args(SpeechFormat), *get_args(SoundFormat)})
)
def test_every_format_that_can_be_ordered_has_a_media_type(ending: str) -> None:
    assert media_type_of(f"transcript.{ending}") == MEDIA_TYPES[ending] != UNKNOWN


def test_every_transcript_format_that_is_written_can_be_ordered() -> None:
    assert set(FORMATS) == set(get_args(TranscriptFormat))


def test_names_are_read_whatever_their_case() -> None:
    assert media_type_of("a/B.SRT") == MEDIA_TYPES["srt"]
    assert media_type_of("no-ending") == media_type_of("a.exe") == UNKNOWN


def test_a_receipt_is_known_by_its_name() -> None:
    assert is_receipt(f"speech.wav{RECEIPT_SUFFIX}")
    assert not is_receipt("speech.wav")
    assert media_type_of(f"speech.wav{RECEIPT_SUFFIX}") == MEDIA_TYPES["json"]


def test_the_local_store_serves_a_file_as_what_its_receipt_says(tmp_path: Path) -> None:
    store = LocalStore(tmp_path, secret="s" * 32, public_url="http://localhost")
    for ending, media_type in MEDIA_TYPES.items():
        token = store.signed_get(f"outputs/a.{ending}", seconds=60).url.rpartition("/")[2]
        assert store.open_token(token, "GET").media_type == media_type


def test_nobody_else_says_them() -> None:
    # Not what requests and answers themselves are, whatever the files; schemas.py holds examples.
    words = {media_type.partition(";")[0] for media_type in MEDIA_TYPES.values()} - {"application/json", "text/plain"}
    pattern = re.compile("|".join(re.escape(f'"{word}') for word in [*words, RECEIPT_SUFFIX]))
    said = [
        (str(path.relative_to(ROOT)), found)
        for path in SOURCES
        if path.name != "schemas.py"
        for found in pattern.findall(path.read_text())
    ]
    assert not said


def test_sizes_that_are_compared_read_differently() -> None:
    limit = 5 * 1024**3
    assert sizes_shown(limit + 1, limit) == ("5,368,709,121 bytes", "5,368,709,120 bytes")
    assert sizes_shown(2 * limit, limit) == ("10.7 GB", "5.4 GB")
