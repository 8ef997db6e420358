"""Jobs that Dagster can load again by name: what a re-execution asks for."""

from dagster import JobDefinition


def transcripts_cpu() -> JobDefinition:
    from definitions import defs

    return defs.resolve_job_def("transcripts_cpu")
