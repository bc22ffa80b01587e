"""What the client raises: what was asked for is not to be had in the present state, or the end was no success."""

from __future__ import annotations

from collections.abc import Mapping

from django_durable.exceptions.base import DurableError

_MOST_TOLD = 5


class ExecutionNotFoundError(DurableError):
    """No execution has that id."""

    def __init__(self, execution_id: object) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id

    def __str__(self) -> str:
        return f"No execution {self.execution_id}. Check the id and the database alias."


class ExecutionConflict(DurableError):
    """The request contradicts what is already there; nothing was changed."""


class ExecutionClosedError(ExecutionConflict):
    """The execution has ended; it takes no more signals and no more orders.

    key: the one by which it was found, or None. successor: the id of what it was continued as, or None.
    """

    successor: object = None

    def __init__(self, execution_id: object, status: str, key: str | None = None) -> None:
        super().__init__(execution_id, status, key)
        self.execution_id, self.status, self.key = execution_id, status, key

    def __str__(self) -> str:
        told = f"Execution {self.execution_id} is {self.status}; it takes no more signals or orders."
        if self.key is None:
            return told
        return f"{told} It keeps the key {self.key!r}: start with another one, such as one with a date or number in it."


class BatchRefusedError(DurableError):
    """Some starts of ``start_many`` cannot be made, so none was; ``errors`` has the reason of each by its position."""

    def __init__(self, errors: Mapping[int, Exception]) -> None:
        super().__init__(errors)
        self.errors = dict(errors)

    def __str__(self) -> str:
        told = "; ".join(f"{position}: {error}" for position, error in list(self.errors.items())[:_MOST_TOLD])
        more = f"; and {len(self.errors) - _MOST_TOLD} more" if len(self.errors) > _MOST_TOLD else ""
        return f"{len(self.errors)} starts were refused and none was made, at position {told}{more}"


class DeliveryConflict(DurableError):
    """A delivery that cannot be retried: it is delivered, being tried at this moment, or not there."""


class WebhookNotFoundError(DurableError):
    """No webhook endpoint has that id."""

    def __init__(self, endpoint_id: object) -> None:
        super().__init__(endpoint_id)
        self.endpoint_id = endpoint_id

    def __str__(self) -> str:
        return f"No webhook endpoint {self.endpoint_id}. Check the id and the database alias."


class ScheduleNotFoundError(DurableError):
    """No schedule has that id."""

    def __init__(self, schedule_id: object) -> None:
        super().__init__(schedule_id)
        self.schedule_id = schedule_id

    def __str__(self) -> str:
        return f"No schedule {str(self.schedule_id)!r}. Check the id and the database alias."


class ScheduleConflict(ExecutionConflict):
    """The schedule is not in a state for what was asked, or code says otherwise; nothing was changed."""


class WebhookError(DurableError):
    """An endpoint did not take a message, or may not be asked; recorded with the delivery, never raised to callers.

    status: of the answer, or None.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message, status)
        self.message, self.status = message, status

    def __str__(self) -> str:
        return self.message


class TokenError(DurableError):
    """A signal token was refused; nothing was written. Tell strangers no more than that."""


class InvalidTokenError(TokenError):
    """Not a token of ours, or not one for this signal, or its execution has been deleted: which one is not told."""

    def __str__(self) -> str:
        return "No such token for this signal. Check that the whole token was given, and to the right place."


class ExpiredTokenError(TokenError):
    """The token's time is up and it was not used."""

    def __init__(self, execution_id: object) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id

    def __str__(self) -> str:
        return f"This token for execution {self.execution_id} has expired; the workflow can issue another one."


class UsedTokenError(TokenError):
    """The token was used before, and that signal is kept. After a lost reply this is the good news."""

    def __init__(self, execution_id: object) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id

    def __str__(self) -> str:
        return f"This token for execution {self.execution_id} was used before; each is good for one signal."


class UpdateFailed(DurableError):
    """The handler of ``update`` raised: ``type_name``, ``message``, ``traceback_text``. The state is as it was."""

    def __init__(self, update: str, type_name: str, message: str, traceback_text: str = "") -> None:
        super().__init__(update, type_name, message, traceback_text)
        self.update, self.type_name, self.message, self.traceback_text = update, type_name, message, traceback_text

    def __str__(self) -> str:
        return f"Update {self.update!r} failed with {self.type_name}: {self.message}"


class TransactionOpenError(DurableError):
    """Waiting inside an open transaction can never succeed: workers see its rows after a commit that comes later."""


class ResultTimeoutError(DurableError, TimeoutError):
    """There was no result or no reply yet when ``timeout=`` ran out; the execution goes on undisturbed."""


class ExecutionFailedError(DurableError):
    """The execution ended without a result.

    type_name, message, traceback_text: of the error that ended it, as recorded.
    """

    what = "failed"

    def __init__(self, execution_id: object, type_name: str = "", message: str = "", traceback_text: str = "") -> None:
        super().__init__(execution_id, type_name, message, traceback_text)
        self.execution_id = execution_id
        self.type_name, self.message, self.traceback_text = type_name, message, traceback_text

    def __str__(self) -> str:
        cause = ": ".join(part for part in (self.type_name, self.message) if part)
        return f"Execution {self.execution_id} {self.what}" + (f": {cause}" if cause else "")


class ForcedFailure(DurableError):
    """What a person gave as the error of an execution with ``client.force_fail``."""


class ExecutionCancelledError(ExecutionFailedError):
    """The execution was cancelled."""

    what = "was cancelled"


class ExecutionTerminatedError(ExecutionFailedError):
    """The execution was terminated."""

    what = "was terminated"


class ExecutionTimedOutError(ExecutionFailedError):
    """The execution passed its deadline."""

    what = "passed its deadline"
