"""How fast engines are here: measured by the batches that were worked off, read when an order is made.

Each workspace has a figure of its own, and the engine's is their median: who orders silence, or what an engine is slow
at, by the thousand sizes nobody else's batches.

For sizing batches and choosing lanes only: nothing that a customer sees or pays depends on it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

UNMEASURED_FACTOR = 1 / 3
"""Engine seconds for a second of sound, where nothing was measured yet: a slow engine on a CPU."""

_KEPT = 0.9
"""What was measured before counts so much less with each batch: the last ten or so tell."""

_VOICES = 50
"""Workspaces measured last, of which the median is taken: one voice each, however much one of them orders."""

# Of what was there already (recalled) nothing is learned, nor of an edit, which finds most of what it makes there. Rows
# are taken in one order, for batches of one engine end side by side. Of an even number the lower of both in the middle:
# an engine taken for slow makes crumbs.
_MEASURE = text(
    """
    WITH told AS (
        INSERT INTO workspace_speeds AS known
            (engine, model, resource_class, workspace_id, audio_seconds, engine_seconds, measured_at)
        SELECT batches.engine, coalesce(batches.model, ''), batches.resource_class, items.workspace_id,
            sum(items.audio_seconds), sum(items.processing_seconds), clock_timestamp()
        FROM batches JOIN work_items AS items ON items.batch_id = batches.id
        WHERE batches.id = :batch AND items.state = 'complete' AND items.processing_seconds > 0
            AND items.revision = 1
        GROUP BY batches.id, items.workspace_id HAVING sum(items.audio_seconds) > 0
        ORDER BY items.workspace_id
        ON CONFLICT (engine, model, resource_class, workspace_id) DO UPDATE SET
            audio_seconds = known.audio_seconds * :kept + excluded.audio_seconds,
            engine_seconds = known.engine_seconds * :kept + excluded.engine_seconds,
            measured_at = excluded.measured_at
        RETURNING engine, model, resource_class, workspace_id, engine_seconds / audio_seconds AS factor
    ), of_the_engine AS (
        SELECT DISTINCT engine, model, resource_class FROM told
    ), others AS (
        SELECT engine, model, resource_class, engine_seconds / audio_seconds AS factor
        FROM workspace_speeds JOIN of_the_engine USING (engine, model, resource_class)
        WHERE workspace_id NOT IN (SELECT workspace_id FROM told)
        ORDER BY measured_at DESC LIMIT :voices
    )
    INSERT INTO engine_speeds (engine, model, resource_class, factor)
    SELECT engine, model, resource_class, percentile_disc(0.5) WITHIN GROUP (ORDER BY factor)
    FROM (SELECT engine, model, resource_class, factor FROM told UNION ALL SELECT * FROM others) AS voices
    GROUP BY engine, model, resource_class
    ON CONFLICT (engine, model, resource_class) DO UPDATE SET factor = excluded.factor
    """
)


SPEEDS = """
    SELECT json_agg(json_build_array(engine, model, resource_class, factor)) FROM engine_speeds
"""
"""For `Speeds`: part of the statement by which an order is decided (order_statements.py)."""


def measure(session: Session, batch_id: str) -> None:
    """Learn from a batch that was worked off. The last write of its transaction: batches of one engine share a row."""
    session.execute(_MEASURE, {"batch": batch_id, "kept": _KEPT, "voices": _VOICES})


class Speeds:
    """The real-time factors of engines, as measured until now: rows of engine, model, resource class and factor."""

    def __init__(self, measured: Iterable[Sequence[Any]]) -> None:
        self._factors: dict[tuple[str, str, str], float] = {
            (engine, model, resource): factor for engine, model, resource, factor in measured
        }

    @classmethod
    def now(cls, session: Session) -> "Speeds":
        """Of all engines."""
        return cls(session.scalar(text(SPEEDS)) or ())

    def expected_seconds(self, audio_seconds: float, *, engine: str, model: str | None, resource_class: str) -> float:
        """Of the engine's time, for so much sound, in or out."""
        return audio_seconds * self._factors.get((engine, model or "", resource_class), UNMEASURED_FACTOR)
