"""Durable workflows for Django: the authoring API.

Import from here inside ``workflows.py``; import ``django_durable.client`` in views, commands and tests. Nothing here
reaches a model, so it is safe to import before the apps are ready.
"""

from django_durable.cadence import Cron, Excluded, Interval
from django_durable.coalesce import Coalesce
from django_durable.codec import register as register_type
from django_durable.context import AsyncContext, Context
from django_durable.definitions import registry, step, workflow
from django_durable.events import EventInfo, EventType, on_event
from django_durable.exceptions import (
    BatchRefusedError,
    Cancelled,
    ChildFailed,
    ChildNotEndedError,
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
    ForcedFailure,
    InvalidOptionError,
    InvalidTokenError,
    LoopLimitError,
    NonRetryable,
    NotInWorkflowError,
    OperationError,
    PayloadErasedError,
    PayloadTooLargeError,
    ResultTimeoutError,
    RetryAfter,
    ScheduleConflict,
    ScheduleNotFoundError,
    SignalRefusedError,
    SourceUnavailableError,
    StepFailed,
    StepInterrupted,
    StepTimedOut,
    TokenError,
    TransactionOpenError,
    UnknownWorkflowError,
    UpdateFailed,
    UsedTokenError,
    WebhookNotFoundError,
)
from django_durable.flow import Flow, FlowData, Part
from django_durable.limits import Limit, Rate
from django_durable.parts import Case, Child, Settled
from django_durable.retention import FOREVER, Retention
from django_durable.retry import Retry
from django_durable.running import StepInfo, current_step
from django_durable.schedule_spec import ScheduleSpec
from django_durable.signal_types import SignalType

__version__ = "0.1.0.dev0"

__all__ = [
    "FOREVER",
    "AsyncContext",
    "BatchRefusedError",
    "Cancelled",
    "Case",
    "Child",
    "ChildFailed",
    "ChildNotEndedError",
    "Coalesce",
    "CodecError",
    "ConfigurationError",
    "Context",
    "Cron",
    "DeadlineExceeded",
    "DeliveryConflict",
    "DurableError",
    "EventInfo",
    "EventType",
    "Excluded",
    "ExecutionCancelledError",
    "ExecutionClosedError",
    "ExecutionConflict",
    "ExecutionFailedError",
    "ExecutionNotFoundError",
    "ExecutionTerminatedError",
    "ExecutionTimedOutError",
    "ExpiredTokenError",
    "Flow",
    "FlowData",
    "ForcedFailure",
    "Interval",
    "InvalidOptionError",
    "InvalidTokenError",
    "Limit",
    "LoopLimitError",
    "NonRetryable",
    "NotInWorkflowError",
    "OperationError",
    "Part",
    "PayloadErasedError",
    "PayloadTooLargeError",
    "Rate",
    "ResultTimeoutError",
    "Retention",
    "Retry",
    "RetryAfter",
    "ScheduleConflict",
    "ScheduleNotFoundError",
    "ScheduleSpec",
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
    "UpdateFailed",
    "UsedTokenError",
    "WebhookNotFoundError",
    "current_step",
    "on_event",
    "register_type",
    "registry",
    "step",
    "workflow",
]
