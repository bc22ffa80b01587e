"""Rows as the engine writes them, made directly: one builder per table, every value open to change."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import uuid4

from django_durable.clock import now
from django_durable.models import (
    AuditEntry,
    Delivery,
    Execution,
    FanOut,
    Kind,
    LimitKey,
    LogLine,
    Node,
    OutboxEvent,
    Schedule,
    ScheduleTick,
    SetAsideStep,
    Signal,
    Slot,
    Status,
    Step,
    StepStatus,
    TickOutcome,
    Timer,
    Turn,
    WebhookDelivery,
    WebhookEndpoint,
)
from django_durable.models.identity import new_id

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
LEASE = {"holder": "machine:1:1", "due_at": AT + HOUR}  # beside a token
INPUT = '[1, {"args": [], "kwargs": {}}]'
HOURLY = '{"kind": "interval", "every_seconds": 3600.0, "anchor": "1970-01-01T00:00:00+00:00"}'
_numbers = count()


def execution(**values: Any) -> Execution:
    given = {"workflow": "flow", "input": INPUT, "input_hash": "hash", **values}
    if given.get("key") is not None:
        given.setdefault("key_scope", given["workflow"])
    return Execution.objects.create(**given)


def closed(status: str = Status.COMPLETED, **values: Any) -> Execution:
    return execution(**{"status": status, "finished_at": AT, **values})


def timer(of: Execution | None = None, **values: Any) -> Timer:
    return Timer.objects.create(**{"execution": of or execution(), "queue": "default", "due_at": AT, **values})


def leased(of: Execution | None = None, **values: Any) -> Timer:
    return timer(of, **{"token": uuid4(), **LEASE, **values})


def fan_out(**values: Any) -> FanOut:
    return FanOut.objects.create(**{"id": uuid4(), "remaining": 1, "fails_fast": True, **values})


def node(**values: Any) -> Node:
    given = {"kind": "worker", "name": f"w{next(_numbers)}@here", "host": "here", "pid": 7, "source": "test"}
    at = {"started_at": now(), "seen_at": now()}
    return Node.objects.create(**{**given, **at, "queues": ["default"], "version": "1", **values})


def limit_key(**values: Any) -> LimitKey:
    return LimitKey.objects.create(**{"name": f"limit {next(_numbers)}", "capacity": 1, **values})


def slot(**values: Any) -> Slot:
    given = {"granted": True, **values}
    return Slot.objects.create(**{"limit": given.get("limit") or limit_key(), **given})


def step(of: Execution | None = None, **values: Any) -> Step:
    number = next(_numbers)
    given = {"position": number, "name": f"step {number}", "kind": Kind.STEP, "status": StepStatus.COMPLETED}
    if values.get("status", StepStatus.COMPLETED) == StepStatus.COMPLETED:
        given["finished_at"] = AT
    return Step.objects.create(**{"execution": of or execution(), "started_at": AT, **given, **values})


def set_aside(of: Execution | None = None, **values: Any) -> SetAsideStep:
    given = {"position": 0, "name": "step", "kind": Kind.STEP, "status": StepStatus.COMPLETED, "checkpoint_id": uuid4()}
    told = {"set_aside_at": AT, "set_aside_by": "retried", "started_at": AT, "finished_at": AT}
    return SetAsideStep.objects.create(**{"execution": of or execution(), **given, **told, **values})


def signal(of: Execution | None = None, **values: Any) -> Signal:
    given = {"seq": next(_numbers), "name": "go", "payload": "[1, null]"}
    return Signal.objects.create(**{"execution": of or execution(), **given, **values})


def event(of: Execution | None = None, **values: Any) -> OutboxEvent:
    return OutboxEvent.objects.create(**{"execution": of or execution(), "name": "paid", "payload": "[1, 7]", **values})


def delivery(of: OutboxEvent | None = None, **values: Any) -> Delivery:
    given = {"event": of or event(), "receiver": "mail", "queue": "default", "due_at": AT}
    return Delivery.objects.create(**{**given, **values})


def turn(**values: Any) -> Turn:
    return Turn.objects.create(**{"name": "chore", "next_at": AT, **values})


def schedule(**values: Any) -> Schedule:
    given = {"name": f"schedule {next(_numbers)}", "workflow": "flow", "input": INPUT, "cadence": HOURLY}
    given |= {"cadence_hash": "hash", "next_at": AT, "due_at": AT}
    return Schedule.objects.create(**{**given, **values})


def tick(of: Schedule | None = None, **values: Any) -> ScheduleTick:
    given = {"nominal_at": AT, "outcome": TickOutcome.STARTED}
    return ScheduleTick.objects.create(**{"schedule": of or schedule(), **given, **values})


def log_line(of: Execution | None = None, **values: Any) -> LogLine:
    return LogLine.objects.create(**{"execution": of or execution(), "number": 0, "level": 20, "said_at": AT, **values})


def audit(**values: Any) -> AuditEntry:
    return AuditEntry.objects.create(**{"kind": "completed", **values})


def endpoint(**values: Any) -> WebhookEndpoint:
    return WebhookEndpoint.objects.create(**{"url": "https://example.com/hook", "position": 0, "secret": "", **values})


def webhook(of: WebhookEndpoint | None = None, **values: Any) -> WebhookDelivery:
    made = {"endpoint": of or endpoint(), "entry_id": new_id(), "kind": "failed", "body": "{}", "due_at": AT, **values}
    return WebhookDelivery.objects.create(**made)
