"""Every error of the library. Imports nothing of ours.

::

    DurableError
    ├── ConfigurationError                    also ImproperlyConfigured
    ├── InvalidOptionError                    also ValueError: a bad argument, refused at the call
    │   └── SignalRefusedError                the validator of a signal said no
    ├── UnknownWorkflowError                  no registered workflow has that name or version
    ├── SourceUnavailableError                describe() cannot read the text of a function
    ├── NotInWorkflowError                    called outside a step body
    ├── CodecError                            a value that cannot be stored
    │   └── PayloadTooLargeError
    ├── ExecutionNotFoundError                raised by the client
    ├── ExecutionConflict                     the execution is not in a state that allows it
    │   └── ExecutionClosedError
    ├── DeliveryConflict                      the delivery is not in a state that allows it
    ├── TokenError                            a signal token was refused
    │   ├── InvalidTokenError
    │   ├── ExpiredTokenError
    │   └── UsedTokenError
    ├── TransactionOpenError                  waiting inside a transaction that hides the answer
    ├── ResultTimeoutError                    also TimeoutError: still running when result() gave up
    ├── ExecutionFailedError                  raised by result()
    │   ├── ExecutionCancelledError
    │   ├── ExecutionTerminatedError
    │   └── ExecutionTimedOutError
    ├── OperationError                        caught inside workflows
    │   └── StepFailed
    │       ├── StepTimedOut
    │       └── StepInterrupted
    ├── NonRetryable, RetryAfter              raised by step bodies to steer the retry policy
    ├── NondeterminismError                   the code no longer matches the history
    ├── SwallowedControlFlowError             user code caught what it must let pass
    └── LeaseLostError                        internal; never reaches user code

    ControlFlow(BaseException)                never caught by ``except Exception``
    ├── Suspend
    └── Cancelled
        └── DeadlineExceeded
"""

from __future__ import annotations

from django.core.exceptions import ImproperlyConfigured


class DurableError(Exception):
    """Catch this to catch everything the library raises."""


class ConfigurationError(DurableError, ImproperlyConfigured):
    """A setting or a definition is wrong; the message says which and what to do."""


class InvalidOptionError(DurableError, ValueError):
    """An argument was refused at the call; nothing was written."""


class SignalRefusedError(InvalidOptionError):
    """The validator of a ``SignalType`` refused this payload; nothing was written.

    signal: its name. reason: the validator's own words, for people; may be empty.
    """

    def __init__(self, signal: str, reason: str = "") -> None:
        super().__init__(signal, reason)
        self.signal = signal
        self.reason = reason

    def __str__(self) -> str:
        return f"Signal {self.signal!r} was refused by its validator" + (f": {self.reason}" if self.reason else ".")


class UnknownWorkflowError(DurableError):
    """No workflow of that name and version is registered in this process."""

    def __init__(self, name: str, version: int | None = None) -> None:
        super().__init__(name, version)
        self.name = name
        self.version = version

    def __str__(self) -> str:
        wanted = self.name if self.version is None else f"{self.name} version {self.version}"
        return (
            f"No workflow {wanted!r} is registered. Workflows are found in `workflows.py` of installed apps; "
            "check the name, or import the module that defines it."
        )


class SourceUnavailableError(DurableError):
    """``describe()`` reads the text of a workflow's function, and there is none to read."""

    def __init__(self, function: str) -> None:
        super().__init__(function)
        self.function = function

    def __str__(self) -> str:
        return (
            f"The source of {self.function} cannot be read: it was typed at a prompt, made by exec() or without `def`, "
            "or its file is not there or has changed since it was imported. Define it with `def` in a module."
        )


class NotInWorkflowError(DurableError):
    """Called outside a step body or a workflow."""


class CodecError(DurableError):
    """A value cannot be stored, or stored text cannot be read.

    path: where inside the value, like ``args[0]['lines']``; empty for the value itself.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message, path)
        self.message = message
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class PayloadTooLargeError(CodecError):
    """An encoded value exceeds ``DURABLE["PAYLOAD_LIMIT_BYTES"]``."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"{size_bytes} bytes encoded, the limit is {limit_bytes}. "
            "Store the data in a model or a file and pass its key."
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __reduce__(self) -> tuple[type, tuple[int, int]]:
        return type(self), (self.size_bytes, self.limit_bytes)


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

    key: the one by which it was found, or None.
    """

    def __init__(self, execution_id: object, status: str, key: str | None = None) -> None:
        super().__init__(execution_id, status, key)
        self.execution_id = execution_id
        self.status = status
        self.key = key

    def __str__(self) -> str:
        told = f"Execution {self.execution_id} is {self.status}; it takes no more signals or orders."
        if self.key is None:
            return told
        return f"{told} It keeps the key {self.key!r}: start with another one, such as one with a date or number in it."


class DeliveryConflict(DurableError):
    """A delivery that cannot be retried: delivered, being tried at this moment, or not there.

    status: "delivered", "pending" while it is being tried, or empty if there is no such delivery.
    """

    def __init__(self, delivery_id: object, status: str) -> None:
        super().__init__(delivery_id, status)
        self.delivery_id = delivery_id
        self.status = status

    def __str__(self) -> str:
        if not self.status:
            return f"There is no delivery {self.delivery_id}; give the id of a Delivery, not of its event."
        if self.status == "pending":
            return f"Delivery {self.delivery_id} is being tried at this moment; look again in a minute."
        return f"Delivery {self.delivery_id} is {self.status}: there is nothing to retry."


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


class TransactionOpenError(DurableError):
    """Waiting for a result inside an open transaction can never succeed.

    The worker cannot see rows before the commit, and the commit comes after the wait.
    """


class ResultTimeoutError(DurableError, TimeoutError):
    """The execution was still open when ``result(timeout=)`` ran out; it goes on undisturbed."""


class ExecutionFailedError(DurableError):
    """The execution ended without a result.

    type_name, message, traceback_text: of the error that ended it, as recorded.
    """

    what = "failed"

    def __init__(self, execution_id: object, type_name: str = "", message: str = "", traceback_text: str = "") -> None:
        super().__init__(execution_id, type_name, message, traceback_text)
        self.execution_id = execution_id
        self.type_name = type_name
        self.message = message
        self.traceback_text = traceback_text

    def __str__(self) -> str:
        cause = ": ".join(part for part in (self.type_name, self.message) if part)
        return f"Execution {self.execution_id} {self.what}" + (f": {cause}" if cause else "")


class ExecutionCancelledError(ExecutionFailedError):
    """The execution was cancelled."""

    what = "was cancelled"


class ExecutionTerminatedError(ExecutionFailedError):
    """The execution was terminated."""

    what = "was terminated"


class ExecutionTimedOutError(ExecutionFailedError):
    """The execution passed its deadline."""

    what = "passed its deadline"


class OperationError(DurableError):
    """A durable operation failed; the workflow may catch this and decide."""


class StepFailed(OperationError):
    """A step gave up: its attempts are used, or its error is not one to retry.

    attempts: how many were made. traceback_text: of the last one.
    """

    def __init__(self, step_id: str, type_name: str, message: str, traceback_text: str = "", attempts: int = 1) -> None:
        super().__init__(step_id, type_name, message, traceback_text, attempts)
        self.step_id = step_id
        self.type_name = type_name
        self.message = message
        self.traceback_text = traceback_text
        self.attempts = attempts

    def __str__(self) -> str:
        tries = "1 attempt" if self.attempts == 1 else f"{self.attempts} attempts"
        return f"Step {self.step_id!r} failed after {tries} with {self.type_name}: {self.message}"


class StepTimedOut(StepFailed):
    """A step's last attempt took longer than its ``timeout=``."""


class StepInterrupted(StepFailed):
    """An at-most-once step was started, and its worker died before the outcome was recorded.

    Nobody can know whether it took effect; it is not started again.
    """


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


class NondeterminismError(DurableError):
    """The workflow's calls no longer match its recorded history.

    position: of the first difference, from 0. expected: what the history holds. found: what the code did.
    difference: these in a sentence, without the advice.
    """

    def __init__(self, position: int, expected: str, found: str, source: str = "") -> None:
        super().__init__(position, expected, found, source)
        self.position = position
        self.expected = expected
        self.found = found
        self.source = source

    @property
    def difference(self) -> str:
        where = f" at {self.source}" if self.source else ""
        return f"Position {self.position}: the history has {self.expected}, the code asked for {self.found}{where}."

    def __str__(self) -> str:
        return (
            f"{self.difference} Nothing new was run. "
            "Deploy code that matches the history and the execution goes on by itself; "
            "for incompatible changes register the new code under a higher version= and keep the old one."
        )


class SwallowedControlFlowError(DurableError):
    """Workflow code caught ``Suspend`` or ``Cancelled`` and went on.

    Look for a bare ``except:``, an ``except BaseException:`` or a ``return`` inside ``finally``; let these pass.
    """

    def __init__(self, swallowed: str) -> None:
        super().__init__(swallowed)
        self.swallowed = swallowed

    def __str__(self) -> str:
        return (
            f"The workflow caught {self.swallowed}, which tells the engine to leave the function, and went on. "
            "Look for a bare `except:`, `except BaseException:` or a `return` inside `finally:`; "
            "catch `Exception` instead, or raise it again."
        )


class LeaseLostError(DurableError):
    """Another worker holds the execution, or it has ended; this pass writes nothing more."""


class ControlFlow(BaseException):
    """Leaves a workflow function without being an error; derives from BaseException on purpose.

    Users write ``except Exception``; that must not stop a suspension.
    """


class Suspend(ControlFlow):
    """The workflow waits; its worker is free."""


class Cancelled(ControlFlow):
    """The execution is being cancelled. Clean up in ``except Cancelled`` and raise it again.

    Not in ``finally``: ordinary code there runs at every suspension too.
    """


class DeadlineExceeded(Cancelled):
    """The execution passed its deadline; the same rules as for ``Cancelled``."""
