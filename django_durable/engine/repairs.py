"""What a person decides about a compensation that gave up: once more, without it, or done by hand.

Each is one transaction with its audit entry, and the execution goes on by itself. Two people who decide at once: the
first one's decision counts, the other is told.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from django_durable import dispatch, signals
from django_durable.clock import DatabaseNow
from django_durable.engine.audit import audit
from django_durable.engine.refusals import not_in_compensation
from django_durable.models import AuditKind, Execution, Status, Step, StepStatus, StuckReason, Timer


def retry_compensation(execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    _repair(
        execution_id, AuditKind.COMPENSATION_RETRIED, {"due_at": DatabaseNow()}, using=using, actor=actor, reason=reason
    )


def settle_compensation(
    execution_id: UUID, status: StepStatus, result: str | None, *, using: str, actor: str, reason: str
) -> None:
    """status: skipped, or completed with its encoded result."""
    changes = {"status": status, "result": result, "finished_at": DatabaseNow(), "due_at": None}
    skips = status == StepStatus.SKIPPED
    kind = AuditKind.COMPENSATION_SKIPPED if skips else AuditKind.COMPENSATION_RESOLVED
    _repair(execution_id, kind, changes, using=using, actor=actor, reason=reason)


def _repair(execution_id: UUID, kind: str, changes: dict[str, Any], *, using: str, actor: str, reason: str) -> None:
    with transaction.atomic(using=using):
        timers = Timer.objects.using(using).filter(pk=execution_id)
        executions = Execution.objects.using(using).filter(
            pk=execution_id, status=Status.STUCK, stuck_reason=StuckReason.COMPENSATION
        )
        is_free = timers.filter(held=True).update(held=False, due_at=DatabaseNow(), wake_seq=F("wake_seq") + 1)
        if not is_free or not executions.update(
            status=Status.COMPENSATING, stuck_reason="", error=None, error_type="", waiting_for=""
        ):
            raise not_in_compensation(execution_id, using=using)
        given_up = Step.objects.using(using).history(execution_id).given_up()
        before = dict(given_up.values("name", "attempts").get())
        given_up.update(**changes)
        after = {"name": before["name"], "status": changes.get("status", StepStatus.RETRYING)}
        audit(using, execution_id, kind=kind, actor=actor, reason=reason, before=before, after=after)
        _tell_unstuck(execution_id, using)
        dispatch.wake(execution_id, queue=timers.values_list("queue", flat=True).get(), using=using)


def _tell_unstuck(execution_id: UUID, using: str) -> None:
    before = {"status": Status.STUCK, "stuck_reason": StuckReason.COMPENSATION}
    after = {"status": Status.COMPENSATING}
    audit(using, execution_id, kind=AuditKind.UNSTUCK, before=before, after=after)
    if signals.is_wanted(signals.execution_unstuck, Execution):
        name = Execution.objects.using(using).values_list("workflow", flat=True).get(pk=execution_id)
        about = {"execution_id": execution_id, "workflow": name, "reason": StuckReason.COMPENSATION}
        signals.send_on_commit(signals.execution_unstuck, sender=Execution, using=using, **about)
