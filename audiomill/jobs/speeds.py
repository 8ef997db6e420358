"""How fast engines are here: measured by the batches that were worked off, read when an order is made.

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

# Of what was there already (recalled) nothing is learned.
_MEASURE = text(
    """
    INSERT INTO engine_speeds AS known (engine, model, resource_class, audio_seconds, engine_seconds)
    SELECT batches.engine, coalesce(batches.model, ''), batches.resource_class,
        sum(items.audio_seconds), sum(items.processing_seconds)
    FROM batches JOIN work_items AS items ON items.batch_id = batches.id
    WHERE batches.id = :batch AND items.state = 'complete' AND items.processing_seconds > 0
    GROUP BY batches.id HAVING sum(items.audio_seconds) > 0
    ON CONFLICT (engine, model, resource_class) DO UPDATE SET
        audio_seconds = known.audio_seconds * :kept + excluded.audio_seconds,
        engine_seconds = known.engine_seconds * :kept + excluded.engine_seconds
    """
)


SPEEDS = """
    SELECT json_agg(json_build_array(engine, model, resource_class, engine_seconds / audio_seconds)) FROM engine_speeds
"""
"""For `Speeds`: part of the statement by which an order is decided (order_statements.py)."""


def measure(session: Session, batch_id: str) -> None:
    """Learn from a batch that was worked off. The last write of its transaction: batches of one engine share a row."""
    session.execute(_MEASURE, {"batch": batch_id, "kept": _KEPT})


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
