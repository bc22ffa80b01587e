"""How an execution ends: what its function returned or raised, as the columns that are kept, and back."""

from __future__ import annotations

import traceback
from typing import Any

from django_durable.engine import payloads
from django_durable.engine.outcomes import Ended, Raised, Returned
from django_durable.exceptions import (
    Cancelled,
    CodecError,
    DeadlineExceeded,
    ExecutionCancelledError,
    ExecutionFailedError,
    ExecutionTerminatedError,
    ExecutionTimedOutError,
    OperationError,
)
from django_durable.models import Execution, Status, StepStatus

_ENDED = {
    Status.CANCELLED: ExecutionCancelledError,
    Status.TERMINATED: ExecutionTerminatedError,
    Status.TIMED_OUT: ExecutionTimedOutError,
}


def of(outcome: Returned | Raised, interrupted: StepStatus | None) -> Ended:
    """interrupted: by a cancellation or the deadline, as far as that was delivered to the function."""
    if isinstance(outcome, Returned):
        try:
            result = payloads.dump(outcome.value)
        except (CodecError, OperationError) as refused:  # the latter: rows of a map's results were deleted
            return _failure(refused)
        return Ended(status=_interruption(interrupted) or Status.COMPLETED, result=result)
    error = outcome.error
    if not isinstance(error, Cancelled):  # also while cleaning up after an interruption
        return _failure(error)
    raised = Status.TIMED_OUT if isinstance(error, DeadlineExceeded) else Status.CANCELLED
    return Ended(status=_interruption(interrupted) or raised)  # user code may raise it without having been asked to


def _failure(error: BaseException) -> Ended:
    return Ended(status=Status.FAILED, error=error_text(error), error_type=type_name(error))


def _interruption(interrupted: StepStatus | None) -> Status | None:
    return Status(interrupted.value) if interrupted is not None else None


def result_of(execution: Execution) -> Any:
    """The result of one that has ended. Raises ExecutionFailedError or one of its forms."""
    if execution.status == Status.COMPLETED:
        return payloads.load(execution.result or "")
    failed = _ENDED.get(Status(execution.status), ExecutionFailedError)
    if execution.error is None:
        raise failed(execution.id, message=execution.cancel_reason)
    error = payloads.load_error(execution.error)
    raise failed(execution.id, execution.error_type or error.type_name, error.message, error.traceback_text or "")


def error_text(error: BaseException) -> str:
    return payloads.dump_error(error, traceback_text="".join(traceback.format_exception(error)))


def type_name(error: BaseException) -> str:
    name = getattr(error, "type_name", "") or f"{type(error).__module__}.{type(error).__qualname__}"
    return str(name)[:200]
