"""Real recordings through the whole path in this process: how well they are understood, files that real players read,
receipts that hold. Word error rates are of pocketsphinx, the embedded engine."""

import io
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import jiwer
import pytest
import srt
import webvtt
from dagster import DagsterInstance, Definitions

from audiomill.audio import probe
from audiomill.database.connection import Database
from audiomill.errors import BadInput
from audiomill.receipts import public_keys, verify
from audiomill.settings import LimitSettings, Settings
from audiomill.storage import ObjectStore
from tests.pipeline.milling import RECEIPT, Mill

WORD_ERRORS = {
    "librivox-0870": 9,
    "librivox-0880": 3,
    "librivox-0890": 3,
    "librivox-0920": 4,
    "librivox-0930": 2,
    "spk1-1": 1,
    "spk1-2": 2,
    "spk1-3": 3,
    "spk1-4": 4,
    "spk1-5": 0,
}
"""Errors (substitutions, deletions, insertions) per recording as measured: 31 in 109 words, a rate of 0.284."""

MARGIN = 2
"""Errors more that a recording may have before something is taken for broken."""

Made = Mapping[str, Mapping[str, bytes]]


@pytest.fixture
def mill(
    database: Database, store: ObjectStore, settings: Settings, definitions: Definitions, instance: DagsterInstance
) -> Mill:
    return Mill(database, store, settings, definitions, instance)


@pytest.fixture(scope="module")
def shelf() -> dict[str, Mapping[str, bytes]]:
    """What was made stays here for the whole module; the database is emptied between tests."""
    return {}


@pytest.fixture
def made(mill: Mill, recordings: Path, shelf: dict[str, Mapping[str, bytes]]) -> Made:
    """The files of each recording, worked off once in one batch."""
    if not shelf:
        jobs = mill.order([(recordings / "speech" / f"{name}.wav").read_bytes() for name in WORD_ERRORS])
        mill.work()
        shelf |= {name: mill.files(job) for name, job in zip(WORD_ERRORS, jobs, strict=True)}
    return shelf


def words(text: str) -> str:
    return " ".join(text.lower().split())


@pytest.mark.parametrize("name", WORD_ERRORS)
def test_a_recording_is_understood_as_well_as_measured(name: str, made: Made, recordings: Path) -> None:
    said = (recordings / "speech" / f"{name}.txt").read_text()
    found = jiwer.process_words(words(said), words(made[name]["transcript.txt"].decode()))
    errors = found.substitutions + found.deletions + found.insertions
    assert errors <= WORD_ERRORS[name] + MARGIN, jiwer.visualize_alignment(found)


def test_all_together_are_understood_as_well_as_measured(made: Made, recordings: Path) -> None:
    said = [words((recordings / "speech" / f"{name}.txt").read_text()) for name in WORD_ERRORS]
    heard = [words(made[name]["transcript.txt"].decode()) for name in WORD_ERRORS]
    assert jiwer.wer(said, heard) <= 0.31


@pytest.mark.parametrize("name", WORD_ERRORS)
def test_subtitles_open_in_real_parsers_and_fit_the_recording(name: str, made: Made, recordings: Path) -> None:
    seconds = probe(recordings / "speech" / f"{name}.wav", limits=LimitSettings()).seconds
    assert seconds is not None
    text = words(made[name]["transcript.txt"].decode())
    cues = list(srt.parse(made[name]["transcript.srt"].decode(), ignore_errors=False))
    assert words(" ".join(cue.content for cue in cues)) == text
    assert [cue.index for cue in cues] == list(range(1, len(cues) + 1))
    ends = [timedelta(), *(cue.end for cue in cues)]
    assert all(before <= cue.start < cue.end for before, cue in zip(ends[:-1], cues, strict=True))
    assert ends[-1] <= timedelta(seconds=seconds + 0.05)
    captions = webvtt.from_buffer(io.StringIO(made[name]["transcript.vtt"].decode())).captions
    assert words(" ".join(caption.text for caption in captions)) == text
    assert [(caption.start_in_seconds, caption.end_in_seconds) for caption in captions] == [
        (int(cue.start.total_seconds()), int(cue.end.total_seconds())) for cue in cues
    ]


def test_every_file_has_a_receipt_that_holds(made: Made, settings: Settings) -> None:
    keys = public_keys(settings)
    for files in made.values():
        outputs = {name for name in files if not name.endswith(RECEIPT)}
        assert {f"{name}{RECEIPT}" for name in outputs} == set(files) - outputs
        for name in outputs:
            held = verify(files[name + RECEIPT], files[name], keys).receipt
            assert (held.output.name, held.engine.name, held.stage) == (name, "pocketsphinx", "transcribe")
            assert all(check.passed for check in held.checks)


@pytest.mark.parametrize("changed", ["output", "receipt"])
def test_a_changed_byte_is_refused_wherever_it_is(changed: str, made: Made, settings: Settings) -> None:
    files = made["spk1-5"]
    output, receipt = files["transcript.txt"], files["transcript.txt" + RECEIPT]
    keys = public_keys(settings)
    verify(receipt, output, keys)
    target = output if changed == "output" else receipt
    for place in range(len(target)):
        other = bytearray(target)
        other[place] ^= 1
        with pytest.raises(BadInput):
            verify(bytes(other) if target is receipt else receipt, bytes(other) if target is output else output, keys)


def test_a_receipt_for_another_file_or_by_another_key_is_refused(
    made: Made, settings: Settings, tmp_path: Path
) -> None:
    files = made["spk1-5"]
    with pytest.raises(BadInput) as caught:
        verify(files["transcript.srt" + RECEIPT], files["transcript.vtt"], public_keys(settings))
    assert caught.value.code == "output_changed"
    stranger = public_keys(settings.model_copy(update={"data_dir": tmp_path}))
    with pytest.raises(BadInput) as caught:
        verify(files["transcript.srt" + RECEIPT], files["transcript.srt"], stranger)
    assert caught.value.code == "unknown_key"
