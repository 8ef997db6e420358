"""How every process of audiomill logs: one JSON object a line. Which lines there are is the callers' part."""

import logging
from typing import TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer


def log_as_json(level: str, file: TextIO | None = None) -> None:
    """For the whole process; to standard output, as it then is, unless a file is given. `level` as in the settings.

    structlog's own default prints the local variables of every frame: keys, signed URLs and customers' texts.
    """
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file),
    )
