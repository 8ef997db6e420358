"""The API's process: `uvicorn api.main:app`. Logging is set up here, as it belongs to the process."""

import logging

import structlog

from api.app import create_app
from audiomill.settings import get_settings


def _set_up_logging(level: str) -> None:
    """One JSON object a line on standard output, with the request's id on every line that a request causes."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.dict_tracebacks,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        cache_logger_on_first_use=True,
    )
    # uvicorn's own lines hold the whole path, and so the tokens of signed URLs.
    logging.getLogger("uvicorn.access").disabled = True


_set_up_logging(get_settings().log_level)
app = create_app()
