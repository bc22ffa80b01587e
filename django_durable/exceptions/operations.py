"""What workflows catch, and what step bodies raise."""

from __future__ import annotations

from django_durable.exceptions.base import DurableError
from django_durable.exceptions.configuration import InvalidOptionError


class OperationError(DurableError):
    """A durable operation failed; the workflow may catch this and decide."""


class StepFailed(OperationError):
    """A step gave up: its attempts are used, or its error is not one to retry.

    attempts: how many were made. traceback_text: of the last one.
    """

    def __init__(self, step_id: str, type_name: str, message: str, traceback_text: str = "", attempts: int = 1) -> None:
        super().__init__(step_id, type_name, message, traceback_text, attempts)
        self.step_id, self.attempts = step_id, attempts
        self.type_name, self.message, self.traceback_text = type_name, message, traceback_text

    def __str__(self) -> str:
        tries = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"Step {self.step_id!r} failed after {tries} with {self.type_name}: {self.message}"


class StepTimedOut(StepFailed):
    """A step's last attempt took longer than its ``timeout=``."""


class StepInterrupted(StepFailed):
    """An at-most-once step was started, and its worker died before the outcome was recorded.

    Nobody can know whether it took effect; it is not started again.
    """


class ChildFailed(OperationError):
    """A child ended without a result: it failed, was cancelled or terminated, or its row is gone.

    status: how it ended, "deleted" for one without a row. type_name, message, traceback_text: of its error.
    """

    def __init__(
        self, execution_id: object, status: str, type_name: str = "", message: str = "", traceback_text: str = ""
    ) -> None:
        super().__init__(execution_id, status, type_name, message, traceback_text)
        self.execution_id, self.status = execution_id, status
        self.type_name, self.message, self.traceback_text = type_name, message, traceback_text

    def __str__(self) -> str:
        cause = ": ".join(part for part in (self.type_name, self.message) if part)
        return f"Child {self.execution_id} ended as {self.status}" + (f": {cause}" if cause else "")


class ChildNotEndedError(OperationError):
    """A child was still open when ``wait_for_execution(timeout=)`` ran out; it goes on undisturbed."""

    def __init__(self, execution_id: object) -> None:
        super().__init__(execution_id)
        self.execution_id = execution_id

    def __str__(self) -> str:
        return f"Child {self.execution_id} has not ended in time; it goes on."


class LoopLimitError(OperationError):
    """The condition of a ``ctx.loop`` still holds after ``max_iterations=``."""


class NonRetryable(DurableError):
    """Raise in a step body: fail now, whatever the retry policy says."""


class RetryAfter(DurableError):
    """Raise in a step body: this attempt failed, try again after ``seconds`` (> 0).

    The attempt counts; the policy's limits still hold.
    """

    def __init__(self, seconds: float, message: str = "") -> None:
        if not 0 < seconds < float("inf"):
            raise InvalidOptionError(f"RetryAfter(seconds={seconds!r}): give a positive number of seconds.")
        super().__init__(seconds, message)
        self.seconds = float(seconds)
        self.message = message

    def __str__(self) -> str:
        return self.message or f"retry after {self.seconds:g} s"
