"""What Dagster may hear of an error: its event log is kept for long and read by operators, and holds no content.

Every op, asset and sensor of ours is wrapped in `discreet`. What may be said is decided in audiomill/faults.py.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import structlog
from dagster import DagsterError, Failure

from audiomill.errors import OperatorError
from audiomill.faults import told, told_with_causes

Parameters = ParamSpec("Parameters")
Value = TypeVar("Value")
log = structlog.get_logger(__name__)


class UnforeseenError(Exception):
    """Stands in Dagster for an error that nobody foresaw: its type, the types of its causes, and its traceback."""


def discreet(function: Callable[Parameters, Value]) -> Callable[Parameters, Value]:
    """Let nothing out of an op, an asset or a sensor but what Dagster may hear. The whole story goes to the log."""

    @wraps(function)
    def guarded(*arguments: Parameters.args, **keywords: Parameters.kwargs) -> Value:
        try:
            return function(*arguments, **keywords)
        except (DagsterError, Failure):
            raise
        except OperatorError as error:
            log.warning("step broke", exc_info=error)
            # As it is, for its class means something; but Dagster would print the causes with their own texts.
            causes = told_with_causes(error).removeprefix(told(error))
            error.__cause__, error.__suppress_context__ = None, True
            if causes:
                error.add_note(causes.removeprefix("; "))
            raise
        except Exception as error:
            log.exception("step broke")
            raise UnforeseenError(told_with_causes(error)).with_traceback(error.__traceback__) from None

    return guarded
