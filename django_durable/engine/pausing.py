"""Pausing: set an execution aside until somebody lets it go on.

A worker that is on it comes to the end of the step that runs, as at a shutdown, and leaves it. Signals are accepted
meanwhile and looked at afterwards; a cancellation ends the pause, because the workflow is to clean up.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import F

from django_durable import signals
from django_durable.engine import log_lines, slots
from django_durable.engine.audit import audit
from django_durable.engine.claims import Claim
from django_durable.engine.journal import fence
from django_durable.engine.orders import Subject, Verb, give
from django_durable.engine.transitions import tell, tell_unstuck
from django_durable.exceptions import ExecutionConflict
from django_durable.models import AuditKind, Execution, Kind, Slot, Status, Step

_UNSTUCK = {"stuck_reason": "", "error": None, "error_type": ""}  # it may have become so when it was to be paused
PAUSE = Verb(
    "pause",
    "paused",
    {Status.PENDING, Status.SLEEPING, Status.WAITING, Status.RETRYING},
    does="set it aside; a running step comes to its end",
    while_running=True,
)
RESUME = Verb("resume", "resumed", {Status.PAUSED}, does="let a paused one go on from where it is", while_running=True)


def pause(execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    with give(PAUSE, execution_id, using=using, actor=actor, reason=reason) as subject:
        if subject.execution.cancel_requested_at is not None:
            raise ExecutionConflict(f"Execution {execution_id} is being cancelled; it is to come to its end.")
        if _waits_for_its_turn(subject):
            raise ExecutionConflict(
                f"Execution {execution_id} has not begun: it waits for its turn, and keeps its place."
            )
        subject.change(paused_at=subject.now)
        if not subject.is_leased:
            starts_at = subject.timer.due_at if subject.execution.status == Status.PENDING else None
            is_later = starts_at is not None and starts_at > subject.now
            known = {"waiting_until": starts_at} if is_later else {}  # where else could it be kept
            subject.change(status=Status.PAUSED, **known)
            subject.change_timer(held=True, due_at=None, token=None, holder="")  # its worker may have died
            if subject.execution.limited:
                slots.lend(subject.execution, using=using)


def _waits_for_its_turn(subject: Subject) -> bool:
    """As a child of a map, or for a slot; until its deadline, if it has one."""
    execution = subject.execution
    if execution.status != Status.PENDING or subject.is_leased:
        return False
    waiting = Slot.objects.using(subject.using).waiting().filter(execution_id=execution.pk)
    return subject.timer.due_at is None or bool(execution.limited and waiting.exists())


def rest(claim: Claim, execution: Execution) -> bool:
    """Leave a paused execution between two of its steps; False: news has come. Raises LeaseLostError."""
    with transaction.atomic(using=claim.using):
        if not fence(claim, token=None, holder="", due_at=None, held=True, claims=0, progress=0, refused_since=None):
            return False
        Execution.objects.using(claim.using).filter(pk=execution.pk).update(
            status=Status.PAUSED,
            waiting_for="",
            waiting_until=None,
            started_at=execution.started_at or claim.now(),
            **_UNSTUCK,
        )
        if execution.limited:
            slots.lend(execution, using=claim.using)
        log_lines.store(claim)
        tell_unstuck(claim, execution)
        before, after = {"status": execution.status}, {"status": Status.PAUSED}
        audit(claim.using, execution.id, kind=AuditKind.PARKED, before=before, after=after)
        tell(claim, execution, signals.execution_parked, status=Status.PAUSED, waiting_for="")
    return True


def resume(execution_id: UUID, *, shift_timers: bool, using: str, actor: str, reason: str) -> None:
    """shift_timers: move what is due later, and the deadline, by the length of the pause."""
    with give(RESUME, execution_id, using=using, actor=actor, reason=reason) as subject:
        execution = subject.execution
        assert execution.paused_at is not None
        if shift_timers:
            _shift(subject, subject.now - execution.paused_at)
        subject.change(paused_at=None)
        if subject.is_leased:
            return  # it learns of that before it would rest
        if execution.started_at is None:
            starts_at = None if execution.limited else execution.waiting_until  # its limits know when
            subject.change(status=Status.PENDING, waiting_until=None, **_UNSTUCK)
            subject.change_timer(held=starts_at is not None, due_at=starts_at or subject.now)
        else:  # its next pass, at once, finds out what it waits for
            marks = Step.objects.using(using).history(execution.pk).filter(kind__in=[Kind.ROLLBACK, Kind.BACK])
            subject.change(status=Status.COMPENSATING if marks.exists() else Status.WAITING, **_UNSTUCK)
            subject.change_timer(held=False, due_at=subject.now)


def _shift(subject: Subject, paused_for: timedelta) -> None:
    execution = subject.execution
    open_steps = Step.objects.using(subject.using).history(execution.pk).unsettled()
    open_steps.filter(due_at__isnull=False).update(due_at=F("due_at") + paused_for)
    for field in ("deadline_at", "waiting_until"):
        at: datetime | None = getattr(execution, field)
        if at is not None:
            setattr(execution, field, at + paused_for)
            subject.change(**{field: at + paused_for})
