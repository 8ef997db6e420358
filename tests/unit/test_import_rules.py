"""Each import rule of `make check`, with a breach planted in a copy of the sources: the rule must see exactly that."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("audiomill", "resources", "ops", "assets", "sensors", "api")

# contract, file that breaks it, its import
BREACHES = [
    ("dagster-ladder", "ops/planted.py", "import sensors"),
    ("dagster-ladder", "audiomill/jobs/planted.py", "import resources"),
    ("api-above-audiomill", "audiomill/jobs/planted.py", "import api"),
    ("product-knows-no-framework", "audiomill/jobs/planted.py", "import dagster"),
    ("product-knows-no-framework", "audiomill/cli/planted.py", "import fastapi"),
    ("product-knows-no-framework", "audiomill/receipts/planted.py", "import starlette"),
    ("product-knows-no-framework", "audiomill/operators/planted.py", "import dagster_webserver"),
    ("api-knows-no-engine", "api/planted.py", "import dagster"),
    ("api-knows-no-engine", "api/planted.py", "from audiomill.engines import protocol"),
    ("api-knows-no-engine", "api/planted.py", "from importlib import import_module"),
    ("api-knows-no-engine", "audiomill/catalogue/engines/entry.py", "from importlib import import_module"),
    ("product-ladder", "audiomill/storage/planted.py", "from audiomill import catalogue"),
    ("product-ladder", "audiomill/engines/planted.py", "from audiomill import jobs"),
    ("product-ladder", "audiomill/audio/planted.py", "from audiomill import transcripts"),
    ("product-ladder", "audiomill/transcripts/planted.py", "from audiomill import catalogue"),
    ("product-ladder", "audiomill/transcripts/planted.py", "from audiomill import lines"),
    ("api-knows-no-engine", "api/planted.py", "from audiomill import milling"),
    ("product-ladder", "audiomill/milling/planted.py", "from audiomill import platform"),
    ("stages-stand-alone", "audiomill/stages/transcribe/planted.py", "from audiomill.stages import synthesize"),
    ("milling-names-no-stage", "audiomill/milling/planted.py", "from audiomill.engines import text_to_speech"),
    ("jobs-know-no-engine", "audiomill/jobs/planted.py", "from audiomill import engines"),
    ("jobs-know-no-engine", "audiomill/jobs/planted.py", "from audiomill import quality"),
    ("decoding-knows-nothing", "audiomill/decoding/planted.py", "from audiomill import settings"),
    ("decoding-knows-nothing", "audiomill/decoding/planted.py", "import structlog"),
    ("vendors-in-their-place", "audiomill/jobs/planted.py", "import boto3"),
    ("vendors-in-their-place", "api/planted.py", "import stripe"),
    ("models-in-engines", "ops/planted.py", "def late() -> None:\n    import torch"),
    ("models-in-engines", "audiomill/quality/planted.py", "import librosa"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "definitions.py"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def lint(folder: Path, contract: str) -> subprocess.CompletedProcess[str]:
    # The copy comes first on the path: it is looked at, not the checkout that is installed.
    program = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports_command as c; c()"
    return subprocess.run(
        [sys.executable, "-c", program, "--contract", contract, "--no-cache"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def contracts() -> list[str]:
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return [contract["id"] for contract in settings["tool"]["importlinter"]["contracts"]]


def test_every_contract_has_a_planted_breach():
    assert {breach[0] for breach in BREACHES} == set(contracts())


def test_the_ladder_that_is_shown_is_the_one_that_is_held():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    held = next(each for each in settings["tool"]["importlinter"]["contracts"] if each["id"] == "product-ladder")
    shown = " > ".join(", ".join(layer.split(" | ")) for layer in held["layers"])
    assert f"`{shown}`" in " ".join((ROOT / "docs" / "architecture.md").read_text().split())


def test_the_rules_on_stages_and_tasks_name_every_one_of_them():
    import tomllib

    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    held = {contract["id"]: contract for contract in settings}

    def packages(folder: str) -> set[str]:
        return {f"{folder}.{each.parent.name}" for each in (ROOT / folder.replace(".", "/")).glob("*/__init__.py")}

    assert set(held["stages-stand-alone"]["modules"]) == packages("audiomill.stages")
    assert set(held["milling-names-no-stage"]["forbidden_modules"]) == {
        "audiomill.stages",
        *packages("audiomill.engines"),
    }


@pytest.mark.parametrize(("contract", "file", "line"), BREACHES)
def test_planted_breach_breaks_its_contract(copy, contract, file, line):
    with (copy / file).open("a") as planting:
        planting.write(line + "\n")
    result = lint(copy, contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "0 kept, 1 broken" in result.stdout
    planted = file.removesuffix(".py").replace("/", ".")
    assert planted in result.stdout, "the breach that is reported must be the planted one"


@pytest.mark.parametrize("contract", contracts())
def test_the_sources_keep_the_contract(copy, contract):
    result = lint(copy, contract)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("module", ["torch", "ctranslate2", "faster_whisper", "pocketsphinx", "onnxruntime", "librosa"])
def test_heavy_import_at_module_level_is_refused(copy, module):
    planted = copy / "audiomill" / "engines" / "planted.py"
    planted.write_text(f'"""Planted."""\n\nimport {module}\n\n__all__ = ["{module}"]\n')
    assert "TID253" in ruff(planted)
    planted.write_text(
        f'"""Planted."""\n\n\ndef load() -> None:\n    """Load."""\n    import {module}\n\n    del {module}\n'
    )
    assert "TID253" not in ruff(planted)


def ruff(file: Path) -> str:
    result = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--no-cache", "--output-format", "concise", str(file)],
        cwd=file.parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert result.returncode in {0, 1}, result.stderr
    return result.stdout
