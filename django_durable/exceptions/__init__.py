"""Every error of the library, and with ``control_flow`` what is raised that is none.

::

    DurableError
    ├── ConfigurationError                    also ImproperlyConfigured
    ├── InvalidOptionError                    also ValueError: a bad argument, refused at the call
    │   └── SignalRefusedError                the validator of a signal said no
    ├── UnknownWorkflowError                  no registered workflow has that name or version
    ├── SourceUnavailableError                describe() cannot read the text of a function
    ├── NotInWorkflowError                    called outside a step body
    ├── CodecError                            a value that cannot be stored
    │   ├── PayloadErasedError
    │   └── PayloadTooLargeError
    ├── ExecutionNotFoundError                raised by the client
    ├── ExecutionConflict                     the execution is not in a state that allows it
    │   ├── ExecutionClosedError
    │   └── ScheduleConflict
    ├── BatchRefusedError                     raised by start_many(): some starts cannot be made
    ├── DeliveryConflict                      the delivery is not in a state that allows it
    ├── ScheduleNotFoundError
    ├── WebhookNotFoundError
    ├── WebhookError                          recorded with a delivery: the endpoint did not take it
    ├── TokenError                            a signal token was refused
    │   ├── InvalidTokenError
    │   ├── ExpiredTokenError
    │   └── UsedTokenError
    ├── UpdateFailed                          raised by update(): its handler raised
    ├── TransactionOpenError                  waiting inside a transaction that hides the answer
    ├── ResultTimeoutError                    also TimeoutError: no result or reply yet when the time was up
    ├── ExecutionFailedError                  raised by result()
    │   ├── ExecutionCancelledError
    │   ├── ExecutionTerminatedError
    │   └── ExecutionTimedOutError
    ├── ForcedFailure                         recorded: what a person gave as the error of an execution
    ├── OperationError                        caught inside workflows
    │   ├── StepFailed
    │   │   ├── StepTimedOut
    │   │   └── StepInterrupted
    │   ├── ChildFailed
    │   ├── ChildNotEndedError
    │   └── LoopLimitError
    ├── NonRetryable, RetryAfter              raised by step bodies to steer the retry policy
    ├── NondeterminismError                   the code no longer matches the history
    ├── SwallowedControlFlowError             user code caught what it must let pass
    └── LeaseLostError                        internal; never reaches user code

    ControlFlow(BaseException)                never caught by ``except Exception``
    ├── Suspend
    ├── ContinueAsNew
    └── Cancelled
        └── DeadlineExceeded
"""

from django_durable.control_flow import Cancelled, ContinueAsNew, ControlFlow, DeadlineExceeded, Suspend
from django_durable.exceptions.base import DurableError
from django_durable.exceptions.configuration import (
    ConfigurationError,
    InvalidOptionError,
    NotInWorkflowError,
    SignalRefusedError,
    SourceUnavailableError,
    UnknownWorkflowError,
)
from django_durable.exceptions.operations import (
    ChildFailed,
    ChildNotEndedError,
    LoopLimitError,
    NonRetryable,
    OperationError,
    RetryAfter,
    StepFailed,
    StepInterrupted,
    StepTimedOut,
)
from django_durable.exceptions.orders import (
    BatchRefusedError,
    DeliveryConflict,
    ExecutionCancelledError,
    ExecutionClosedError,
    ExecutionConflict,
    ExecutionFailedError,
    ExecutionNotFoundError,
    ExecutionTerminatedError,
    ExecutionTimedOutError,
    ExpiredTokenError,
    ForcedFailure,
    InvalidTokenError,
    ResultTimeoutError,
    ScheduleConflict,
    ScheduleNotFoundError,
    TokenError,
    TransactionOpenError,
    UpdateFailed,
    UsedTokenError,
    WebhookError,
    WebhookNotFoundError,
)
from django_durable.exceptions.passes import LeaseLostError, NondeterminismError, SwallowedControlFlowError
from django_durable.exceptions.payloads import CodecError, PayloadErasedError, PayloadTooLargeError

__all__ = [
    "BatchRefusedError",
    "Cancelled",
    "ChildFailed",
    "ChildNotEndedError",
    "CodecError",
    "ConfigurationError",
    "ContinueAsNew",
    "ControlFlow",
    "DeadlineExceeded",
    "DeliveryConflict",
    "DurableError",
    "ExecutionCancelledError",
    "ExecutionClosedError",
    "ExecutionConflict",
    "ExecutionFailedError",
    "ExecutionNotFoundError",
    "ExecutionTerminatedError",
    "ExecutionTimedOutError",
    "ExpiredTokenError",
    "ForcedFailure",
    "InvalidOptionError",
    "InvalidTokenError",
    "LeaseLostError",
    "LoopLimitError",
    "NonRetryable",
    "NondeterminismError",
    "NotInWorkflowError",
    "OperationError",
    "PayloadErasedError",
    "PayloadTooLargeError",
    "ResultTimeoutError",
    "RetryAfter",
    "ScheduleConflict",
    "ScheduleNotFoundError",
    "SignalRefusedError",
    "SourceUnavailableError",
    "StepFailed",
    "StepInterrupted",
    "StepTimedOut",
    "Suspend",
    "SwallowedControlFlowError",
    "TokenError",
    "TransactionOpenError",
    "UnknownWorkflowError",
    "UpdateFailed",
    "UsedTokenError",
    "WebhookError",
    "WebhookNotFoundError",
]

# Wire format: failures are stored with the names of their classes, and told apart by them.
for _name in __all__:
    if globals()[_name].__module__.startswith(f"{__name__}."):
        globals()[_name].__module__ = __name__
