"""Durable workflows for Django: the authoring API.

Import from here inside ``workflows.py``; import ``django_durable.client`` in views, commands and tests. Nothing here
reaches a model, so it is safe to import before the apps are ready.
"""

from django_durable.codec import register as register_type
from django_durable.context import Case, Context, Settled, SignalType, StepInfo, current_step
from django_durable.definitions import registry, step, workflow
from django_durable.events import EventInfo, EventType, on_event
from django_durable.exceptions import (
    Cancelled,
    CodecError,
    ConfigurationError,
    DeadlineExceeded,
    DeliveryConflict,
    DurableError,
    ExecutionCancelledError,
    ExecutionClosedError,
    ExecutionConflict,
    ExecutionFailedError,
    ExecutionNotFoundError,
    ExecutionTerminatedError,
    ExecutionTimedOutError,
    ExpiredTokenError,
    InvalidOptionError,
    InvalidTokenError,
    NonRetryable,
    NotInWorkflowError,
    OperationError,
    PayloadTooLargeError,
    ResultTimeoutError,
    RetryAfter,
    SignalRefusedError,
    SourceUnavailableError,
    StepFailed,
    StepInterrupted,
    StepTimedOut,
    TokenError,
    TransactionOpenError,
    UnknownWorkflowError,
    UsedTokenError,
)
from django_durable.retry import Retry

__version__ = "0.1.0.dev0"

__all__ = [
    "Cancelled",
    "Case",
    "CodecError",
    "ConfigurationError",
    "Context",
    "DeadlineExceeded",
    "DeliveryConflict",
    "DurableError",
    "EventInfo",
    "EventType",
    "ExecutionCancelledError",
    "ExecutionClosedError",
    "ExecutionConflict",
    "ExecutionFailedError",
    "ExecutionNotFoundError",
    "ExecutionTerminatedError",
    "ExecutionTimedOutError",
    "ExpiredTokenError",
    "InvalidOptionError",
    "InvalidTokenError",
    "NonRetryable",
    "NotInWorkflowError",
    "OperationError",
    "PayloadTooLargeError",
    "ResultTimeoutError",
    "Retry",
    "RetryAfter",
    "Settled",
    "SignalRefusedError",
    "SignalType",
    "SourceUnavailableError",
    "StepFailed",
    "StepInfo",
    "StepInterrupted",
    "StepTimedOut",
    "TokenError",
    "TransactionOpenError",
    "UnknownWorkflowError",
    "UsedTokenError",
    "current_step",
    "on_event",
    "register_type",
    "registry",
    "step",
    "workflow",
]
