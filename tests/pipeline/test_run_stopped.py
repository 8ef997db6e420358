"""A run that is stopped by a signal, as a deploy, a supervisor or Dagster does it: here, in its main thread."""

import os
import signal
import threading
import time
from contextlib import suppress

from dagster._core.errors import DagsterExecutionInterruptedError
from sqlalchemy import text

from audiomill.database.connection import Database
from tests.pipeline.conftest import Materialise, Order, states


def test_its_items_are_given_back_at_once_and_not_counted(
    database: Database, order: Order, materialise: Materialise
) -> None:
    batch_id, jobs = order.batch(*["wait:0.3"] * 6)

    def stop() -> None:
        while states(database, jobs).count("complete") < 1:
            time.sleep(0.05)
        # Dagster maps SIGTERM to the same handler; SIGINT leaves a test that went wrong alive.
        os.kill(os.getpid(), signal.SIGINT)

    stopper = threading.Thread(target=stop, daemon=True)
    stopper.start()
    with suppress(DagsterExecutionInterruptedError, KeyboardInterrupt):
        materialise(batch_id)
    stopper.join()
    now = states(database, jobs)
    assert set(now) == {"complete", "queued"}
    with database.session() as session:
        assert session.execute(text("SELECT state, note FROM batches")).one().state == "cancelled"
        assert session.scalars(text("SELECT DISTINCT interruptions + crashes FROM work_items")).all() == [0]
    assert not list((order.settings.data_dir / "run" / "calls").iterdir())
