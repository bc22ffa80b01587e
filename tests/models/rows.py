"""Rows as the engine writes them, made directly: one builder per table, every value open to change."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from django_durable.models import (
    AuditEntry,
    Delivery,
    Execution,
    Kind,
    OutboxEvent,
    Schedule,
    ScheduleTick,
    Signal,
    Status,
    Step,
    StepStatus,
    TickOutcome,
    Timer,
)

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LEASE = {"holder": "machine:1:1", "due_at": AT + HOUR}  # beside a token
INPUT = '[1, {"args": [], "kwargs": {}}]'
_numbers = count()


def execution(**values: Any) -> Execution:
    return Execution.objects.create(**{"workflow": "flow", "input": INPUT, "input_hash": "hash", **values})


def closed(status: str = Status.COMPLETED, **values: Any) -> Execution:
    return execution(**{"status": status, "finished_at": AT, **values})


def timer(of: Execution | None = None, **values: Any) -> Timer:
    return Timer.objects.create(**{"execution": of or execution(), "queue": "default", "due_at": AT, **values})


def leased(of: Execution | None = None, **values: Any) -> Timer:
    return timer(of, **{"token": uuid4(), **LEASE, **values})


def step(of: Execution | None = None, **values: Any) -> Step:
    number = next(_numbers)
    given = {"position": number, "name": f"step {number}", "kind": Kind.STEP, "status": StepStatus.COMPLETED}
    if values.get("status", StepStatus.COMPLETED) == StepStatus.COMPLETED:
        given["finished_at"] = AT
    return Step.objects.create(**{"execution": of or execution(), "started_at": AT, **given, **values})


def signal(of: Execution | None = None, **values: Any) -> Signal:
    given = {"seq": next(_numbers), "name": "go", "payload": "[1, null]"}
    return Signal.objects.create(**{"execution": of or execution(), **given, **values})


def event(of: Execution | None = None, **values: Any) -> OutboxEvent:
    return OutboxEvent.objects.create(**{"execution": of or execution(), "name": "paid", "payload": "[1, 7]", **values})


def delivery(of: OutboxEvent | None = None, **values: Any) -> Delivery:
    given = {"event": of or event(), "receiver": "mail", "queue": "default", "due_at": AT}
    return Delivery.objects.create(**{**given, **values})


def schedule(**values: Any) -> Schedule:
    given = {"name": f"schedule {next(_numbers)}", "workflow": "flow", "input": INPUT}
    return Schedule.objects.create(**{**given, **values})


def tick(of: Schedule | None = None, **values: Any) -> ScheduleTick:
    given = {"nominal_at": AT, "outcome": TickOutcome.STARTED}
    return ScheduleTick.objects.create(**{"schedule": of or schedule(), **given, **values})


def audit(**values: Any) -> AuditEntry:
    return AuditEntry.objects.create(**{"kind": "completed", **values})
