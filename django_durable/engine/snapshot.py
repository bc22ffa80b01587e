"""One execution as plain data, for people and programs that must not hold models.

A stored payload that cannot be decoded here, because its class or its key is gone, is shown as its stored text: this
is what one looks at to find out why.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django_durable.clock import DatabaseNow
from django_durable.engine import history, payloads
from django_durable.models import Execution, SetAsideStep, Signal, StepStatus, Timer


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSnapshot:
    position: int
    step_id: str
    kind: str
    status: str
    target: str
    attempts: int
    result: Any  # decoded; None until completed
    error: str  # "type: message" of the last attempt, or empty
    started_at: datetime
    finished_at: datetime | None
    due_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAsideSnapshot(StepSnapshot):
    """A checkpoint as it was before somebody took it out of the history, or replaced its result."""

    set_aside_at: datetime
    set_aside_by: str  # kind of the audit entry: retried, step_patched, step_skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSnapshot:
    name: str
    payload: Any  # decoded
    accepted_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerSnapshot:
    queue: str
    due_at: datetime | None  # end of the lease while running
    is_leased: bool
    holder: str
    claims: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    id: UUID
    workflow: str
    version: int
    key: str | None
    status: str  # "running" while a worker's lease is live
    stuck_reason: str
    waiting_for: str
    waiting_until: datetime | None
    input: Any  # {"args": [...], "kwargs": {...}}
    result: Any
    error: str
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    origin: UUID | None  # what it is a restart or a fork of
    history: tuple[StepSnapshot, ...]
    set_aside: tuple[SetAsideSnapshot, ...]
    pending_signals: tuple[SignalSnapshot, ...]
    timer: TimerSnapshot | None  # None once closed


def take(execution: Execution, *, using: str) -> Snapshot:
    """Read an execution with its history, what was set aside of it, inbox and timer; four SELECTs."""
    timer = _timer(execution.id, using)
    is_running = timer is not None and timer.is_leased
    return Snapshot(
        id=execution.id,
        workflow=execution.workflow,
        version=execution.version,
        key=execution.key,
        status="running" if is_running else execution.status,
        stuck_reason=execution.stuck_reason,
        waiting_for="" if is_running else execution.waiting_for,
        waiting_until=None if is_running else execution.waiting_until,
        input=_value(execution.input),
        result=_value(execution.result),
        error=_error(execution.error),
        created_at=execution.created_at,
        started_at=execution.started_at,
        finished_at=execution.finished_at,
        origin=execution.origin,
        history=tuple(StepSnapshot(**_step(checkpoint)) for checkpoint in history.load(execution.id, using=using)),
        set_aside=_set_aside(execution.id, using),
        pending_signals=_pending(execution.id, using),
        timer=timer,
    )


def _timer(execution_id: UUID, using: str) -> TimerSnapshot | None:
    timers = Timer.objects.using(using).filter(pk=execution_id)
    row = timers.annotate(database_now=DatabaseNow()).first()
    if row is None:
        return None
    is_leased = row.is_leased(getattr(row, "database_now"))  # noqa: B009 - an annotation is no attribute to a type checker
    return TimerSnapshot(queue=row.queue, due_at=row.due_at, is_leased=is_leased, holder=row.holder, claims=row.claims)


def _step(checkpoint: history.Checkpoint | SetAsideStep) -> dict[str, Any]:
    return {
        "position": checkpoint.position,
        "step_id": checkpoint.name,
        "kind": checkpoint.kind,
        "status": checkpoint.status,
        "target": checkpoint.target,
        "attempts": checkpoint.attempts,
        "result": _value(checkpoint.result) if checkpoint.status == StepStatus.COMPLETED else None,
        "error": _error(checkpoint.error),
        "started_at": checkpoint.started_at,
        "finished_at": checkpoint.finished_at,
        "due_at": checkpoint.due_at,
    }


def _set_aside(execution_id: UUID, using: str) -> tuple[SetAsideSnapshot, ...]:
    return tuple(
        SetAsideSnapshot(**_step(row), set_aside_at=row.set_aside_at, set_aside_by=row.set_aside_by)
        for row in SetAsideStep.objects.using(using).of(execution_id)
    )


def _pending(execution_id: UUID, using: str) -> tuple[SignalSnapshot, ...]:
    rows = Signal.objects.using(using).pending(execution_id)
    return tuple(
        SignalSnapshot(name=row.name, payload=_value(row.payload), accepted_at=row.accepted_at) for row in rows
    )


def _value(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return payloads.load(text)
    except Exception:  # the codec's, the project's cipher's, or that of a class that refuses old data
        return text


def _error(text: str | None) -> str:
    if text is None:
        return ""
    try:
        error = payloads.load_error(text)
    except Exception:
        return text
    return f"{error.type_name}: {error.message}"
