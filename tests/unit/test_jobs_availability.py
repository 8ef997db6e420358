"""What workers say of their engines: over all of them, for as long as a word holds; and what is chosen of it."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import text

from audiomill.catalogue.engines import AvailabilityReport
from audiomill.catalogue.transcribe import TranscribeParameters
from audiomill.database.connection import Database
from audiomill.errors import EngineUnavailable
from audiomill.jobs.availability import choice_of, forget, report, report_when_due, table, worker_name, workers
from audiomill.settings import EngineSettings, Settings
from tests.fakes.orders import POCKETSPHINX, wipe

TURBO = AvailabilityReport(
    "faster-whisper", "large-v3-turbo", "gpu", "speech_to_text", 0, True, None, None, features=("translation",)
)
NO_GPU = replace(TURBO, available=False, lacks="a GPU that CUDA can use")
OWN = AvailabilityReport("own", None, "cpu", "speech_to_text", 0, True, None, ("en",))


@pytest.fixture(autouse=True)
def _empty(database: Database) -> None:
    wipe(database)


def chosen(database: Database, **parameters: object) -> tuple[str, str | None, str]:
    with database.session() as session:
        choice = choice_of(table(session), task="speech_to_text", asked=TranscribeParameters(**parameters))
    return choice.engine, choice.model, choice.resource_class


def say(database: Database, worker: str, *rows: AvailabilityReport, holds_seconds: float = 600) -> None:
    with database.session() as session:
        report(session, worker=worker, rows=rows, holds_seconds=holds_seconds)


def test_what_a_gpu_node_of_its_own_can_run_is_chosen(database: Database) -> None:
    say(database, "code-location", NO_GPU, POCKETSPHINX)
    assert chosen(database) == ("pocketsphinx", None, "cpu")
    say(database, "gpu-node", TURBO, POCKETSPHINX)
    assert chosen(database) == ("faster-whisper", "large-v3-turbo", "gpu")
    with database.session() as session:
        views = {view.engine: view for view in table(session)}
    assert (views["faster-whisper"].available, views["faster-whisper"].workers) == (True, 1)
    assert views["pocketsphinx"].workers == 2
    say(database, "code-location", NO_GPU, POCKETSPHINX)
    assert chosen(database)[0] == "faster-whisper", "whoever spoke last, a word holds"


def test_a_word_holds_as_long_as_it_says(database: Database) -> None:
    say(database, "gpu-node", TURBO, holds_seconds=0.001)
    say(database, "code-location", POCKETSPHINX)
    assert chosen(database) == ("pocketsphinx", None, "cpu")
    with database.session() as session:
        assert session.scalars(text("SELECT DISTINCT worker FROM engine_availability")).all() == ["code-location"]


def test_a_worker_that_is_gone_for_good_is_forgotten(database: Database) -> None:
    say(database, "gpu-node", TURBO)
    say(database, "code-location", POCKETSPHINX)
    with database.session() as session:
        assert [(each.name, each.ready) for each in workers(session)] == [
            ("code-location", ("pocketsphinx",)),
            ("gpu-node", ("faster-whisper large-v3-turbo",)),
        ]
        assert forget(session, "gpu-node")
        assert not forget(session, "gpu-node")
    assert chosen(database)[0] == "pocketsphinx"


def test_ones_own_engine_comes_before_the_catalogues_whatever_other_workers_know(database: Database) -> None:
    say(database, "a", replace(TURBO, preference=0), replace(POCKETSPHINX, preference=1))
    say(database, "b", OWN, replace(TURBO, preference=1), replace(POCKETSPHINX, preference=2))
    with database.session() as session:
        assert [(view.engine, view.preference) for view in table(session)] == [
            ("own", 0),
            ("faster-whisper", 1),
            ("pocketsphinx", 2),
        ]
    assert chosen(database)[0] == "own"
    assert chosen(database, language="de")[0] == "faster-whisper"


def test_only_an_engine_that_says_so_translates(database: Database) -> None:
    say(database, "a", OWN, replace(TURBO, preference=1), replace(POCKETSPHINX, preference=2, languages=None))
    assert chosen(database, task="translate")[0] == "faster-whisper"
    with pytest.raises(EngineUnavailable, match="pocketsphinx cannot translate"):
        chosen(database, task="translate", engine="pocketsphinx")


def test_without_a_word_the_order_says_so(database: Database) -> None:
    with pytest.raises(EngineUnavailable) as refusal:
        chosen(database, engine="pocketsphinx")
    assert refusal.value.code == "no_worker"


def test_the_default_model_comes_before_the_others(database: Database) -> None:
    small = replace(TURBO, model="small", default_model=False)
    say(database, "a", small, TURBO)
    assert chosen(database)[1] == "large-v3-turbo"
    assert chosen(database, model="small")[1] == "small"


def test_a_machine_speaks_when_its_word_is_old(database: Database, settings: Settings) -> None:
    mine = settings.model_copy(update={"engines": EngineSettings(worker="node-7", report_holds_seconds=60)})
    looks: list[int] = []

    def look() -> list[AvailabilityReport]:
        looks.append(1)
        return [POCKETSPHINX]

    assert worker_name(mine) == "node-7"
    assert report_when_due(database, mine, look, older_than_seconds=600) == [POCKETSPHINX]
    assert report_when_due(database, mine, look, older_than_seconds=600) is None
    assert report_when_due(database, mine, look) == [POCKETSPHINX]
    assert len(looks) == 2
    with database.session() as session:
        (word,) = workers(session)
    assert word.name == "node-7"
    assert 50 < (word.expires_at - word.heartbeat_at).total_seconds() <= 61


def test_processes_of_one_machine_may_speak_at_once(database: Database) -> None:
    broken: list[Exception] = []

    def speak() -> None:
        try:
            for _ in range(5):
                say(database, "node", TURBO, POCKETSPHINX)
        except Exception as error:  # noqa: BLE001 - shown below
            broken.append(error)

    threads = [threading.Thread(target=speak) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not broken
    with database.session() as session:
        assert [each.name for each in workers(session)] == ["node"]
