"""A batch worked off as a stream of units: while the engine works on some, of whatever items, the next are fetched and
cut and the last are gathered, checked, encoded and stored. Each item ends with its last unit. Knows no stage.

Here: a batch from its beginning to its end, however it ends. What flows, and how: flow.py.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from audiomill.audio import Envelope
from audiomill.engines.protocol import Engine
from audiomill.errors import EngineUnavailable, LeaseLost
from audiomill.faults import told
from audiomill.jobs.batches.leases import Claim, ClaimedItem
from audiomill.milling.flow import Flow
from audiomill.milling.stage import AnyStage
from audiomill.milling.verdicts import is_lone
from audiomill.milling.whose import Whose
from audiomill.milling.writer import BatchWriter


def work_off(
    claim: Claim,
    stage: AnyStage,
    engine: Engine,
    writer: BatchWriter,
    scratch: Path | None = None,
    *,
    whose: Callable[[Exception], Whose] = lambda _: "machine",
) -> list[tuple[str, Envelope]]:
    """Work off all items of a claim. Returns (job id, outline) of the first items, for the batch's picture.

    An item whose input is at fault, or of which a unit breaks the engine even when it is alone, fails by itself.
    `whose` says of a fault of ours, met at one item, whether it is about that item: then it is handed back, and the
    rest goes on. Raises LeaseLost, and whatever makes going on senseless (the store, the database, the disk or the
    model is away; the run is stopped): the batch was given back then.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="audiomill-", dir=scratch)))
        flow = Flow(stage, engine, writer, folder, whose)
        try:
            for items in _rounds(claim.items):
                flow.run(items)
        except BaseException as error:
            # Before anything else is waited for: others can go on with what is open, whatever hangs here.
            if not isinstance(error, LeaseLost):
                flow.settle()
                writer.give_back(why_given_back(error), suspects=flow.verdicts.suspects)
            # Ends calls under way, else a cancelled run would wait for an hour of audio.
            engine.close()
            raise
        finally:
            flow.shutdown()
        return flow.pictures.taken


def why_given_back(error: BaseException) -> str:
    """For operators: why a run gave its batch back."""
    if isinstance(error, EngineUnavailable):
        return f"The engine cannot run here: {told(error)}"
    return f"The run {'could not go on' if isinstance(error, Exception) else 'was stopped'}: {told(error)}"


def _rounds(items: Sequence[ClaimedItem]) -> Iterator[Sequence[ClaimedItem]]:
    """First what is not suspected of anything; then each suspect alone: nothing beside it is lost, or blamed."""
    suspects = [item for item in items if item.crashes or is_lone(item)]
    innocent = [item for item in items if item not in suspects]
    if innocent:
        yield innocent
    for item in suspects:
        yield [item]
