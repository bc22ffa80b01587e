"""The tables. One noun per file, its queryset beside it."""

from django_durable.models.attempts import DeliveryStatus
from django_durable.models.audit import ACTS, AuditEntry, AuditKind, audit_level
from django_durable.models.event import Delivery, OutboxEvent
from django_durable.models.execution import (
    CLOSED,
    OPEN,
    UNSUCCESSFUL,
    Execution,
    OnParentClose,
    Priority,
    Status,
    StuckReason,
)
from django_durable.models.fan_out import FanOut
from django_durable.models.feed import FeedHead
from django_durable.models.limit import LimitKey, Slot
from django_durable.models.log_line import LONGEST_MESSAGE, LogLine
from django_durable.models.node import Node, NodeKind
from django_durable.models.schedule import (
    CatchUp,
    Overlap,
    Schedule,
    ScheduleStatus,
    ScheduleTick,
    TickKind,
    TickOutcome,
)
from django_durable.models.set_aside import SetAsideStep
from django_durable.models.signal import Signal
from django_durable.models.step import SETTLED, Kind, Step, StepStatus
from django_durable.models.subject import DurableSubject
from django_durable.models.timer import Timer
from django_durable.models.turn import Turn
from django_durable.models.webhook import WebhookDelivery, WebhookEndpoint

__all__ = [
    "ACTS",
    "CLOSED",
    "LONGEST_MESSAGE",
    "OPEN",
    "SETTLED",
    "UNSUCCESSFUL",
    "AuditEntry",
    "AuditKind",
    "CatchUp",
    "Delivery",
    "DeliveryStatus",
    "DurableSubject",
    "Execution",
    "FanOut",
    "FeedHead",
    "Kind",
    "LimitKey",
    "LogLine",
    "Node",
    "NodeKind",
    "OnParentClose",
    "OutboxEvent",
    "Overlap",
    "Priority",
    "Schedule",
    "ScheduleStatus",
    "ScheduleTick",
    "SetAsideStep",
    "Signal",
    "Slot",
    "Status",
    "Step",
    "StepStatus",
    "StuckReason",
    "TickKind",
    "TickOutcome",
    "Timer",
    "Turn",
    "WebhookDelivery",
    "WebhookEndpoint",
    "audit_level",
]
