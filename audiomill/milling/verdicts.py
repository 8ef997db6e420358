"""What an error says of the items at which it was met: their customers', ours about them alone, or the machine's."""

from collections.abc import Callable, Sequence

import structlog

from audiomill.errors import CustomerError, EngineFailed, EngineUnavailable, LeaseLost, OperatorError
from audiomill.jobs.batches.leases import ClaimedItem
from audiomill.jobs.batches.recovery import LONE_AFTER
from audiomill.milling.whose import Whose

OF_THE_MACHINE = (OperatorError, OSError, MemoryError)
"""The store, the database, the disk, or what one item makes of them (whose.py): no fault of its input."""

log = structlog.get_logger(__name__)


def is_lone(item: ClaimedItem) -> bool:
    """Whether it is worked on alone because runs end under it, nobody knows of what."""
    return item.interruptions >= LONE_AFTER


def a_fault_of_ours(error: Exception) -> CustomerError:
    """What an item fails with where our own code breaks on it."""
    failure = CustomerError(
        "We could not process this input, through a fault of ours. Write to us with the job id.",
        code="internal_error",
    )
    failure.__cause__ = error
    return failure


class Verdicts:
    """Judges errors. Each method raises what ends the run."""

    def __init__(self, whose: Callable[[Exception], Whose]) -> None:
        self._whose = whose
        self.suspects: tuple[str, ...] = ()
        """Items at which the run broke though the machine is well."""

    def of_a_step(self, error: BaseException, item: ClaimedItem) -> CustomerError | None:
        """Of what was raised while an item was fetched, cut, gathered or finished: the error that it fails with.

        None: it is to be handed back.
        """
        if isinstance(error, OF_THE_MACHINE) and self._is_theirs(error, [item]):
            return None
        if isinstance(error, OF_THE_MACHINE) or not isinstance(error, Exception):
            raise error
        if isinstance(error, CustomerError):
            return error
        log.error("job broke", job=item.job_id, exc_info=error)
        return a_fault_of_ours(error)

    def breaks_the_engine(self, error: BaseException, items: Sequence[ClaimedItem]) -> bool:
        """Whether what a call raised is the engine's, and one of these broke it. If not, they are to be handed back."""
        if isinstance(error, EngineUnavailable) or not isinstance(error, Exception):
            raise error
        if isinstance(error, OF_THE_MACHINE) and not isinstance(error, EngineFailed):
            if not self._is_theirs(error, items):
                raise error
            return False
        # Engines raise EngineFailed when they break; one that raises something else is broken all the same.
        log.warning(
            "engine broke",
            jobs=list(dict.fromkeys(item.job_id for item in items)),
            error=str(error) if isinstance(error, EngineFailed) else type(error).__name__,
        )
        return True

    def _is_theirs(self, error: Exception, items: Sequence[ClaimedItem]) -> bool:
        """Whether the rest can go on without these, at which a fault of ours was met.

        Where nobody knows whose it is, the run is given back and these are noted; what was noted often is alone now,
        and it is its own.
        """
        if isinstance(error, LeaseLost):
            return False
        found = self._whose(error)
        if found == "item" or (found == "unclear" and all(map(is_lone, items))):
            return True
        if found == "unclear":
            self.suspects = tuple(item.id for item in items)
        return False
