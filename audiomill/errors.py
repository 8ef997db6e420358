"""The exceptions that audiomill raises on purpose. Nothing else belongs here.

Each has a stable `code` (for programs) and a sentence (for people): what was wrong with what, and what to do.

AudiomillError
├── CustomerError              something the customer can mend; the sentence is shown to them
│   ├── BadInput               a recording or text that cannot be worked on
│   ├── LimitExceeded          larger or longer than the limits of this installation
│   ├── BadRequest             an order that makes no sense: unknown recipe, bad parameter
│   ├── NotFound               no such thing in this workspace
│   ├── Conflict               the thing is in a state that forbids it; an idempotency key used for something else
│   ├── QuotaExceeded          more than this installation gives a workspace: space, uploads, streams
│   ├── Unauthorized           no key, or a key that is unknown or revoked
│   ├── EngineUnavailable      nothing that can run here serves the order; names what is missing
│   └── QualityRejected        the result did not pass the quality gate
└── OperatorError              something the operator must mend; the customer sees only that we failed
    ├── StorageUnavailable     the object store does not answer, or this machine's disk is full
    ├── DatabaseUnavailable    the database does not answer
    ├── EngineFailed           an engine broke while working on one item
    │   └── EngineProcessDied  a process of its own crashed meanwhile
    │       └── EngineProcessKilled  it was killed from outside, or nobody knows of what it ended
    ├── LeaseRefused           the batch is worked on by another live run, is unknown, or was retired
    ├── LeaseLost              this run no longer owns its batch: stop at once, write nothing
    └── ConfigurationError     settings that cannot work
"""


class AudiomillError(Exception):
    """Base of all. `code` is stable, lower_snake_case; `str(error)` is the sentence."""

    default_code = "internal_error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code

    @property
    def message(self) -> str:
        """The sentence."""
        return str(self.args[0])

    def __reduce__(self) -> tuple[object, ...]:
        # Errors cross process borders (engine workers): keep the code.
        return (_rebuild, (type(self), self.args[0], self.code))


def _rebuild(kind: type["AudiomillError"], message: str, code: str) -> "AudiomillError":
    return kind(message, code=code)


class CustomerError(AudiomillError):
    """Something the customer can mend."""

    default_code = "customer_error"


class BadInput(CustomerError):
    """A recording or text that cannot be worked on."""

    default_code = "bad_input"


class LimitExceeded(CustomerError):
    """Larger or longer than the limits of this installation."""

    default_code = "limit_exceeded"


class BadRequest(CustomerError):
    """An order that makes no sense."""

    default_code = "bad_request"


class NotFound(CustomerError):
    """No such thing in this workspace."""

    default_code = "not_found"


class Conflict(CustomerError):
    """The state of the thing forbids it."""

    default_code = "conflict"


class QuotaExceeded(CustomerError):
    """More than this installation gives a workspace."""

    default_code = "quota_exceeded"


class Unauthorized(CustomerError):
    """No key, or a key that is unknown or revoked."""

    default_code = "unauthorized"


class EngineUnavailable(CustomerError):
    """Nothing that can run here serves the order; the sentence names what is missing."""

    default_code = "engine_unavailable"


class QualityRejected(CustomerError):
    """The result did not pass the quality gate."""

    default_code = "quality_rejected"


class OperatorError(AudiomillError):
    """Something the operator must mend."""

    default_code = "operator_error"


class StorageUnavailable(OperatorError):
    """The object store does not answer; `scratch_unavailable`: this machine cannot write what it works on."""

    default_code = "storage_unavailable"


class DatabaseUnavailable(OperatorError):
    """The database does not answer."""

    default_code = "database_unavailable"


class EngineFailed(OperatorError):
    """An engine broke while working on one item. Its words go to logs: they hold nothing of the item's content."""

    default_code = "engine_failed"


class EngineProcessDied(EngineFailed):
    """A process of the engine's own crashed, by a signal of its own making, while it worked on one item."""

    default_code = "engine_process_died"


class EngineProcessKilled(EngineProcessDied):
    """It was killed (by an operator, by the kernel short of memory), or nothing tells of what it ended: no proof."""

    default_code = "engine_process_killed"


class LeaseRefused(OperatorError):
    """The batch is worked on by another live run, is unknown, or was retired."""

    default_code = "lease_refused"


class LeaseLost(OperatorError):
    """This run no longer owns its batch."""

    default_code = "lease_lost"


class ConfigurationError(OperatorError):
    """Settings that cannot work."""

    default_code = "configuration_error"
