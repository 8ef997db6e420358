"""How the API's process logs: one JSON object a line, with the request's id on every line that a request causes."""

import logging
from typing import TextIO

import structlog

from audiomill.logs import PROCESSORS, log_as_json

_LIBRARIES = ("uvicorn", "uvicorn.error", "asyncio", "sqlalchemy", "botocore")
"""Whose own lines would show errors with all that their texts hold."""


def set_up_logging(level: str, file: TextIO | None = None) -> None:
    """For the whole process; to standard output unless a file is given. `level` as in the settings."""
    log_as_json(level, file)
    handler = logging.StreamHandler(file)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *PROCESSORS]
        )
    )
    for name in _LIBRARIES:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
    # uvicorn's lines about requests hold the whole path, and so the tokens of signed URLs.
    logging.getLogger("uvicorn.access").disabled = True
