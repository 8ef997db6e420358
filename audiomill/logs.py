"""How every process of audiomill logs: one JSON object a line. Which lines there are is the callers' part."""

import logging
from typing import TextIO

import structlog

from audiomill.faults import rendered

PROCESSORS: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.ExceptionRenderer(rendered),
    structlog.processors.JSONRenderer(),
]
"""structlog's own rendering of errors prints the local variables of every frame and the texts of errors: keys, signed
URLs, and what customers sent."""


def log_as_json(level: str, file: TextIO | None = None) -> None:
    """For the whole process; to standard output, as it then is, unless a file is given. `level` as in the settings."""
    structlog.configure(
        processors=PROCESSORS,
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file),
    )
