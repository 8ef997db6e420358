"""`submit`: recordings, submission, jobs and their first work items in one transaction, once per idempotency key."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import rfc8785
from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from audiomill.accounts.space import refuse_if_full
from audiomill.catalogue.capabilities import capability, validated
from audiomill.catalogue.capability import Capability
from audiomill.catalogue.parameters import Parameters
from audiomill.catalogue.recipes import recipe
from audiomill.catalogue.speaking import REFERENCE_RATE_WPM, speech_too_long
from audiomill.catalogue.stages import STAGES
from audiomill.catalogue.synthesize import SynthesizeParameters
from audiomill.database.tables import Job, JobEvent, Recording, Submission, Upload, WorkItem, Workspace
from audiomill.errors import BadRequest, Conflict, LimitExceeded, NotFound
from audiomill.formats import sizes_shown
from audiomill.jobs.availability import EngineChoice, choose
from audiomill.jobs.batches.lanes import estimated_seconds, lane_of, length_class
from audiomill.jobs.identifiers import new_id
from audiomill.jobs.speeds import Speeds
from audiomill.settings import Settings

_BROUGHT = text(
    """
    SELECT sum(size_bytes)
    FROM unnest(CAST(:keys AS text[]), CAST(:versions AS text[]), CAST(:sizes AS bigint[]))
        AS new (key, version, size_bytes)
    WHERE NOT EXISTS (
        SELECT FROM recordings WHERE workspace_id = :workspace AND object_key = key AND object_version = version
    ) AND NOT EXISTS (
        SELECT FROM uploads WHERE workspace_id = :workspace AND object_key = key AND NOT ordered
    )
    """
)
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")
Source = Literal["inbox", "api", "operator", "schedule"]


@dataclass(frozen=True)
class InputObject:
    """An object of the store that is to be worked on. `characters` of a text, where known.

    kind: what it is, where that is known without reading it. least_spoken_seconds: what the speech of a text lasts at
    least, at the reference rate, where known.
    """

    key: str
    version: str
    size_bytes: int
    filename: str
    sha256: str | None = None
    characters: int | None = None
    kind: Literal["audio", "text"] | None = None
    least_spoken_seconds: float | None = None


@dataclass(frozen=True)
class NewJob:
    """One order: a recipe, parameters that differ from the recipe's, and what to apply it to."""

    recipe: str
    parameters: dict[str, Any]
    input: InputObject


@dataclass(frozen=True)
class Submitted:
    """What came of it. `created` is False when the idempotency key had been used for the same order before."""

    submission_id: str
    job_ids: tuple[str, ...]
    created: bool


@dataclass(frozen=True)
class _Order:
    """An order resolved: nothing is left open."""

    new: NewJob
    capability: Capability
    parameters: Parameters
    choice: EngineChoice


def submit(
    session: Session,
    *,
    workspace_id: str,
    source: Source,
    idempotency_key: str,
    jobs: Sequence[NewJob],
    settings: Settings,
) -> Submitted:
    """Order jobs. A repeat with the same key and order returns the first one's jobs; nothing is made twice.

    Raises NotFound (workspace), BadRequest (unknown recipe, bad parameter, not for such inputs), LimitExceeded,
    EngineUnavailable, QuotaExceeded (`workspace_full`), Conflict (the key was used for another order).
    """
    workspace = _orderer(session, workspace_id, idempotency_key, jobs, settings)
    request_sha256 = _request_sha256(jobs)
    submission_id = new_id("sub")
    # Waits for a concurrent transaction with the same key, and then finds its row.
    inserted = session.scalar(
        insert(Submission)
        .values(
            id=submission_id,
            workspace_id=workspace_id,
            source=source,
            idempotency_key=idempotency_key,
            request_sha256=request_sha256,
        )
        .on_conflict_do_nothing(index_elements=["workspace_id", "idempotency_key"])
        .returning(Submission.id)
    )
    if inserted is None:
        replayed = _replayed(session, workspace_id, idempotency_key, request_sha256)
        assert replayed is not None, "what is in the way is there"  # noqa: S101 - for mypy
        return replayed
    orders = _resolved(session, jobs, settings)
    refuse_if_full(session, workspace_id, _brought_bytes(session, workspace_id, jobs), settings)
    _mark_uploads(session, workspace_id, jobs)
    recordings = _recordings(session, workspace_id, orders)
    return Submitted(submission_id, _insert(session, workspace, submission_id, orders, recordings), created=True)


def check(
    session: Session, *, workspace_id: str, idempotency_key: str, jobs: Sequence[NewJob], settings: Settings
) -> Submitted | None:
    """Raise what `submit` would now, and write nothing; what the same order came to, if it was made before.

    For who must do something else first (store a text), and would have to undo it.
    """
    _orderer(session, workspace_id, idempotency_key, jobs, settings)
    replayed = _replayed(session, workspace_id, idempotency_key, _request_sha256(jobs))
    if replayed is None:
        _resolved(session, jobs, settings)
        refuse_if_full(session, workspace_id, _brought_bytes(session, workspace_id, jobs), settings)
    return replayed


def _orderer(
    session: Session, workspace_id: str, idempotency_key: str, jobs: Sequence[NewJob], settings: Settings
) -> Workspace:
    """The workspace, if an order of this form may be made at all."""
    if not jobs:
        raise BadRequest("The order has no inputs. Name at least one.", code="no_inputs")
    if len(jobs) > settings.limits.max_jobs_per_submission:
        raise LimitExceeded(
            f"The order has {len(jobs)} inputs; one order may have {settings.limits.max_jobs_per_submission}. "
            "Split it into several.",
            code="too_many_jobs",
        )
    _refuse_unstorable(idempotency_key, jobs)
    workspace = session.get(Workspace, workspace_id)
    if workspace is None:
        raise NotFound(f"There is no workspace {workspace_id!r}.", code="workspace_not_found")
    return workspace


def _refuse_unstorable(idempotency_key: str, jobs: Sequence[NewJob]) -> None:
    """PostgreSQL's text has no NUL and no half characters. Raises BadRequest that says where there is one."""
    texts: list[tuple[str, Any]] = [("idempotency key", idempotency_key)]
    for new in jobs:
        texts += [("recipe's name", new.recipe), ("parameters", new.parameters), ("file name", new.input.filename)]
        texts.append(("object's key", new.input.key))
    for what, value in texts:
        if not _is_storable(value):
            raise BadRequest(
                f"There is a zero character or half of a character (a lone surrogate) in the {what}. Leave it out.",
                code="bad_characters",
            )


def _is_storable(value: object) -> bool:
    if isinstance(value, str):
        return _UNSTORABLE.search(value) is None
    if isinstance(value, dict):
        return all(_is_storable(each) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple):
        return all(_is_storable(each) for each in value)
    return True


def _request_sha256(jobs: Sequence[NewJob]) -> str:
    order: list[Any] = [[new.recipe, new.parameters, new.input.key, new.input.version] for new in jobs]
    try:
        return hashlib.sha256(rfc8785.dumps(order)).hexdigest()
    except rfc8785.CanonicalizationError as error:
        raise BadRequest(f"The parameters cannot be read: {error}.", code="bad_parameter") from error


def _replayed(session: Session, workspace_id: str, idempotency_key: str, request_sha256: str) -> Submitted | None:
    first = session.execute(
        select(Submission.id, Submission.request_sha256).where(
            Submission.workspace_id == workspace_id, Submission.idempotency_key == idempotency_key
        )
    ).one_or_none()
    if first is None:
        return None
    if first.request_sha256 != request_sha256:
        raise Conflict(
            f"The idempotency key {idempotency_key!r} was used for another order. Use a new key for a new order.",
            code="idempotency_key_reused",
        )
    ids = session.scalars(select(Job.id).where(Job.submission_id == first.id).order_by(Job.position))
    return Submitted(first.id, tuple(ids), created=False)


def _resolved(session: Session, jobs: Sequence[NewJob], settings: Settings) -> list[_Order]:
    known: dict[bytes, tuple[Capability, Parameters, EngineChoice]] = {}
    orders = []
    for new in jobs:
        if new.input.size_bytes > settings.limits.max_bytes:
            raise recording_too_large(new.input.filename, new.input.size_bytes, settings)
        cache_key = rfc8785.dumps([new.recipe, new.parameters])
        if cache_key not in known:
            known[cache_key] = engine_for(session, new.recipe, new.parameters)
        _refuse_wrong_kind(new, known[cache_key][0])
        _check_speech(new.input, known[cache_key][1], settings)
        orders.append(_Order(new, *known[cache_key]))
    return orders


def _refuse_wrong_kind(new: NewJob, ordered: Capability) -> None:
    if new.input.kind in {None, ordered.input_kind}:
        return
    names = {"audio": "a recording", "text": "a text"}
    raise BadRequest(
        f"The recipe {new.recipe!r} takes {names[ordered.input_kind]}, and {new.input.filename!r} is "
        f"{names[str(new.input.kind)]}. Order it without that input, or by another recipe.",
        code="wrong_kind_of_input",
    )


def engine_for(
    session: Session, recipe_name: str, given: dict[str, Any]
) -> tuple[Capability, Parameters, EngineChoice]:
    """What a recipe comes to here and now: its capability, its parameters with the engine frozen, and that engine.

    Raises BadRequest (unknown recipe, bad parameter), EngineUnavailable.
    """
    base = recipe(recipe_name)
    ordered = capability(base.capability)
    parameters = validated(base.capability, {**base.parameters, **given})
    first_stage = STAGES[ordered.stages[0]]
    choice = choose(session, task=first_stage.task, parameters=parameters)
    return ordered, parameters.model_copy(update={"engine": choice.engine, "model": choice.model}), choice


def _check_speech(given: InputObject, parameters: Parameters, settings: Settings) -> None:
    """Raises LimitExceeded for a text whose speech would be too long."""
    if isinstance(parameters, SynthesizeParameters) and given.least_spoken_seconds is not None:
        longest = settings.limits.max_seconds
        if given.least_spoken_seconds * REFERENCE_RATE_WPM / parameters.rate_wpm > longest:
            raise speech_too_long(longest)


def recording_too_large(filename: str, size_bytes: int, settings: Settings) -> LimitExceeded:
    """The error for a recording above the limit of this installation."""
    size, allowed = sizes_shown(size_bytes, settings.limits.max_bytes)
    return LimitExceeded(
        f"{filename!r} is {size}; a recording may have {allowed}. Split it, or compress it.",
        code="recording_too_large",
    )


def _brought_bytes(session: Session, workspace_id: str, jobs: Sequence[NewJob]) -> int:
    """What an order adds to what its workspace keeps: objects that are neither recordings nor uploads of it yet."""
    sizes = {(new.input.key, new.input.version): new.input.size_bytes for new in jobs}
    return int(
        session.scalar(
            _BROUGHT,
            {
                "workspace": workspace_id,
                "keys": [key for key, _ in sizes],
                "versions": [version for _, version in sizes],
                "sizes": list(sizes.values()),
            },
        )
        or 0
    )


def _mark_uploads(session: Session, workspace_id: str, jobs: Sequence[NewJob]) -> None:
    """Uploads that are ordered are counted as recordings from now on. Their rows are locked before the recordings'."""
    keys = {new.input.key for new in jobs}
    session.execute(
        update(Upload)
        .where(Upload.object_key.in_(keys), Upload.workspace_id == workspace_id, Upload.ordered.is_(False))
        .values(ordered=True)
    )


def _recordings(session: Session, workspace_id: str, orders: Sequence[_Order]) -> dict[tuple[str, str], str]:
    """Ids by object key and version; an object that is known already is the same recording."""
    rows = {
        (order.new.input.key, order.new.input.version): {
            "id": new_id("rec"),
            "workspace_id": workspace_id,
            "object_key": order.new.input.key,
            "object_version": order.new.input.version,
            "size_bytes": order.new.input.size_bytes,
            "sha256": order.new.input.sha256,
        }
        for order in orders
    }
    statement = insert(Recording).values([rows[key] for key in sorted(rows)])
    kept = session.execute(
        statement.on_conflict_do_update(
            index_elements=["workspace_id", "object_key", "object_version"],
            set_={"size_bytes": statement.excluded.size_bytes},
        ).returning(Recording.id, Recording.object_key, Recording.object_version)
    )
    return {(row.object_key, row.object_version): row.id for row in kept}


def _insert(
    session: Session,
    workspace: Workspace,
    submission_id: str,
    orders: Sequence[_Order],
    recordings: dict[tuple[str, str], str],
) -> tuple[str, ...]:
    speeds = Speeds(session)
    jobs: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    items: list[dict[str, Any]] = []
    for position, order in enumerate(orders):
        job_id = new_id("job")
        stage = order.capability.stages[0]
        given = order.new.input
        jobs.append(
            {
                "id": job_id,
                "workspace_id": workspace.id,
                "submission_id": submission_id,
                "position": position,
                "recording_id": recordings[given.key, given.version],
                "filename": given.filename,
                "recipe": order.new.recipe,
                "capability": order.capability.name,
                "parameters": order.parameters.model_dump(mode="json"),
                "tier": workspace.tier,
                "stage": stage,
                "event_seq": 1,
            }
        )
        events.append({"job_id": job_id, "seq": 1, "state": "queued", "stage": stage, "progress": 0.0})
        seconds = estimated_seconds(
            filename=given.filename,
            size_bytes=given.size_bytes,
            characters=given.characters,
            kind=order.capability.input_kind,
        )
        items.append(new_item(job_id, workspace.id, stage, order.choice, workspace.tier, seconds, speeds))
    session.execute(insert(Job), jobs)
    session.execute(insert(JobEvent), events)
    session.execute(insert(WorkItem), items)
    return tuple(job["id"] for job in jobs)


def new_item(
    job_id: str, workspace_id: str, stage: str, choice: EngineChoice, tier: int, seconds: float, speeds: Speeds
) -> dict[str, Any]:
    """The row of a work item that waits in its lane. `seconds`: of sound, in or out."""
    expected_seconds = speeds.expected_seconds(
        seconds, engine=choice.engine, model=choice.model, resource_class=choice.resource_class
    )
    length = length_class(expected_seconds)
    return {
        "id": new_id("item"),
        "job_id": job_id,
        "workspace_id": workspace_id,
        "stage": stage,
        "engine": choice.engine,
        "model": choice.model,
        "resource_class": choice.resource_class,
        "tier": tier,
        "length_class": length,
        "lane": lane_of(
            stage=stage,
            engine=choice.engine,
            model=choice.model,
            resource_class=choice.resource_class,
            tier=tier,
            length=length,
        ),
        "audio_seconds": seconds,
        "expected_seconds": expected_seconds,
    }
