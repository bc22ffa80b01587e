"""The tables. One noun per file, its queryset beside it."""

from django_durable.models.audit import AuditEntry
from django_durable.models.event import Delivery, DeliveryStatus, OutboxEvent
from django_durable.models.execution import CLOSED, Execution, Priority, Status, StuckReason
from django_durable.models.schedule import Schedule, ScheduleTick, TickOutcome
from django_durable.models.signal import Signal
from django_durable.models.step import SETTLED, Kind, Step, StepStatus
from django_durable.models.timer import Timer

__all__ = [
    "CLOSED",
    "SETTLED",
    "AuditEntry",
    "Delivery",
    "DeliveryStatus",
    "Execution",
    "Kind",
    "OutboxEvent",
    "Priority",
    "Schedule",
    "ScheduleTick",
    "Signal",
    "Status",
    "Step",
    "StepStatus",
    "StuckReason",
    "TickOutcome",
    "Timer",
]
