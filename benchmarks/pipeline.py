"""The whole platform beside the bare engines: `python -m benchmarks.pipeline --files N --json PATH`.

From files dropped into the inbox to outputs in the store, through supervisor, PostgreSQL, code server, daemon and API;
and in the same run the bare engines in a loop over the same cores. Then the platform at rest, and one file at a time.
"""

import argparse
import json
import os
import platform as machine
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from audiomill import __version__
from audiomill.catalogue.engines import EngineEntry
from audiomill.engines.registry import entries
from audiomill.settings import EngineSettings, Settings
from benchmarks.bare import bare_seconds
from benchmarks.calibrated import SETTING
from benchmarks.corpus import write_corpus
from benchmarks.figures import EngineFigures, IdleFigures, percent_of_machine
from benchmarks.latency import latency
from benchmarks.processor_time import adopt_orphans, total, used
from benchmarks.running import RunningPlatform, running_platform
from benchmarks.throughput import through_the_platform

ENGINES = ("espeak-ng", "pocketsphinx", "calibrated")
RECIPES = {"speech_to_text": "transcribe", "text_to_speech": "synthesize"}
REST_SECONDS = 60.0
SETTLE_SECONDS = 20.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and write the figures. Returns 1 when a job failed."""
    options = _options(arguments)
    adopt_orphans()
    report: dict[str, Any] = {
        "command": f"python -m benchmarks.pipeline {' '.join(arguments or sys.argv[1:])}",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "cores": len(os.sched_getaffinity(0)),
            "load_before": os.getloadavg()[0],
            "python": machine.python_version(),
            "system": machine.platform(),
        },
        "version": __version__,
        "engines": {},
    }
    names = [name for name in options.engines.split(",") if name]
    with tempfile.TemporaryDirectory(prefix="audiomill-corpus-") as folder:
        corpus = Path(folder)
        bare = {name: _bare(name, corpus, options.files) for name in names}
        own = [name for name in names if name != "calibrated"]
        if own or not options.skip_idle or options.latency_samples:
            with running_platform([]) as platform:
                for name in own:
                    report["engines"][name] = _measured(platform, name, corpus, options.files, bare[name])
                if not options.skip_idle:
                    report["idle"] = asdict(_at_rest(platform))
                    report["idle_cpu_percent"] = report["idle"]["cpu_percent"]
                if options.latency_samples:
                    samples = write_corpus(
                        corpus / "latency", "speech_to_text", options.files + options.latency_samples
                    )
                    report["latency_seconds"] = asdict(latency(platform, samples[options.files :], random.Random(0)))
        if "calibrated" in names:
            # An engine of one's own comes first in `auto`'s order: it has a platform to itself.
            with running_platform([SETTING]) as platform:
                report["engines"]["calibrated"] = _measured(
                    platform, "calibrated", corpus, options.files, bare["calibrated"]
                )
    options.json.write_text(json.dumps(report, indent=1))
    print(json.dumps({key: value for key, value in report.items() if key != "engines"}, indent=1))
    for name, figures in report["engines"].items():
        print(name, json.dumps({key: value for key, value in figures.items() if key != "batches"}))
    return int(any(figures["failed"] for figures in report["engines"].values()))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__)
    parser.add_argument("--files", type=int, default=1000, help="inputs of each engine")
    parser.add_argument("--json", type=Path, required=True, help="where the figures go")
    parser.add_argument("--engines", default=",".join(ENGINES), help="which, separated by commas; '' for none")
    parser.add_argument("--skip-idle", action="store_true", help="do not measure the platform at rest")
    parser.add_argument("--latency-samples", type=int, default=20, help="single files, one after another")
    return parser.parse_args(arguments)


def _entry(name: str) -> EngineEntry:
    return next(entry for entry in entries(Settings(engines=EngineSettings(extra=[SETTING]))) if entry.name == name)


def _inputs(name: str, corpus: Path, files: int) -> list[Path]:
    folder = corpus / name
    if folder.exists():
        return sorted(folder.iterdir())
    return write_corpus(folder, _entry(name).task, files)


def _bare(name: str, corpus: Path, files: int) -> float:
    paths = _inputs(name, corpus, files)
    done = 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        if done % 100 < count:
            print(f"{name}, bare: {done} of {files}", flush=True)

    return bare_seconds(_entry(name), paths, Settings().cpu.cores, tell)


def _measured(platform: RunningPlatform, name: str, corpus: Path, files: int, bare: float) -> dict[str, Any]:
    entry = _entry(name)
    figures: EngineFigures = through_the_platform(
        platform, RECIPES[entry.task], name, _inputs(name, corpus, files), bare
    )
    print(name, asdict(figures) | {"batches": len(figures.batches)}, flush=True)
    return asdict(figures)


def _at_rest(platform: RunningPlatform) -> IdleFigures:
    platform.wait_for_runs()
    time.sleep(SETTLE_SECONDS)
    began = time.monotonic()
    spent = used(lambda: time.sleep(REST_SECONDS))
    window = time.monotonic() - began
    cores = len(os.sched_getaffinity(0))
    return IdleFigures(
        window_seconds=round(window, 1),
        cpu_percent=round(percent_of_machine(total(spent), window, cores), 2),
        cpu_percent_by_program={
            program: round(percent_of_machine(seconds, window, cores), 2) for program, seconds in spent.items()
        },
    )


if __name__ == "__main__":
    raise SystemExit(main())
