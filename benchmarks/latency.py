"""One file at a time on an idle platform: from POST to complete, and where the time goes."""

import random
import time
from collections.abc import Sequence
from pathlib import Path

from audiomill.client.api import ApiClient
from benchmarks.figures import LatencyFigures, latency_figures, steps_between
from benchmarks.running import RunningPlatform

_RUN = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { creationTime startTime } } }"
LONGEST_PAUSE_SECONDS = 5.0
"""Longer than the pause between two sensor ticks: an order may come at any moment of it."""


def latency(platform: RunningPlatform, samples: Sequence[Path], chance: random.Random) -> LatencyFigures:
    """Order the samples one after another, each when nothing is going on. Raises RuntimeError when one fails."""
    orders = []
    with ApiClient(platform.settings.api_url, platform.key) as client:
        for number, path in enumerate(samples):
            platform.wait_for_runs()
            time.sleep(1 + chance.uniform(0, LONGEST_PAUSE_SECONDS))
            orders.append(_one(platform, client, path))
            print(f"latency {number + 1}: {sum(orders[-1].values()):.1f} s {orders[-1]}", flush=True)
    return latency_figures(orders)


def _one(platform: RunningPlatform, client: ApiClient, path: Path) -> dict[str, float]:
    upload = client.upload(path)
    posted = time.time()
    (job_id,) = client.order("transcribe", {}, [{"upload_id": upload}], f"latency-{path.name}-{posted}")
    state = client.follow(job_id, lambda _: None)
    seen = time.time()
    if state != "complete":
        raise RuntimeError(f"{path.name} ended as {state}")
    ((created, formed, begun, finished, run_id),) = platform.rows(
        "SELECT extract(epoch FROM j.created_at), extract(epoch FROM b.created_at), extract(epoch FROM w.started_at), "
        "extract(epoch FROM j.finished_at), w.run_id "
        "FROM jobs j JOIN work_items w ON w.job_id = j.id JOIN batches b ON b.id = w.batch_id WHERE j.id = :job",
        job=job_id,
    )
    run = platform.graphql(_RUN, id=run_id)["runOrError"]
    return steps_between(
        [
            ("posted", posted),
            ("ordered", float(created)),
            ("batch formed", float(formed)),
            ("run created", float(run["creationTime"])),
            ("run process started", float(run["startTime"])),
            ("item begun", float(begun)),
            ("complete", float(finished)),
            ("seen by the client", seen),
        ]
    )
