"""What the README says is true: its commands, settings, files and recipes exist."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from audiomill.catalogue.capabilities import capability, validated
from audiomill.catalogue.recipes import RECIPES
from audiomill.cli.main import app
from audiomill.inbox.manifests import read_manifest
from audiomill.settings import unknown_settings

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCUMENTS = [ROOT / "README.md", ROOT / "deploy" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FOLDERS = "audiomill|api|assets|ops|resources|sensors|benchmarks|tests|docs|deploy"


def test_exactly_two_commands_set_everything_up() -> None:
    block = re.search(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    assert block is not None
    assert [line.split("#")[0].strip() for line in block.group(1).splitlines()] == ["make demo", "make test"]


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make ([a-z-]+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target


def test_set_and_inputs_of_the_demo_reach_the_command() -> None:
    (written,) = re.findall(r"`make (demo RECIPE=dub [^`]*)`", README)
    shown = subprocess.run(
        ["make", "-n", *shlex.split(written)], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    command = shown[shown.index("audiomill demo") :].replace("\\\n", " ").split()
    assert command[2:] == [
        *("--recipe", "dub"),
        *("--set", "target_language=es"),
        *("--set", "source_language=en"),
        *("--input", "subtitles=es.srt"),
        "film.mp4",
    ]


def test_orders_of_the_readme_are_orders() -> None:
    """Their parameters and roles are those of the recipe, in the demo, on the command line and in a manifest."""
    orders = [
        ({"target_language": "es", "source_language": "en"}, {"source": 1, "subtitles": 1}),
        ({"target_language": "es"}, {"source": 1, "subtitles": 1}),
    ]
    for given, roles in orders:
        assert capability("dub").planned(validated("dub", given), roles).steps
    assert "--recipe dub --set target_language=es --input subtitles=es.srt" in README
    (manifest,) = re.findall(r"`film.mp4.job.json`: `(\{.*?\}\})`", README)
    said = read_manifest("inbox/default/dub/film.mp4.job.json", manifest.encode())
    assert said.parameters == orders[1][0]
    assert [role for role, _ in said.inputs] == ["subtitles"]


def test_commands_exist() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    for first, second in re.findall(r"audiomill ([a-z-]+)(?: ([a-z]+))?", README):
        assert first in commands, first
        nested = getattr(commands[first], "commands", None)
        if nested is not None:
            assert second in nested, f"{first} {second}"


def test_settings_exist() -> None:
    assert unknown_settings(re.findall(r"AUDIOMILL_[A-Z_]+", README)) == []


def test_recipes_exist() -> None:
    named = re.search(r"Recipes of today: (.*?);", README, flags=re.DOTALL)
    assert named is not None
    assert set(re.findall(r"`(\w+)`", named.group(1))) == set(RECIPES)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_that_are_named_exist(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    linked = [
        document.parent / target for target in re.findall(r"\]\(([^)#]+)\)", text) if not target.startswith("http")
    ]
    named = [ROOT / path for path in re.findall(rf"`((?:{FOLDERS})/[\w./-]+)`", text)]
    for path in [*linked, *named]:
        assert path.exists(), path


def test_the_doors_are_told_with_how_to_shut_them() -> None:
    """Where the code server must be reached by TCP, it is a door to everything: whoever deploys it must read so."""
    (row,) = [line for line in DOCUMENTS[1].read_text().splitlines() if line.startswith("| code server")]
    assert "runs any command for whoever reaches it" in row
    assert "network policy" in row
    assert "0019-the-code-server-has-no-port" in row
    (row,) = [line for line in DOCUMENTS[1].read_text().splitlines() if line.startswith("| Dagster's webserver")]
    assert "never `dagster-webserver`" in row
    assert "AUDIOMILL_DAGSTER__OPERATOR_KEY" in row


SOURCES = [
    path for folder in FOLDERS.replace("|tests", "").split("|") for path in sorted((ROOT / folder).rglob("*.py"))
]


def test_files_that_the_sources_name_exist() -> None:
    named = re.compile(rf"(?<![\w./])((?:{FOLDERS})/[\w/]+\.(?:py|md|toml))")
    absent = [
        (str(path.relative_to(ROOT)), name)
        for path in SOURCES
        for name in named.findall(path.read_text())
        if not (ROOT / name).exists()
    ]
    assert absent == []


def test_a_new_capability_is_added_as_it_is_said() -> None:
    """The README names files, and what is to be done in each of them."""
    (line,) = [line for line in README.splitlines() if "`batch_product`" in line]
    for named in re.findall(r"`([\w/]+\.py)`", line):
        assert re.search(r"\bspeech\b", (ROOT / named).read_text()), named
    assert "batch_product(" in (ROOT / "assets" / "speech.py").read_text()


def test_engines_are_reported_as_often_as_it_is_said() -> None:
    from audiomill.cli.engines import report_engines
    from sensors.availability import availability

    assert "Dagster each minute" in str(report_engines.__doc__)
    assert "hourly" not in (ROOT / "audiomill" / "cli" / "engines.py").read_text()
    assert availability.minimum_interval_seconds == 60


def test_all_moves_of_states_are_said() -> None:
    from audiomill.jobs import states

    lines = " ".join(str(states.__doc__).split())
    for kind, moves, following in (
        ("job ", states.JOB_MOVES, "work item "),
        ("work item ", states.ITEM_MOVES, "batch "),
        ("batch ", states.BATCH_MOVES, ""),
    ):
        begin = lines.index(f"{kind}{next(iter(moves))}")
        said = lines[begin : lines.index(following, begin) if following else None]
        assert {state for state in moves if state not in said} == set(), kind
        for state, after in moves.items():
            assert all(state in said and other in said for other in after), (kind, state)
        for state in {"failed", "closed"} & moves.keys():
            assert all(f"{state} → {other}" in said for other in moves[state]), (kind, state)


def test_who_starts_what_is_said() -> None:
    """Nothing is started where supervisor's configuration is written."""
    from audiomill.platform import supervision

    assert "Nothing is started here (audiomill/platform/lifecycle.py does that)" in str(supervision.__doc__)
    assert "subprocess" not in Path(str(supervision.__file__)).read_text()
    assert "subprocess.Popen" in (ROOT / "audiomill" / "platform" / "lifecycle.py").read_text()


def test_the_ladder_has_no_circles_as_it_is_said() -> None:
    import audiomill

    assert "ladder without circles: docs/architecture.md shows it" in str(audiomill.__doc__)
    contracts = (ROOT / "pyproject.toml").read_text()
    assert 'type = "layers"' in contracts
