"""How the API's process logs: one JSON object a line, with the request's id on every line that a request causes."""

import logging
import sys
from typing import TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer


def set_up_logging(level: str, file: TextIO | None = None) -> None:
    """For the whole process; to standard output unless a file is given. `level` as in the settings."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            # No local variables: keys, signed URLs and customers' texts are among them.
            structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file or sys.stdout),
    )
    # uvicorn's own lines hold the whole path, and so the tokens of signed URLs.
    logging.getLogger("uvicorn.access").disabled = True
