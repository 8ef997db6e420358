"""What may be said of an error in a log, in a note, or in Dagster. The one place that renders errors for these.

An error's own text may hold what a customer sent: pydantic shows the value that it refused, PostgreSQL the row, boto
the object's key, a UnicodeDecodeError all of the text. So what is shown of an error is its type and where it was
raised, and of its text only what is known to hold no content: sentences of our own that speak to operators, and what
the operating system, the database and pydantic say of themselves.
"""

import traceback
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from pydantic import ValidationError

from audiomill.errors import CustomerError, EngineUnavailable, OperatorError

MOST_FRAMES = 60
MOST_FIELDS = 5

_PLAIN = (ImportError, AttributeError, NameError, MemoryError, RecursionError, NotImplementedError)
"""Errors whose text names code, never data."""

_DATA_EXCEPTION = "22"
"""SQLSTATE's class whose primary message quotes the value: `invalid input syntax for type integer: "…"`."""


def told(error: BaseException) -> str:
    """One line: the type, and as much of the text as holds no content."""
    kind = type(error).__name__
    said = _said(error)
    return f"{kind}: {said}" if said else kind


def told_with_causes(error: BaseException) -> str:
    """The same with what caused it, the newest first."""
    return "; because of ".join(told(each) for each in chain(error))


def chain(error: BaseException) -> Iterator[BaseException]:
    """The error, what caused it, what caused that."""
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        seen.add(id(following))
        yield following
        following = following.__cause__ or (None if following.__suppress_context__ else following.__context__)


def rendered(exc_info: tuple[type[BaseException], BaseException, TracebackType | None]) -> list[dict[str, Any]]:
    """For structlog: each error of the chain with its frames, neither local variables nor lines of data."""
    return [
        {
            "exc_type": type(each).__name__,
            "exc_value": _said(each),
            "frames": [
                {"filename": frame.f_code.co_filename, "lineno": line, "name": frame.f_code.co_name}
                for frame, line in list(traceback.walk_tb(each.__traceback__))[-MOST_FRAMES:]
            ],
            **(
                {"exceptions": [told(part) for part in each.exceptions]} if isinstance(each, BaseExceptionGroup) else {}
            ),
        }
        for each in chain(exc_info[1])
    ]


def _said(error: BaseException) -> str:
    if isinstance(error, OperatorError | EngineUnavailable):
        return error.message
    if isinstance(error, CustomerError):
        # Its sentence is for the customer, and names the customer's file.
        return error.code
    if isinstance(error, ValidationError):
        return _of_validation(error)
    if (said := _of_database(error)) is not None:
        return said
    if isinstance(error, OSError):
        # Not the file's name, which may be the customer's.
        return error.strerror or ""
    return str(error) if isinstance(error, _PLAIN) else ""


def _of_validation(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)
    fields = [
        # The name of a field that does not exist is the sender's own.
        each["type"] if each["type"] == "extra_forbidden" else f"{'.'.join(map(str, each['loc']))} {each['type']}"
        for each in found[:MOST_FIELDS]
    ]
    return f"{error.error_count()} errors in {error.title} ({', '.join(fields)})"


def _of_database(error: BaseException) -> str | None:
    """An error of psycopg, or of SQLAlchemy around one; None for any other. Without DETAIL, which holds the row."""
    cause = getattr(error, "orig", None) or error
    diagnosis = getattr(cause, "diag", None)
    if diagnosis is None:
        return None
    state = getattr(cause, "sqlstate", None)
    if state is None:
        # Of the connection, by libpq itself: it names the server.
        return str(cause).partition("\n")[0]
    message = None if state.startswith(_DATA_EXCEPTION) else diagnosis.message_primary
    return ", ".join(filter(None, (type(cause).__name__, state, message, diagnosis.constraint_name)))
