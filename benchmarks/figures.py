"""The figures of the pipeline benchmark: what is reported, and the arithmetic. Nothing is measured here."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class BatchFigures:
    """One batch on the way, in seconds after the first file was visible."""

    items: int
    formed_seconds: float
    begun_seconds: float
    finished_seconds: float


@dataclass(frozen=True)
class EngineFigures:
    """One engine at work on a dropped corpus.

    seconds: first file visible in the inbox to last job complete, by the database's clock. engine_seconds: the bare
    engine over the same cores. cpu_seconds_all_processes: of the platform, until its last run ended.
    """

    files: int
    seconds: float
    engine_seconds: float
    overhead_ms_per_file: float
    cpu_seconds_all_processes: float
    cpu_seconds_by_program: Mapping[str, float]
    run_count: int
    failed: int
    taken_seconds: float
    batches: Sequence[BatchFigures]


@dataclass(frozen=True)
class IdleFigures:
    """The platform at rest. Percent of the whole machine: all cores busy are 100."""

    window_seconds: float
    cpu_percent: float
    cpu_percent_by_program: Mapping[str, float]


@dataclass(frozen=True)
class LatencyFigures:
    """One file on an idle platform, POST to complete. `steps`: median seconds of each; `all_steps`: of each order."""

    median: float
    worst: float
    all: Sequence[float]
    steps: Mapping[str, float]
    all_steps: Sequence[Mapping[str, float]]


def overhead_ms_per_file(seconds: float, engine_seconds: float, files: int) -> float:
    """What the platform takes beyond the bare engine, per file. Below zero when it overlaps what the loop does not."""
    return (seconds - engine_seconds) / files * 1000


def percent_of_machine(cpu_seconds: float, window_seconds: float, cores: int) -> float:
    """Share of all cores, in percent."""
    return 100 * cpu_seconds / (window_seconds * cores)


def steps_between(moments: Sequence[tuple[str, float]]) -> dict[str, float]:
    """From named moments (seconds since the epoch) to the seconds up to each of them; the first is the start.

    Negative ones are kept: clocks or events out of order should be seen.
    """
    return {name: round(moment - before, 3) for (_, before), (name, moment) in pairwise(moments)}


def latency_figures(orders: Sequence[Mapping[str, float]]) -> LatencyFigures:
    """Of the steps of each order. Their sum is its latency."""
    totals = [round(sum(steps.values()), 3) for steps in orders]
    return LatencyFigures(
        median=round(statistics.median(totals), 3),
        worst=max(totals),
        all=totals,
        steps={name: round(statistics.median(steps[name] for steps in orders), 3) for name in orders[0]},
        all_steps=list(orders),
    )
