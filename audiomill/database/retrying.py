"""Transactions that are ours to see through: sent again when the database breaks one off. Not for requests of clients,
who are told to come again.

A transaction may be sent twice when its answer was lost: what it does must be safe to do twice.
"""

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.exc import DataError, IntegrityError, NotSupportedError, ProgrammingError, SQLAlchemyError
from sqlalchemy.orm import Session
from tenacity import RetryCallState, Retrying, retry_if_exception_type, wait_exponential_jitter

from audiomill.database.connection import Database
from audiomill.errors import DatabaseUnavailable, OperatorError

Value = TypeVar("Value")

_REFUSED = (DataError, IntegrityError, NotSupportedError, ProgrammingError)
"""Statements that the database will refuse again. All else may pass: a deadlock, a lock that took too long, a full
disk, a server that stops or starts."""
_REFUSED_TIMES = 3


def persistently(database: Database, action: Callable[[Session], Value], *, seconds: float) -> Value:
    """The value of a transaction, tried for up to `seconds`.

    Raises what `action` raises on purpose at once; DatabaseUnavailable when the database breaks it off each time;
    OperatorError (`database_refused`) when it refuses the statement itself.
    """

    def enough(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome is not None else None
        if isinstance(error, _REFUSED) and state.attempt_number >= _REFUSED_TIMES:
            return True
        return (state.seconds_since_start or 0.0) >= seconds

    try:
        for attempt in Retrying(
            retry=retry_if_exception_type((DatabaseUnavailable, SQLAlchemyError)),
            wait=wait_exponential_jitter(multiplier=0.2, max=5),
            stop=enough,
            reraise=True,
        ):
            with attempt, database.session() as session:
                return action(session)
    except _REFUSED as error:
        raise OperatorError("The database refused what was to be written.", code="database_refused") from error
    except SQLAlchemyError as error:
        raise DatabaseUnavailable("The database broke off what was to be written.") from error
    raise AssertionError("tenacity returns or raises")
