"""What a job's answer tells whoever ordered it, in a line of a table: its engines, and what to know of its result."""

from typing import Any

from audiomill.catalogue.stages import BUILT_IN


def engines_of(job: dict[str, Any]) -> list[str]:
    """Engines with their models, each once, in the order of the steps; steps that need none are left out."""
    steps = job.get("steps") or [job]
    named = [" ".join(filter(None, (step.get("engine"), step.get("model")))) for step in steps]
    return [name for name in dict.fromkeys(named) if name and name != BUILT_IN]


def with_warnings(result: str, job: dict[str, Any]) -> str:
    """What there is, and a sentence for each thing that is to be known before it is used."""
    warnings = [str(warning["sentence"]) for warning in job.get("warnings", ())]
    return " ".join([f"{result}."] * bool(result) + warnings) if warnings else result
