"""Manifests in the inbox: a file with parameters and further inputs is one job, and what is wrong is said."""

import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from sqlalchemy import select, text

from audiomill.catalogue.engines import AvailabilityReport
from audiomill.database.connection import Database
from audiomill.database.tables import Job, JobInput, Recording
from audiomill.errors import BadRequest
from audiomill.inbox import sweep as inbox_sweep
from audiomill.inbox.entries import recent_entries
from audiomill.inbox.manifests import MOST_BYTES, read_manifest
from audiomill.inbox.sweep import InboxTally, take_keys, take_page
from audiomill.jobs.availability import report
from audiomill.settings import Settings, StorageSettings
from audiomill.storage import ObjectStore, Page
from audiomill.storage.factory import open_store
from audiomill.storage.local import LocalStore
from audiomill.storage.s3 import S3Store
from tests.fakes.orders import ESPEAK, POCKETSPHINX, prepare, wipe

FOLDER = "inbox/acme/dub/"
FILM, MANIFEST, SUBTITLES = FOLDER + "film.mp4", FOLDER + "film.mp4.job.json", FOLDER + "es.srt"
SPANISH: dict[str, Any] = {"parameters": {"target_language": "de"}, "inputs": {"subtitles": "es.srt"}}
RNNOISE = AvailabilityReport("rnnoise", None, "cpu", "separation", 0, True, None, None)


@pytest.fixture
def config(database: Database, settings: Settings, tmp_path: Path) -> Settings:
    wipe(database)
    prepare(database, "acme")
    with database.session() as session:
        report(session, worker="test", rows=[POCKETSPHINX, ESPEAK, RNNOISE])
    return settings.model_copy(
        update={"data_dir": tmp_path, "inbox": settings.inbox.model_copy(update={"settle_seconds": 0, "page_size": 50})}
    )


@pytest.fixture(params=["local", "s3"])
def inbox(config: Settings, request: pytest.FixtureRequest) -> Iterator[ObjectStore]:
    if request.param == "local":
        yield open_store(config)
        return
    server = request.getfixturevalue("s3_server")
    chosen = StorageSettings(kind="s3", bucket="mill", prefix=uuid.uuid4().hex, endpoint_url=server, region="us-east-1")
    with closing(S3Store(chosen)) as store:
        yield store


def write(store: ObjectStore, key: str, data: bytes | dict[str, Any], *, at: int | None = None) -> None:
    """Write an object, at a time of its own where one is given: stores tell times by the second, or a clock's tick."""
    store.put_bytes(key, data if isinstance(data, bytes) else json.dumps(data).encode())
    if at is None:
        return
    if isinstance(store, LocalStore):
        os.utime(store.root / key, (at, at))
    else:
        assert isinstance(store, S3Store)
        s3_backends[DEFAULT_ACCOUNT_ID]["aws"].head_object(
            "mill", store._prefix + key
        ).last_modified = datetime.fromtimestamp(at, UTC).replace(tzinfo=None)


def sweep(database: Database, store: ObjectStore, config: Settings) -> list[InboxTally]:
    tallies: list[InboxTally] = []
    after: str | None = None
    while True:
        tallies.append(take_page(database, store, after=after, settings=config))
        after = tallies[-1].next_after
        if after is None:
            return tallies


def submitted(database: Database, store: ObjectStore, config: Settings) -> int:
    return sum(tally.submitted for tally in sweep(database, store, config))


def jobs(database: Database) -> list[tuple[str, ...]]:
    """Of each job its recipe and inputs by role, without their folder."""
    with database.session() as session:
        rows = session.execute(
            select(Job.id, Job.recipe, JobInput.role, Recording.object_key)
            .join(JobInput, JobInput.job_id == Job.id)
            .join(Recording, Recording.id == JobInput.recording_id)
            .order_by(Job.id, JobInput.role, JobInput.position)
        ).all()
    made: dict[str, list[str]] = {}
    for row in rows:
        made.setdefault(row.id, [row.recipe]).append(f"{row.role}={row.object_key.split('/', 3)[-1]}")
    return sorted(map(tuple, made.values()))


def said(database: Database) -> dict[str, tuple[str, str]]:
    with database.session() as session:
        return {
            entry.object_key.split("/", 3)[-1]: (entry.outcome, entry.reason or "") for entry in recent_entries(session)
        }


def minutes_later(database: Database) -> None:
    with database.session() as session:
        session.execute(text("UPDATE inbox_entries SET seen_at = seen_at - interval '2 minutes'"))


DUBBED = ("dub", "source=film.mp4", "subtitles=es.srt")


def test_a_file_its_manifest_and_what_this_names_are_one_job(
    database: Database, config: Settings, inbox: ObjectStore
) -> None:
    write(inbox, FILM, b"film")
    write(inbox, SUBTITLES, b"1")
    write(inbox, MANIFEST, SPANISH)
    assert submitted(database, inbox, config) == 1
    for _ in range(2):
        minutes_later(database)
        assert [(t.submitted, t.rejected, t.waiting) for t in sweep(database, inbox, config)] == [(0, 0, 0)]
    assert jobs(database) == [DUBBED]
    with database.session() as session:
        assert session.scalars(select(Job)).one().parameters["target_language"] == "de"
    assert {outcome for outcome, _ in said(database).values()} == {"submitted"}
    assert "film.mp4.job.json" in said(database)["es.srt"][1]


@pytest.mark.parametrize(
    "order", [(FILM, SUBTITLES, MANIFEST), (MANIFEST, SUBTITLES, FILM), (SUBTITLES, MANIFEST, FILM)]
)
@pytest.mark.parametrize("page_size", [1, 50])
def test_in_whatever_order_they_come_and_however_the_listing_is_cut(
    database: Database, config: Settings, inbox: ObjectStore, order: tuple[str, ...], page_size: int
) -> None:
    config = config.model_copy(update={"inbox": config.inbox.model_copy(update={"page_size": page_size})})
    brought = {FILM: b"film", SUBTITLES: b"1", MANIFEST: json.dumps(SPANISH).encode()}
    ordered = []
    for key in order:
        write(inbox, key, brought[key])
        ordered.append(submitted(database, inbox, config))
    assert ordered == [0, 0, 1]
    assert jobs(database) == [DUBBED]
    minutes_later(database)
    assert submitted(database, inbox, config) == 0


def test_a_file_whose_recipe_needs_a_parameter_waits_for_its_manifest_and_is_then_refused_and_taken_when_it_comes(
    database: Database, config: Settings, inbox: ObjectStore
) -> None:
    write(inbox, FILM, b"film")
    assert [(t.waiting, t.rejected) for t in sweep(database, inbox, config)] == [(1, 0)]
    outcome, reason = said(database)["film.mp4"]
    assert outcome == "waiting"
    assert "'target_language'" in reason
    assert "film.mp4.job.json" in reason
    late = config.model_copy(update={"inbox": config.inbox.model_copy(update={"manifest_seconds": 1e-6})})
    assert [t.rejected for t in sweep(database, inbox, late)] == [1]
    assert [t.rejected for t in sweep(database, inbox, late)] == [0]
    assert said(database)["film.mp4"][0] == "rejected"
    assert "'target_language'" in said(database)["film.mp4"][1]
    write(inbox, SUBTITLES, b"1")
    write(inbox, MANIFEST, SPANISH)
    assert submitted(database, inbox, late) == 1
    assert jobs(database) == [DUBBED]


def test_a_manifest_waits_for_what_it_names_and_says_what_is_missing(
    database: Database, config: Settings, inbox: ObjectStore
) -> None:
    write(inbox, FILM, b"film")
    write(inbox, MANIFEST, SPANISH)
    sweep(database, inbox, config)
    now = said(database)
    assert now["film.mp4.job.json"][0] == now["film.mp4"][0] == now["es.srt"][0] == "waiting"
    assert "'es.srt'" in now["film.mp4.job.json"][1]
    late = config.model_copy(update={"inbox": config.inbox.model_copy(update={"manifest_seconds": 1e-6})})
    minutes_later(database)
    sweep(database, inbox, late)
    assert said(database)["film.mp4.job.json"][0] == "rejected"
    write(inbox, SUBTITLES, b"1")
    assert submitted(database, inbox, late) == 1, "at once, by the file that came"
    assert jobs(database) == [DUBBED]


def test_what_a_manifest_waits_for_is_no_job_of_its_own_where_the_recipe_would_take_it(
    database: Database, config: Settings, inbox: ObjectStore
) -> None:
    folder = "inbox/acme/transcribe/"
    write(inbox, folder + "talk.job.json", {"inputs": {"source": "talk.wav"}, "parameters": {"language": "en"}})
    write(inbox, folder + "talk.wav", b"sound")
    assert submitted(database, inbox, config) == 1
    assert jobs(database) == [("transcribe", "source=talk.wav")]
    with database.session() as session:
        assert session.scalars(select(Job.parameters["language"].astext)).all() == ["en"]


def test_a_manifest_with_wrong_parameters_holds_its_inputs(
    database: Database, config: Settings, inbox: ObjectStore
) -> None:
    folder = "inbox/acme/transcribe/"
    write(inbox, folder + "zz.job.json", {"inputs": {"source": "talk.wav"}, "parameters": {"language": 7}})
    write(inbox, folder + "talk.wav", b"sound")
    write(inbox, folder + "zzz.wav", b"sound")
    for expected in (1, 0, 0):
        assert submitted(database, inbox, config) == expected
        minutes_later(database)
    assert jobs(database) == [("transcribe", "source=zzz.wav")]
    assert said(database)["zz.job.json"][0] == "rejected"
    assert "'language" in said(database)["zz.job.json"][1]
    assert said(database)["talk.wav"][0] == "waiting"
    write(inbox, folder + "zz.job.json", {"inputs": {"source": "talk.wav"}, "parameters": {"language": "en"}})
    assert submitted(database, inbox, config) == 1


def test_a_new_writing_of_the_file_or_of_the_manifest_is_an_order_and_one_of_an_input_is_said(
    database: Database, config: Settings, inbox: ObjectStore
) -> None:
    write(inbox, FILM, b"film", at=1000)
    write(inbox, SUBTITLES, b"1", at=1000)
    write(inbox, MANIFEST, SPANISH, at=1000)
    assert submitted(database, inbox, config) == 1
    for key, data, expected in (
        (MANIFEST, json.dumps(SPANISH).encode(), 1),
        (FILM, b"film", 1),
        (FILM, b"other film", 1),
        (SUBTITLES, b"2", 0),
    ):
        write(inbox, key, data, at=int(datetime.now(UTC).timestamp()) - 5000 + len(jobs(database)))
        assert submitted(database, inbox, config) == expected, key
        assert submitted(database, inbox, config) == 0
    assert "touch" in said(database)["es.srt"][1]
    write(inbox, MANIFEST, SPANISH, at=5000)
    assert submitted(database, inbox, config) == 1
    assert jobs(database) == [DUBBED] * 5


def test_one_voice_for_many_files_is_shared(database: Database, config: Settings, inbox: ObjectStore) -> None:
    write(inbox, SUBTITLES, b"1")
    for number in range(3):
        write(inbox, f"{FOLDER}{number}.mp4", b"film %d" % number)
        write(inbox, f"{FOLDER}{number}.mp4.job.json", SPANISH)
    assert submitted(database, inbox, config) == 3
    assert submitted(database, inbox, config) == 0
    assert jobs(database) == [("dub", f"source={number}.mp4", "subtitles=es.srt") for number in range(3)]


def test_what_is_found_by_events_comes_to_the_same(database: Database, config: Settings, inbox: ObjectStore) -> None:
    write(inbox, MANIFEST, SPANISH)
    write(inbox, FILM, b"film")
    assert take_keys(database, inbox, keys=[FILM, MANIFEST], settings=config).submitted == 0
    write(inbox, SUBTITLES, b"1")
    assert take_keys(database, inbox, keys=[SUBTITLES], settings=config).submitted == 1
    assert jobs(database) == [DUBBED]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "not JSON from line 1"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[]", "no JSON object"),
        (b"[" * 100_000, "bytes"),
        (b"[" * 20_000, "depths"),
        (b'{"parameters": NaN}', "numbers or depths"),
        (b'{"parameters": {"a": 1}, "parameters": {}}', "twice"),
        (b'{"target_language": "es"}', "'target_language'"),
        (b'{"parameters": []}', "'parameters' is not right"),
        (b'{"inputs": {"subtitles": 7}}', "'inputs.subtitles' is not right"),
        (b'{"inputs": {"subtitles": "../secret.srt"}}', "no name of a file"),
        (b'{"inputs": {"subtitles": "/etc/passwd"}}', "no name of a file"),
        (b'{"inputs": {"subtitles": "\\ud800"}}', "'inputs.subtitles' is not right"),
        (b'{"inputs": {"subtitles": "other.job.json"}}', "is a manifest"),
        (b'{"inputs": {"subtitles": ["a.srt", "a.srt"]}}', "twice"),
        (b" " * (MOST_BYTES + 1), "bytes"),
    ],
)
def test_junk_is_refused_with_what_is_wrong(content: bytes, why: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read_manifest(MANIFEST, content)
    assert why in caught.value.message


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"parameters": {"target_language": "de"}, "inputs": {"picture": "es.srt"}}, "no input 'picture'"),
        ({"parameters": {"target_language": "de"}, "inputs": {"subtitles": ["es.srt", "b.srt"]}}, "takes one input"),
        ({"inputs": {"subtitles": "es.srt"}}, "needs the parameter 'target_language'"),
        ({"parameters": {"target_language": "de"}, "inputs": {"source": "es.srt"}}, "names another 'source'"),
        (b"junk", "not JSON"),
        (b" " * (MOST_BYTES + 1), "bytes"),
    ],
)
def test_a_wrong_manifest_is_refused_once_its_file_is_held_and_the_rest_goes_on(
    database: Database, config: Settings, inbox: ObjectStore, content: dict[str, Any] | bytes, why: str
) -> None:
    write(inbox, FILM, b"film")
    write(inbox, SUBTITLES, b"1")
    write(inbox, MANIFEST, content)
    write(inbox, "inbox/acme/transcribe/a.wav", b"sound")
    assert [(t.submitted, t.rejected) for t in sweep(database, inbox, config)] == [(1, 1)]
    minutes_later(database)
    assert [(t.submitted, t.rejected) for t in sweep(database, inbox, config)] == [(0, 0)]
    now = said(database)
    assert now["film.mp4.job.json"][0] == "rejected"
    assert why in now["film.mp4.job.json"][1]
    assert now["film.mp4"][0] == "waiting"
    write(inbox, MANIFEST, SPANISH, at=5000)
    assert submitted(database, inbox, config) == 1


def test_while_no_engine_serves_it_a_manifest_waits_and_nothing_is_read(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(inbox, FILM, b"film")
    write(inbox, MANIFEST, {"parameters": {"target_language": "xx"}})
    with monkeypatch.context() as patch:
        patch.setattr(inbox, "version", None)
        assert submitted(database, inbox, config) == 0
        assert said(database)["film.mp4.job.json"][0] == "waiting"
        assert "failed" not in {outcome for outcome, _ in said(database).values()}


def test_what_is_known_costs_one_query_and_no_look_at_the_store(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(inbox, FILM, b"film")
    write(inbox, SUBTITLES, b"1")
    write(inbox, MANIFEST, SPANISH)
    sweep(database, inbox, config)
    for name in ("stat", "get_bytes", "version"):
        monkeypatch.setattr(inbox, name, None)
    assert [(t.submitted, t.rejected, t.waiting) for t in sweep(database, inbox, config)] == [(0, 0, 0)]


def test_a_manifest_that_waits_is_read_once_a_minute(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(inbox, FILM, b"film")
    write(inbox, MANIFEST, SPANISH)
    sweep(database, inbox, config)
    reads: list[str] = []
    read = inbox.get_bytes

    def counting(key: str) -> bytes:
        reads.append(key)
        return read(key)

    monkeypatch.setattr(inbox, "get_bytes", counting)
    for expected in (0, 0, 1):
        if expected:
            minutes_later(database)
        sweep(database, inbox, config)
        assert len(reads) == expected


def test_a_manifest_that_is_written_while_it_is_read_is_ordered_once_and_as_it_came_to_be(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(inbox, FILM, b"film", at=1000)
    write(inbox, SUBTITLES, b"1", at=1000)
    write(inbox, MANIFEST, {"parameters": {"target_language": "en"}}, at=1000)
    read = inbox.get_bytes

    def late(key: str) -> bytes:
        write(inbox, MANIFEST, SPANISH, at=2000)
        return read(key)

    with monkeypatch.context() as patch:
        patch.setattr(inbox, "get_bytes", late)
        first = submitted(database, inbox, config)
    assert first + submitted(database, inbox, config) == 1
    assert jobs(database) == [DUBBED]


def test_what_another_taker_ordered_meanwhile_is_not_said_to_wait(
    database: Database, config: Settings, inbox: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its entry would be overwritten, and it be ordered again."""
    write(inbox, SUBTITLES, b"1")
    write(inbox, MANIFEST, SPANISH)
    look = inbox_sweep.look_at

    def overtaken(*given: Any) -> Any:
        found = look(*given)
        monkeypatch.setattr(inbox_sweep, "look_at", look)
        write(inbox, FILM, b"film")
        assert submitted(database, inbox, config) == 1
        return found

    monkeypatch.setattr(inbox_sweep, "look_at", overtaken)
    for _ in range(3):
        sweep(database, inbox, config)
        minutes_later(database)
    assert jobs(database) == [DUBBED]
    assert {outcome for outcome, _ in said(database).values()} == {"submitted"}


def test_what_is_restored_with_its_manifest_still_belongs_to_it(
    database: Database, config: Settings, tmp_path: Path
) -> None:
    inbox = open_store(config)
    folder = "inbox/acme/transcribe/"
    both = (folder + "talk.job.json", folder + "talk.wav")
    write(inbox, both[0], {"inputs": {"source": "talk.wav"}}, at=1000)
    write(inbox, both[1], b"sound", at=1000)
    assert submitted(database, inbox, config) == 1
    for key in both:
        path = config.data_dir / "store" / key
        path.rename(tmp_path / "aside")
        shutil.copy2(tmp_path / "aside", path)
    assert submitted(database, inbox, config) == 0
    write(inbox, both[1], b"other sound", at=2000)
    assert submitted(database, inbox, config) == 0
    assert "touch" in said(database)["talk.wav"][1]


def test_an_input_of_many_is_read_once(database: Database, config: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = open_store(config)
    write(inbox, SUBTITLES, b"1")
    for number in range(3):
        write(inbox, f"{FOLDER}{number}.mp4", b"film %d" % number)
        write(inbox, f"{FOLDER}{number}.mp4.job.json", SPANISH)
    reads: list[str] = []
    version = inbox.version
    monkeypatch.setattr(inbox, "version", lambda key: reads.append(key) or version(key))
    assert submitted(database, inbox, config) == 3
    assert sorted(reads) == [f"{FOLDER}0.mp4", f"{FOLDER}1.mp4", f"{FOLDER}2.mp4", SUBTITLES]


def test_a_manifest_that_came_a_moment_ago_keeps_what_it_names(
    database: Database, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = open_store(config)
    patient = config.model_copy(update={"inbox": config.inbox.model_copy(update={"settle_seconds": 3600})})
    folder = "inbox/acme/transcribe/"
    write(inbox, folder + "talk.wav", b"sound")
    write(inbox, folder + "zz.job.json", {"inputs": {"source": "talk.wav"}})
    listed = inbox.list_page

    def still(prefix: str, *, after: str | None, limit: int) -> Page:
        page = listed(prefix, after=after, limit=limit)
        return replace(
            page,
            objects=tuple(
                replace(info, settled_seconds=7200.0) if info.key.endswith(".wav") else info for info in page.objects
            ),
        )

    with monkeypatch.context() as patch:
        patch.setattr(inbox, "list_page", still)
        assert submitted(database, inbox, patient) == 0
    assert submitted(database, inbox, config) == 1
    assert submitted(database, inbox, config) == 0


@pytest.mark.parametrize("language", [7, "xx"])
@pytest.mark.parametrize("page_size", [1, 50])
def test_a_manifest_that_is_wrong_or_waits_keeps_what_comes_later(
    database: Database, config: Settings, inbox: ObjectStore, language: object, page_size: int
) -> None:
    """The language is not one, or no engine speaks it: either way its file must not be ordered without it."""
    config = config.model_copy(update={"inbox": config.inbox.model_copy(update={"page_size": page_size})})
    folder = "inbox/acme/transcribe/"
    write(inbox, folder + "zz.job.json", {"inputs": {"source": "talk.wav"}, "parameters": {"language": language}})
    assert submitted(database, inbox, config) == 0
    write(inbox, folder + "talk.wav", b"sound")
    for _ in range(2):
        assert submitted(database, inbox, config) == 0
        minutes_later(database)
    assert said(database)["talk.wav"][0] == "waiting"
    write(inbox, folder + "zz.job.json", {"inputs": {"source": "talk.wav"}, "parameters": {"language": "en"}}, at=5000)
    assert submitted(database, inbox, config) == 1
    assert jobs(database) == [("transcribe", "source=talk.wav")]


def test_a_manifest_names_so_many_inputs_and_no_more() -> None:
    names = [f"{number}.srt" for number in range(101)]
    with pytest.raises(BadRequest, match="more than 100"):
        read_manifest(MANIFEST, json.dumps({"inputs": {"subtitles": names[:60], "source": names[60:]}}).encode())
