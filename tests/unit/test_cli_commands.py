"""The command itself: fast, one sentence for an error, files found and named as promised."""

import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audiomill.cli.lines import edits_of
from audiomill.cli.main import app
from audiomill.cli.submit import parameters_of
from audiomill.cli.verify import pairs_in, verdicts
from audiomill.client.submitting import files_of, folder_names
from audiomill.console import show_table
from audiomill.errors import BadRequest
from audiomill.receipts.keys import public_keys
from audiomill.settings import Settings, get_settings
from tests.unit.test_audio_broken import is_sentence

HEAVY = (
    "dagster",
    "sqlalchemy",
    "psycopg",
    "fastapi",
    "numpy",
    "av",
    "httpx",
    "cryptography",
    "faster_whisper",
    "supervisor",
)


@pytest.fixture
def installation(tmp_path, monkeypatch):
    monkeypatch.setenv("AUDIOMILL_DATA_DIR", str(tmp_path))
    get_settings.cache_clear()
    yield tmp_path
    get_settings.cache_clear()


def test_times_are_shown_alike_wherever_they_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    moment = datetime(2026, 11, 21, 15, 33, 26, 800780, tzinfo=timezone(timedelta(hours=1)))
    show_table(("ordered", "ended"), [(moment, None)])
    shown = capsys.readouterr().out
    assert "2026-11-21 14:33:26 UTC" in shown
    assert "None" not in shown


def test_help_loads_nothing_heavy():
    program = (
        "import sys; from audiomill.cli.main import app\n"
        "try: app(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=240)
    assert "LOADED []" in result.stdout


@pytest.mark.parametrize("group", ["up", "demo", "submit", "verify", "doctor", "jobs", "keys", "models", "db", "inbox"])
def test_every_command_has_help(group):
    result = CliRunner().invoke(app, [group, "--help"])
    assert result.exit_code == 0


def test_error_is_one_sentence_and_exit_code_1(installation):
    result = CliRunner().invoke(app, ["submit", str(installation / "nothing.wav"), "-r", "transcribe", "--key", "am_x"])
    assert result.exit_code == 1
    assert "There is no file at" in result.stderr
    assert "Traceback" not in result.output


def test_debug_shows_the_error_itself(installation, monkeypatch):
    monkeypatch.setenv("AUDIOMILL_DEBUG", "1")
    result = CliRunner().invoke(app, ["submit", str(installation / "nothing"), "-r", "transcribe", "--key", "am_x"])
    assert isinstance(result.exception, BadRequest)


def test_submit_without_a_key_says_how_to_get_one(installation):
    (installation / "a.wav").write_bytes(b"x")
    result = CliRunner().invoke(app, ["submit", str(installation / "a.wav"), "-r", "transcribe"])
    assert result.exit_code == 1
    assert "audiomill keys create" in result.stderr


def test_files_of_folders_globs_and_paths(tmp_path):
    for name in ("a.wav", "b c.mp3", ".hidden/d.wav", "sub/e.wav", "sub/.f.wav"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    names = [str(path.relative_to(tmp_path)) for path in files_of([str(tmp_path)])]
    assert names == ["a.wav", "b c.mp3", "sub/e.wav"]
    assert [path.name for path in files_of([f"{tmp_path}/*.mp3"])] == ["b c.mp3"]
    assert [path.name for path in files_of([f"{tmp_path}/**/e.wav"])] == ["e.wav"]
    assert len(files_of([str(tmp_path), f"{tmp_path}/a.wav"])) == 3, "a file that two arguments name is one file"
    with pytest.raises(BadRequest, match="nothing"):
        files_of([f"{tmp_path}/a.wav", f"{tmp_path}/nothing*"])


def test_file_named_like_a_glob_is_that_file(tmp_path):
    (tmp_path / "[1].wav").write_bytes(b"x")
    assert [path.name for path in files_of([str(tmp_path / "[1].wav")])] == ["[1].wav"]


def test_folder_names_are_unique_also_where_case_does_not_count():
    paths = [Path("x/a.wav"), Path("y/a.wav"), Path("z/A.wav"), Path("a.wav-2")]
    names = folder_names(paths)
    assert names[:2] == ["a.wav", "a.wav-2"]
    assert len({name.casefold() for name in names}) == 4


def test_parameters_are_json_where_they_read_as_json():
    assert parameters_of(["language=de", "beam_size=3", 'formats=["txt"]', "initial_prompt=a=b"]) == {
        "language": "de",
        "beam_size": 3,
        "formats": ["txt"],
        "initial_prompt": "a=b",
    }


def test_terminal_codes_in_a_file_name_are_not_sent_to_the_terminal(installation):
    (installation / "\x1b[31mred.txt.receipt.json").write_bytes(b"{}")
    result = CliRunner().invoke(app, ["verify", str(installation)])
    assert result.exit_code == 1
    assert "\x1b" not in result.output


def test_verify_refuses_what_is_no_receipt_and_what_is_missing(installation):
    (installation / "a.txt").write_text("text")
    (installation / "a.txt.receipt.json").write_text("{}")
    pairs = pairs_in(installation) + pairs_in(installation / "b.txt")
    found = verdicts(pairs, public_keys(Settings(data_dir=installation)))
    assert [why is None for _, why in found] == [False, False]


def test_verify_without_any_receipt_fails(installation):
    result = CliRunner().invoke(app, ["verify", str(installation)])
    assert result.exit_code == 1


def test_edits_of_lines_are_given_as_line_field_and_value() -> None:
    pairs = ["L1.translation=a = 7", "L1.start_ms=1200", "L2.voice=", "L2.text=42"]
    assert [edit.given() for edit in edits_of(pairs)] == [
        {"translation": "a = 7", "start_ms": 1200},
        {"voice": None, "text": "42"},
    ]


@pytest.mark.parametrize("pair", ["L1=x", "L1.text", ".text=x", "L1.speaker=x", "L1.start_ms=soon", "L 1.text=x"])
def test_what_is_no_edit_of_a_line_is_said_in_a_sentence(installation, pair) -> None:
    result = CliRunner().invoke(app, ["jobs", "lines", "job_1", "--set", pair])
    assert result.exit_code == 1
    assert is_sentence(result.stderr.replace("\n", " ").strip()), result.stderr
