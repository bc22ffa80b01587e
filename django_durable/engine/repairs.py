"""What a person decides about a compensation that gave up: once more, without it, or done by hand.

Each is one transaction with its audit entry, and the execution goes on by itself. Two people who decide at once: the
first one's decision counts, the other is told.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from django_durable import dispatch
from django_durable.clock import DatabaseNow
from django_durable.engine.refusals import not_in_compensation
from django_durable.engine.transitions import audit
from django_durable.models import Execution, Kind, Status, Step, StepStatus, StuckReason, Timer


def retry_compensation(execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    _repair(execution_id, "compensation_retried", {"due_at": DatabaseNow()}, using=using, actor=actor, reason=reason)


def settle_compensation(
    execution_id: UUID, status: StepStatus, result: str | None, *, using: str, actor: str, reason: str
) -> None:
    """status: skipped, or completed with its encoded result."""
    changes = {"status": status, "result": result, "finished_at": DatabaseNow(), "due_at": None}
    kind = "compensation_skipped" if status == StepStatus.SKIPPED else "compensation_resolved"
    _repair(execution_id, kind, changes, using=using, actor=actor, reason=reason)


def _given_up(execution_id: UUID, *, using: str) -> dict[str, Any]:
    """The compensation that it is stuck in. Those that other branches still retry have a next attempt."""
    compensations = Step.objects.using(using).history(execution_id).filter(kind=Kind.COMPENSATION, due_at=None)
    found = compensations.unsettled().values("id", "name", "attempts").first()
    assert found is not None
    return dict(found)


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
        before = _given_up(execution_id, using=using)
        Step.objects.using(using).filter(pk=before.pop("id")).update(**changes)
        audit(using, execution_id, kind=kind, actor=actor, reason=reason, before=before)
        dispatch.wake(execution_id, queue=timers.values_list("queue", flat=True).get(), using=using)
