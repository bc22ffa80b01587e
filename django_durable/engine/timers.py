"""Durable sleeps: a row with a due time, no process and no message that waits."""

from __future__ import annotations

from datetime import datetime, timedelta

from django_durable.engine.matching import Matcher
from django_durable.engine.recorder import Call
from django_durable.models import Kind, Status, StepStatus


def sleep(matcher: Matcher, step_id: str | None, seconds: float) -> None:
    call = matcher.enter(Kind.SLEEP, step_id or "sleep")
    _sleep(matcher, call, call.entered_at + timedelta(seconds=seconds))


def sleep_until(matcher: Matcher, step_id: str | None, at: datetime) -> None:
    _sleep(matcher, matcher.enter(Kind.SLEEP, step_id or "sleep_until"), at)


def _sleep(matcher: Matcher, call: Call, due_at: datetime) -> None:
    """Park until due_at by the database's clock. The recorded due time counts, whatever today's code asks for."""
    if call.recorded is not None:
        if call.recorded.is_settled:
            return
        assert call.recorded.due_at is not None
        due_at = call.recorded.due_at
    if due_at <= matcher.claim.now():
        matcher.settle(
            call, call.checkpoint(status=StepStatus.COMPLETED, due_at=due_at, finished_at=matcher.claim.now())
        )
        return
    checkpoint = call.checkpoint(status=StepStatus.WAITING, due_at=due_at)
    raise matcher.park(call, checkpoint, status=Status.SLEEPING, until=due_at, waiting_for="timer")
