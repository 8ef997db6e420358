"""What the commands say of a job that ended: which engines made it, and what to know of its result."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from audiomill.cli import demo, submit
from audiomill.client.told import engines_of, with_warnings

QUIET = {"code": "low_confidence", "sentence": "Little of it was understood."}


def dub(**more: Any) -> dict[str, Any]:
    """As the API answers: the step that moved last needs no engine."""
    steps = [
        ("rnnoise", None),
        ("faster-whisper", "small"),
        ("audiomill", None),
        ("rnnoise", None),
        ("audiomill", None),
    ]
    return {
        "id": "job_1",
        "state": "complete",
        "engine": "audiomill",
        "model": None,
        "steps": [{"engine": engine, "model": model} for engine, model in steps],
        "outputs": [],
        "warnings": [QUIET],
        "failure_reason": None,
    } | more


def test_engines_of_all_steps_each_once() -> None:
    assert engines_of(dub()) == ["rnnoise", "faster-whisper small"]
    assert engines_of({"engine": "espeak-ng", "model": None}) == ["espeak-ng"]
    assert engines_of({}) == []


def test_warnings_are_said_with_what_there_is() -> None:
    assert with_warnings("3 files in out/a", dub()) == "3 files in out/a. Little of it was understood."
    assert with_warnings("", dub()) == "Little of it was understood."
    assert with_warnings("3 files in out/a", {}) == "3 files in out/a"


@pytest.mark.parametrize("name", ["pocketsphinx", "faster-whisper"])
def test_the_demo_says_which_engines_and_what_to_know(capsys: pytest.CaptureFixture[str], name: str) -> None:
    job = dub(steps=[{"engine": name, "model": None}, {"engine": "audiomill", "model": None}])
    demo._show([demo.Outcome(Path("film.mp4"), Path("out"), job, None)])
    said = capsys.readouterr()
    assert name in said.out
    assert "audiomill" not in said.out
    assert QUIET["sentence"] in " ".join(said.out.split())
    assert ("one word in four" in " ".join(said.err.split())) == (name == "pocketsphinx")


@pytest.mark.parametrize("download", [False, True])
def test_submit_says_what_to_know(capsys: pytest.CaptureFixture[str], tmp_path: Path, download: bool) -> None:
    client = SimpleNamespace(job=lambda _: dub(), follow=lambda *_: "complete")
    ordered = [SimpleNamespace(path=Path("film.mp4"), job_id="job_1", reason=None)]
    assert not submit._finish(client, ordered, tmp_path / "o" if download else None)
    assert QUIET["sentence"] in " ".join(capsys.readouterr().out.replace("│", " ").split())
