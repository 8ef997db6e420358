"""How the API's process logs: one JSON object a line, with the request's id on every line that a request causes."""

import logging
from typing import TextIO

from audiomill.logs import log_as_json


def set_up_logging(level: str, file: TextIO | None = None) -> None:
    """For the whole process; to standard output unless a file is given. `level` as in the settings."""
    log_as_json(level, file)
    # uvicorn's own lines hold the whole path, and so the tokens of signed URLs.
    logging.getLogger("uvicorn.access").disabled = True
