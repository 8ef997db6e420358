"""A model's hash: of its files, whatever their folder; another for any change."""

from pathlib import Path

import pytest

from audiomill.engines.cores import CoreBudget
from audiomill.engines.model_hash import folder_sha256
from audiomill.engines.speech_to_text.pocketsphinx import Pocketsphinx


def model(folder: Path, **files: bytes) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_equal_files_are_one_model_wherever_they_lie(tmp_path: Path) -> None:
    first = model(tmp_path / "a", weights=b"1", config=b"2")
    assert folder_sha256(first) == folder_sha256(model(tmp_path / "b", config=b"2", weights=b"1"))


@pytest.mark.parametrize(
    "other", [{"weights": b"2", "config": b"1"}, {"weights": b"1"}, {"weight": b"1", "sconfig": b"2"}]
)
def test_any_change_is_another_model(tmp_path: Path, other: dict[str, bytes]) -> None:
    first = model(tmp_path / "a", weights=b"1", config=b"2")
    assert folder_sha256(first) != folder_sha256(model(tmp_path / "b", **other))


def test_the_embedded_recogniser_names_the_model_that_it_carries(tmp_path: Path) -> None:
    identity = Pocketsphinx(model_store=tmp_path, budget=CoreBudget(tmp_path, 1)).identity
    assert identity.model == "en-us"
    assert len(identity.model_sha256 or "") == 64
