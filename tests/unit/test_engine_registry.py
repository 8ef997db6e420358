"""The registry: preference, one broken engine among others; model lifetime: once, shared, closed, tried anew."""

import subprocess
import sys
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from audiomill.catalogue.engines import EngineEntry
from audiomill.engines import lifetime
from audiomill.engines.lifetime import Models
from audiomill.engines.protocol import Availability, EngineIdentity, Usage
from audiomill.engines.registry import available, build, core_budget, entry_named, licence_refusal
from audiomill.engines.speech_to_text.protocol import TakesRecordingsWhole
from audiomill.errors import ConfigurationError, EngineUnavailable
from audiomill.settings import EngineSettings, Settings

BROKEN = EngineEntry("broken", "speech_to_text", "tests.unit.test_engine_registry:Broken", ("cpu",), "MIT", "")
GONE = EngineEntry("gone", "speech_to_text", "no.such.module:Engine", ("gpu", "cpu"), "MIT", "", {"gpu": "large"})
NAMELESS = EngineEntry("nameless", "text_to_speech", "tests.unit.test_engine_registry:Nothing", ("cpu",), "MIT", "")
FORMLESS = EngineEntry("formless", "text_to_speech", "tests.unit.test_engine_registry:Formless", ("cpu",), "MIT", "")
RAISING = EngineEntry("raising", "text_to_speech", "tests.unit.test_engine_registry:Raising", ("cpu",), "MIT", "")
MUTE = EngineEntry("mute", "text_to_speech", "tests.unit.test_engine_registry:Mute", ("cpu",), "MIT", "")


class Broken(TakesRecordingsWhole):
    sample_rate_hz = 16_000

    def __init__(self, *, model_store, budget) -> None:
        pass

    def availability(self):
        raise ZeroDivisionError("half written")

    def load(self, model, resource_class) -> None: ...

    identity = EngineIdentity("broken", "0", None, None)
    usage = Usage(1, 1, 1)

    def close(self) -> None: ...

    def transcribe(self, audios, params, progress=None): ...


class Formless:
    def __init__(self, *, model_store, budget) -> None:
        pass


class Raising(Broken):
    def __init__(self, *, model_store, budget) -> None:
        raise OSError("libnothing.so: cannot open shared object file")


class Mute(Broken):
    """It has what every engine has, and nothing of what one of text to speech has."""

    def availability(self):
        return [Availability(None, "cpu", available=True, lacks=None, languages=None)]


class Free(Broken):
    def availability(self):
        return [Availability(None, "cpu", available=True, lacks=None, languages=None)]


FREE = EngineEntry(
    "free", "speech_to_text", "tests.unit.test_engine_registry:Free", ("cpu",), "CC-BY-NC-4.0", "", commercial_use=False
)


@pytest.fixture
def settings(tmp_path) -> Settings:
    return Settings(data_dir=tmp_path)


def own(settings: Settings, *names: str) -> Settings:
    extra = [f"tests.unit.test_engine_registry:{name}" for name in names]
    return settings.model_copy(update={"engines": EngineSettings(extra=extra)})


def test_what_can_run_here_in_order_of_preference(settings):
    rows = available(settings)
    assert {(row.engine, row.preference) for row in rows} == {
        ("faster-whisper", 0),
        ("pocketsphinx", 1),
        ("espeak-ng", 0),
        ("demucs", 0),
        ("rnnoise", 1),
        ("ctranslate2-nmt", 0),
        ("apertium", 1),
    }
    lacking = {row.model: row.lacks for row in rows if row.engine == "faster-whisper"}
    assert "audiomill models pull faster-whisper small" in lacking["small"]
    # apertium is Debian's, on some machines only.
    assert {row.engine for row in rows if row.available} - {"apertium"} == {"pocketsphinx", "espeak-ng", "rnnoise"}


def test_a_broken_engine_is_reported_and_hides_no_other(settings):
    mine = own(settings, "BROKEN", "GONE", "NAMELESS", "FORMLESS", "RAISING", "MUTE")
    rows = {row.engine: row for row in available(mine)}
    assert rows["pocketsphinx"].available
    assert rows["espeak-ng"].available
    assert rows["pocketsphinx"].preference == 3, "one's own engines come first"
    reasons = {name: rows[name].fault for name in ("broken", "gone", "nameless", "formless", "raising", "mute")}
    assert "ZeroDivisionError: half written" in reasons["broken"]
    assert "No module named 'no'" in reasons["gone"]
    assert "Nothing" in reasons["nameless"]
    assert "lacks availability, load, identity, usage, close" in reasons["formless"]
    assert "libnothing.so" in reasons["raising"]
    assert "no engine of text to speech: it lacks longest_text, voices_by_pitch, synthesize" in reasons["mute"]
    assert not any(rows[name].available for name in reasons)
    assert {rows[name].lacks for name in reasons} == {
        "its code cannot be loaded",
        "it broke when asked what it can do",
    }, "an error's own words are not for customers"


def test_a_report_has_what_orders_must_know(settings):
    rows = {row.engine: row for row in available(settings)}
    assert (rows["faster-whisper"].features, rows["faster-whisper"].licence) == (("translation",), "MIT")
    assert rows["pocketsphinx"].features == ()
    speech = [row for row in available(settings) if row.task == "speech_to_text"]
    assert {row.model for row in speech if row.default_model} == {"small", "large-v3-turbo", None}


@pytest.mark.parametrize("accepted", [[], ["CC-BY-NC-4.0"], ["another"]])
def test_a_non_commercial_licence_must_be_accepted(settings, accepted):
    engines = settings.engines.model_copy(
        update={"extra": ["tests.unit.test_engine_registry:FREE"], "accepted_licences": accepted}
    )
    mine = settings.model_copy(update={"engines": engines})
    row = next(row for row in available(mine) if row.engine == "free")
    assert row.licence == "CC-BY-NC-4.0"
    if accepted == ["CC-BY-NC-4.0"]:
        assert (row.available, row.lacks) == (True, None)
        assert isinstance(build(FREE, mine), Free)
        return
    assert not row.available
    assert "AUDIOMILL_ENGINES__ACCEPTED_LICENCES='[\"CC-BY-NC-4.0\"]'" in row.lacks
    with pytest.raises(EngineUnavailable, match="CC-BY-NC"), Models(mine).use(FREE, None, "cpu"):
        pytest.fail("a job that was ordered while it was accepted does not run either")


def test_code_under_a_refused_licence_is_not_even_imported(settings):
    assert licence_refusal(replace(GONE, commercial_use=False), settings) is not None
    with pytest.raises(EngineUnavailable):
        build(replace(GONE, commercial_use=False), settings)


def test_an_entry_that_cannot_be_imported_is_the_operators_to_mend(settings):
    with pytest.raises(ConfigurationError, match="MISSING"):
        available(own(settings, "MISSING"))


def test_engines_by_name(settings):
    assert entry_named("espeak-ng", settings).task == "text_to_speech"
    with pytest.raises(EngineUnavailable, match="There are: faster-whisper, pocketsphinx, espeak-ng"):
        entry_named("siri", settings)
    with pytest.raises(ConfigurationError, match="cannot be imported"):
        build(GONE, settings)


def test_one_budget_for_all_processes_of_an_installation(settings):
    budget = core_budget(settings)
    assert budget.directory == settings.data_dir / "run" / "cores"
    assert budget.cores == settings.cpu.cores


@dataclass
class Counted:
    """Counts loads and closes; loading may be made to fail or to wait."""

    loads: list[str | None] = field(default_factory=list)
    closes: int = 0
    fail: int = 0
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def availability(self) -> list[Availability]:
        return []

    identity = EngineIdentity("counted", "1", None, None)
    usage = Usage(1, 1, 1)

    def load(self, model, resource_class) -> None:
        assert self.gate.wait(120)
        if self.fail:
            self.fail -= 1
            raise EngineUnavailable("weights are missing")
        self.loads.append(model)

    def close(self) -> None:
        self.closes += 1


ENTRY = EngineEntry("counted", "speech_to_text", "unused:unused", ("cpu",), "MIT", "")


@pytest.fixture
def counted(monkeypatch) -> Counted:
    engine = Counted()
    monkeypatch.setattr(lifetime, "build", lambda entry, settings: engine)
    return engine


def test_loaded_once_and_closed_by_the_last(settings, counted):
    models = Models(settings)
    with models.use(ENTRY, "a", "cpu") as first:
        with models.use(ENTRY, "a", "cpu") as second:
            assert first is second is counted
        assert counted.closes == 0
        with models.use(ENTRY, "b", "cpu"):
            assert counted.loads == ["a", "b"]
    assert (counted.loads, counted.closes) == (["a", "b"], 2)
    with models.use(ENTRY, "a", "cpu"):
        assert counted.loads == ["a", "b", "a"]


def test_threads_that_come_together_load_once(settings, counted):
    models, inside = Models(settings), threading.Barrier(8)
    counted.gate.clear()

    def use() -> None:
        with models.use(ENTRY, None, "cpu"):
            inside.wait(120)

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    counted.gate.set()
    for thread in threads:
        thread.join(120)
    assert (len(counted.loads), counted.closes) == (1, 1)


def test_a_failed_load_is_tried_anew(settings, counted):
    models = Models(settings)
    counted.fail = 1
    with pytest.raises(EngineUnavailable, match="weights"), models.use(ENTRY, None, "cpu"):
        pytest.fail("nothing is loaded")
    assert counted.closes == 1, "what was half loaded is freed"
    with models.use(ENTRY, None, "cpu"):
        assert len(counted.loads) == 1


def test_an_error_in_the_block_closes(settings, counted):
    with pytest.raises(ValueError, match="mine"), Models(settings).use(ENTRY, None, "cpu"):
        raise ValueError("mine")
    assert counted.closes == 1


def test_coming_and_going_never_leaves_a_user_without_its_model(settings, counted):
    models, wrong = Models(settings), []

    def use() -> None:
        for _ in range(200):
            with models.use(ENTRY, None, "cpu"):
                if len(counted.loads) - counted.closes != 1:
                    wrong.append((len(counted.loads), counted.closes))

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert len(counted.loads) == counted.closes


HEAVY = ("torch", "ctranslate2", "faster_whisper", "pocketsphinx", "onnxruntime", "librosa", "TTS", "transformers")


@pytest.mark.parametrize("package", ["api", "audiomill.catalogue", "audiomill.jobs", "audiomill.engines"])
def test_no_heavy_package_is_loaded_by_importing_ours(package):
    """The API and the code server import these: an engine's code and weights cost seconds and memory there."""
    code = (
        "import importlib, pkgutil, sys\n"
        f"package = importlib.import_module({package!r})\n"
        f"names = [info.name for info in pkgutil.walk_packages(package.__path__, {package + '.'!r})]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names))\n"
        f"print(','.join(sorted(set({HEAVY!r}) & set(sys.modules))))\n"
        f"print(','.join(sorted(name for name in sys.modules if name.startswith('audiomill.engines'))))"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, check=True, capture_output=True, text=True)
    _, heavy, engines = done.stdout.split("\n")[:3]
    assert heavy == ""
    if package != "audiomill.engines":
        assert engines == "", "the API knows engines by what workers reported only"
