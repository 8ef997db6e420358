"""Ordering: once per idempotency key, engines chosen and frozen, refusals that name what is missing."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import func, select

from audiomill.catalogue.capabilities import CAPABILITIES
from audiomill.database.connection import Database
from audiomill.database.tables import Batch, Job, JobEvent, Recording, Submission, WorkItem
from audiomill.errors import BadRequest, Conflict, EngineUnavailable, LimitExceeded, NotFound
from audiomill.jobs.batches.forming import form_batches
from audiomill.jobs.batches.leases import Claim, claim
from audiomill.jobs.queries import get_job
from audiomill.jobs.submission import InputObject, NewJob, Submitted, check
from audiomill.settings import Settings
from tests.fakes.orders import audio, order, prepare, wipe


@pytest.fixture(autouse=True)
def _workspace(database: Database) -> None:
    wipe(database)
    prepare(database, "acme")


def claim_next(database: Database, settings: Settings, stage: str) -> Claim:
    """The lease of the batch of that stage."""
    with database.session() as session:
        form_batches(session, settings)
        (batch_id,) = session.scalars(select(Batch.id).where(Batch.stage == stage))
        return claim(session, batch_id=batch_id, stage=stage, run_id=f"run-{stage}", settings=settings)


def count(database: Database, table: type) -> int:
    with database.session() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_an_order_makes_recordings_jobs_items_and_first_events(database: Database, settings: Settings) -> None:
    submitted = order(database, settings, "acme", audio(3))
    assert submitted.created
    assert [count(database, table) for table in (Recording, Submission, Job, WorkItem, JobEvent)] == [3, 1, 3, 3, 3]


def test_auto_is_resolved_and_frozen(database: Database, settings: Settings) -> None:
    (job_id,) = order(database, settings, "acme", audio(1)).job_ids
    with database.session() as session:
        job = get_job(session, "acme", job_id)
    assert (job.engine, job.parameters["engine"], job.parameters["beam_size"]) == ("pocketsphinx", "pocketsphinx", 5)


def test_a_repeat_returns_the_first_orders_jobs(database: Database, settings: Settings) -> None:
    jobs = audio(3)
    first = order(database, settings, "acme", jobs, key="k")
    again = order(database, settings, "acme", jobs, key="k")
    assert not again.created
    assert again.job_ids == first.job_ids
    assert count(database, Job) == 3


def test_a_key_used_for_another_order_is_refused(database: Database, settings: Settings) -> None:
    order(database, settings, "acme", audio(1), key="k")
    with pytest.raises(Conflict) as caught:
        order(database, settings, "acme", audio(1), key="k")
    assert caught.value.code == "idempotency_key_reused"


def test_workspaces_do_not_share_keys(database: Database, settings: Settings) -> None:
    prepare(database, "other")
    order(database, settings, "acme", audio(1), key="k")
    assert order(database, settings, "other", audio(1), key="k").created


def test_twenty_at_once_with_one_key_make_one_submission(database: Database, settings: Settings) -> None:
    jobs = audio(5)
    with ThreadPoolExecutor(20) as pool:
        futures = [pool.submit(order, database, settings, "acme", jobs, key="race") for _ in range(20)]
        results = [future.result() for future in futures]
    assert sum(result.created for result in results) == 1
    assert len({result.job_ids for result in results}) == 1
    assert count(database, Job) == 5


def test_the_same_object_in_two_orders_is_one_recording(database: Database, settings: Settings) -> None:
    jobs = audio(1)
    order(database, settings, "acme", jobs)
    order(database, settings, "acme", jobs)
    assert (count(database, Recording), count(database, Job)) == (1, 2)


@pytest.mark.parametrize(
    ("new", "kind", "code"),
    [
        (NewJob("nonsense", {}, InputObject("k", "v", 1, "f")), BadRequest, "unknown_recipe"),
        (NewJob("transcribe", {"beam_size": 99}, InputObject("k", "v", 1, "f")), BadRequest, "bad_parameter"),
        (NewJob("transcribe", {"colour": "red"}, InputObject("k", "v", 1, "f")), BadRequest, "bad_parameter"),
        (NewJob("synthesize", {"formats": ["wav"] * 9000}, InputObject("k", "v", 1, "f")), BadRequest, "bad_parameter"),
        (NewJob("subtitles", {"formats": ["srt", "srt"]}, InputObject("k", "v", 1, "f")), BadRequest, "bad_parameter"),
        (NewJob("transcribe", {}, InputObject("k", "v", 1, "f", kind="text")), BadRequest, "wrong_kind_of_input"),
        (NewJob("synthesize", {}, InputObject("k", "v", 1, "f", kind="audio")), BadRequest, "wrong_kind_of_input"),
        (NewJob("transcribe", {"engine": "magic"}, InputObject("k", "v", 1, "f")), EngineUnavailable, "unknown_engine"),
        (NewJob("transcribe", {}, InputObject("k", "v", 6 * 1024**3, "f")), LimitExceeded, "recording_too_large"),
        (
            NewJob("synthesize", {"rate_wpm": 80}, InputObject("k", "v", 9, "f", None, 9, "text", 20_000.0)),
            LimitExceeded,
            "speech_too_long",
        ),
    ],
)
def test_what_cannot_be_ordered(
    database: Database, settings: Settings, new: NewJob, kind: type[Exception], code: str
) -> None:
    with pytest.raises(kind) as caught:
        order(database, settings, "acme", [*audio(2), new])
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert [count(database, table) for table in (Submission, Job, Recording)] == [0, 0, 0]


def test_a_refusal_names_what_each_engine_lacks(database: Database, settings: Settings) -> None:
    german = [NewJob("transcribe", {"language": "de"}, InputObject("k", "v", 1, "f"))]
    with pytest.raises(EngineUnavailable, match=r"weights of small.*pocketsphinx does not know the language 'de'"):
        order(database, settings, "acme", german)


def test_a_named_engine_that_cannot_run_is_refused(database: Database, settings: Settings) -> None:
    named = [NewJob("transcribe", {"engine": "faster-whisper"}, InputObject("k", "v", 1, "f"))]
    with pytest.raises(EngineUnavailable, match="weights of small are not in the model store"):
        order(database, settings, "acme", named)


def test_a_language_without_a_voice_is_refused(database: Database, settings: Settings) -> None:
    klingon = [NewJob("synthesize", {"language": "tlh"}, InputObject("k", "v", 1, "f.txt"))]
    with pytest.raises(EngineUnavailable, match="espeak-ng does not know the language 'tlh'"):
        order(database, settings, "acme", klingon)


def test_no_inputs_too_many_inputs_and_no_workspace(database: Database, settings: Settings) -> None:
    with pytest.raises(BadRequest):
        order(database, settings, "acme", [])
    with pytest.raises(LimitExceeded):
        order(database, settings, "acme", audio(1001))
    with pytest.raises(NotFound):
        order(database, settings, "nowhere", audio(1))


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"])
@pytest.mark.parametrize("where", ["key", "recipe", "parameter", "name of a parameter", "filename", "object"])
def test_what_no_database_can_hold_is_refused(database: Database, settings: Settings, bad: str, where: str) -> None:
    given = InputObject(bad if where == "object" else "a", "v1", 10, bad if where == "filename" else "a.wav")
    parameters = {"parameter": {"hotwords": [bad]}, "name of a parameter": {bad: 1}}.get(where, {})
    new = NewJob(bad if where == "recipe" else "transcribe", parameters, given)
    with pytest.raises(BadRequest) as caught:
        order(database, settings, "acme", [new], key=bad if where == "key" else "key")
    assert caught.value.code == "bad_characters"


def test_each_job_shows_the_name_that_its_own_order_gave_the_object(database: Database, settings: Settings) -> None:
    shown = []
    for name in ("greeting.txt", "farewell.txt"):
        same = NewJob("synthesize", {}, InputObject("texts/acme/one.txt", "v", 5, name))
        (job_id,) = order(database, settings, "acme", [same]).job_ids
        with database.session() as session:
            shown.append(get_job(session, "acme", job_id).filename)
    assert shown == ["greeting.txt", "farewell.txt"]
    given = claim_next(database, settings, "synthesize").items
    assert sorted(item.filename for item in given) == ["farewell.txt", "greeting.txt"]


def test_an_object_ordered_as_sound_and_as_text_is_to_each_job_what_its_order_says(
    database: Database, settings: Settings
) -> None:
    given = InputObject("uploads/acme/one", "v", 5, "one.bin")
    order(database, settings, "acme", [NewJob("transcribe", {}, given), NewJob("synthesize", {}, given)])
    claims = [claim_next(database, settings, stage) for stage in ("transcribe", "synthesize")]
    assert [(item.capability, item.kind) for claim in claims for item in claim.items] == [
        ("transcribe", "audio"),
        ("synthesize", "text"),
    ]


def test_checking_raises_what_ordering_would_tells_a_repeat_and_writes_nothing(
    database: Database, settings: Settings
) -> None:
    jobs = audio(2)

    def checked(key: str, jobs: list[NewJob]) -> Submitted | None:
        with database.session() as session:
            return check(session, workspace_id="acme", idempotency_key=key, jobs=jobs, settings=settings)

    assert checked("k", jobs) is None
    assert [count(database, table) for table in (Submission, Job, Recording)] == [0, 0, 0]
    made = order(database, settings, "acme", jobs, key="k")
    assert checked("k", jobs) == replace(made, created=False)
    with pytest.raises(Conflict):
        checked("k", audio(1))
    with pytest.raises(EngineUnavailable):
        checked("other", [NewJob("transcribe", {"engine": "magic"}, jobs[0].input)])


def test_no_parameter_is_without_a_bound() -> None:
    for each in CAPABILITIES.values():
        schema = each.parameters.model_json_schema()
        assert list(_unbounded(schema, schema.get("$defs", {}), each.name)) == []


BOUNDS = {
    "string": "maxLength",
    "array": "maxItems",
    "integer": "maximum",
    "number": "maximum",
    "object": "maxProperties",
}


def _unbounded(kind: dict[str, Any], named: dict[str, Any], where: str) -> Iterator[str]:
    """Where in a JSON schema something may be as large as one likes."""
    fixed = kind.get("additionalProperties") is False or {"enum", "const"} & kind.keys()
    if (name := kind.get("type")) in BOUNDS and not fixed and BOUNDS[name] not in kind:
        yield where
    for inner, place in _inside(kind, named):
        yield from _unbounded(inner, named, f"{where}{place}")


def _inside(kind: dict[str, Any], named: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    if "$ref" in kind:
        yield named[kind["$ref"].rpartition("/")[2]], ""
    yield from ((one, "") for one in kind.get("anyOf", []))
    yield from ((field, f".{name}") for name, field in kind.get("properties", {}).items())
    if "items" in kind:
        yield kind["items"], ": an item"
    if kind.get("type") == "object" and kind.get("additionalProperties") is not False:
        yield {"type": "string", **kind.get("propertyNames", {})}, ": a name"
        yield kind.get("additionalProperties", {"type": "string"}), ": a value"
