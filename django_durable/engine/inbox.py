"""Signals: accepted from outside, buffered in order, consumed once by a wait."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django_durable import dispatch, signals
from django_durable.clock import DatabaseNow
from django_durable.engine import audit, chains, compound, payloads
from django_durable.engine.history import PendingSignal
from django_durable.engine.matching import Matcher
from django_durable.engine.recorder import Call
from django_durable.engine.refusals import not_open
from django_durable.models import AuditKind, Kind, Signal, Status, StepStatus


def wait(matcher: Matcher, step_id: str | None, name: str, timeout_seconds: float | None, default: Any) -> Any:
    """Consume the oldest pending signal of that name, or park for one.

    A wait that timed out is completed without a result (SQL NULL, which no encoded value is).
    """
    call = matcher.enter(Kind.WAIT, step_id or f"signal:{name}", target=name)
    if call.recorded is not None and call.recorded.is_settled:
        return default if call.recorded.result is None else matcher.stored(payloads.load, call.recorded.result)

    signal = _oldest(matcher.journal.inbox, name)
    if signal is not None:
        payload = matcher.stored(payloads.load, signal.payload)  # before it is consumed: this worker must understand it
        done = call.checkpoint(
            status=StepStatus.COMPLETED, result=signal.payload, finished_at=matcher.claim.now(), due_at=None
        )
        matcher.settle(call, done, consuming=signal)
        return payload

    ends_at = until(call, timeout_seconds)
    if ends_at is not None and ends_at <= matcher.claim.now():
        matcher.settle(
            call, call.checkpoint(status=StepStatus.COMPLETED, due_at=ends_at, finished_at=matcher.claim.now())
        )
        return default

    checkpoint = call.checkpoint(status=StepStatus.WAITING, due_at=ends_at)
    raise matcher.park(call, checkpoint, status=Status.WAITING, until=ends_at, waiting_for=f"signal {name}")


def _oldest(inbox: list[PendingSignal], name: str) -> PendingSignal | None:
    return next((signal for signal in inbox if signal.name == name), None)


def until(call: Call, timeout_seconds: float | None) -> datetime | None:
    """When a wait gives up: the recorded time-out counts once the wait is recorded, else it runs from this call."""
    if call.recorded is not None:
        return call.recorded.due_at
    return None if timeout_seconds is None else call.entered_at + timedelta(seconds=timeout_seconds)


def accept(execution_id: UUID, name: str, payload: str, *, signal_id: str | None, using: str) -> bool:
    """Store a signal and wake the execution, in one transaction. False: that ``signal_id`` was accepted before.

    The bump comes first: its row lock makes the order numbers the commit order, and whoever parks at the same time
    loses the compare-and-set on ``wake_seq`` and looks again. One that was continued passes it on to its successor.
    payload: encoded. Raises ExecutionNotFoundError, ExecutionClosedError.
    """
    return store(
        Signal(execution_id=execution_id, name=name, payload=payload, signal_id=signal_id, accepted_at=DatabaseNow()),
        using=using,
    )


def store(signal: Signal, *, using: str) -> bool:
    """``accept`` of a row."""
    return chains.follow(partial(_store, signal, using), signal.execution_id)


def _store(signal: Signal, using: str, execution_id: UUID) -> bool:
    signal.execution_id, signal_id = execution_id, signal.signal_id
    with audit.whole(using, AuditKind.SIGNAL_RECEIVED):
        accepted = compound.accept_signal(signal, using=using)
        if accepted is None:
            if signal_id is not None and was_accepted(execution_id, signal_id, using=using):
                return False
            raise not_open(execution_id, using=using)
        queue, is_new = accepted
        if is_new:
            _tell(signal, using)
        dispatch.wake(execution_id, queue=queue, using=using)
    return is_new


def _tell(signal: Signal, using: str) -> None:
    told = {"name": signal.name, "signal_id": signal.signal_id}
    audit.audit(using, signal.execution_id, kind=AuditKind.SIGNAL_RECEIVED, after=told)
    about = {"execution_id": signal.execution_id, **told}
    signals.send_on_commit(signals.signal_received, sender=Signal, using=using, **about)


def was_accepted(execution_id: UUID, signal_id: str, *, using: str) -> bool:
    """By that execution, or by another one of its chain."""
    return Signal.objects.using(using).accepted(execution_id, signal_id).exists()
