"""The states of jobs, work items and batches, and the moves between them that are allowed. Data and checks only.

`transition` moves jobs by this table. Items and batches are moved by SQL of their own, and a state machine in the tests
holds all of it to the table (tests/unit/test_jobs_state_machine.py).

job          queued → running → complete | failed | cancelled, failed or cancelled also before it ran; running → queued
             when nothing of it is at work or done any more, for its items went back to their lanes; failed → queued
             when an operator runs the batch again in which it failed
work item    waiting → queued → batched → running → complete | failed | cancelled: waiting until the steps that it reads
             have ended; failed also while batched, cancelled at any time before its end, by its customer or because
             another step failed its job; batched, running → queued (back to its lane); failed → batched (an operator
             runs the batch again), and cancelled → queued | waiting with it
batch        formed → running → closed (worked off) | cancelled (given up: what was open went back to its lane), either
             also before it ran; running → running (another run takes it over); closed → running (run again)
"""

from typing import Final, Literal

JobState = Literal["queued", "running", "complete", "failed", "cancelled"]
ItemState = Literal["waiting", "queued", "batched", "running", "complete", "failed", "cancelled"]
BatchState = Literal["formed", "running", "closed", "cancelled"]

JOB_MOVES: Final[dict[JobState, frozenset[JobState]]] = {
    "queued": frozenset({"running", "failed", "cancelled"}),
    "running": frozenset({"running", "queued", "complete", "failed", "cancelled"}),
    "failed": frozenset({"queued"}),
    "complete": frozenset(),
    "cancelled": frozenset(),
}
ITEM_MOVES: Final[dict[ItemState, frozenset[ItemState]]] = {
    "waiting": frozenset({"queued", "cancelled"}),
    "queued": frozenset({"batched", "cancelled"}),
    "batched": frozenset({"running", "queued", "failed", "cancelled"}),
    "running": frozenset({"complete", "failed", "queued", "cancelled"}),
    "failed": frozenset({"batched"}),
    "complete": frozenset(),
    "cancelled": frozenset({"queued", "waiting"}),
}
BATCH_MOVES: Final[dict[BatchState, frozenset[BatchState]]] = {
    "formed": frozenset({"running", "closed", "cancelled"}),
    "running": frozenset({"closed", "cancelled", "running"}),
    "closed": frozenset({"running"}),
    "cancelled": frozenset(),
}

FINISHED: Final[frozenset[JobState]] = frozenset({"complete", "failed", "cancelled"})
OPEN_ITEMS: Final[tuple[ItemState, ...]] = ("batched", "running")
"""Of a batch: what its run has to work on."""

UNENDED_ITEMS: Final[tuple[ItemState, ...]] = ("waiting", "queued", "batched", "running")
"""Of a job: what keeps it from its end."""


def sources(to: JobState) -> list[str]:
    """The job states from which `to` may be reached."""
    return sorted(state for state, targets in JOB_MOVES.items() if to in targets)
