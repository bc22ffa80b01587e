"""The only code, with ``repairs``, that changes an execution's status.

======================= ============================================ =======================
from                    to                                           by
======================= ============================================ =======================
any open                sleeping, waiting, retrying                  ``park``
any open                compensating                                 ``begin_compensating``, ``park``, ``repairs``
any open                completed, failed, cancelled, timed_out      ``close``
any open                stuck                                        ``stick``, ``refuse``
any open                terminated                                   ``terminate``
any open                cancelling                                   ``request_cancel``
======================= ============================================ =======================

Closed is final. ``running`` is never written; a live lease says it. Each function is one transaction, locks the
timer row first and writes nothing when that is not its to change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, TextField, Value, When

from django_durable import dispatch, signals
from django_durable.clock import DatabaseNow
from django_durable.engine import children, claims, compound
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import fence, insert_checkpoint_of, update_checkpoint
from django_durable.engine.outcomes import Ended, Park
from django_durable.engine.refusals import not_open
from django_durable.exceptions import ExecutionClosedError, LeaseLostError
from django_durable.models import AuditEntry, Execution, OnParentClose, Status, StuckReason, Timer

KEPT_BY_CANCEL = (Status.STUCK, Status.COMPENSATING)
STUCK_RETRY_SECONDS = 60.0  # how often a deploy of matching code is looked for


def park(claim: Claim, execution: Execution, park: Park) -> bool:
    """Wait, unless news has come since it was decided to: then nothing is written and False comes back.

    This compare-and-set is what makes a lost wake-up impossible on every database and isolation level.
    Raises LeaseLostError if the lease is gone.
    """
    with transaction.atomic(using=claim.using):
        if not fence(
            claim,
            seen=park.wake_seq,
            token=None,
            holder="",
            due_at=park.until,
            claims=0,
            progress=0,
            held=False,
            refused_since=None,
        ):
            return False
        _set(
            claim,
            execution,
            status=_shown(park.status, execution),
            stuck_reason="",
            error=None,
            error_type="",
            waiting_for=park.waiting_for,
            waiting_until=park.until,
        )
        for checkpoint, is_new in park.opens:
            if is_new:
                insert_checkpoint_of(claim, checkpoint)
            else:
                update_checkpoint(claim, checkpoint)
        _announce(claim, park.until)
        _tell(claim, execution, signals.execution_parked, status=park.status, waiting_for=park.waiting_for)
    return True


def _shown(status: Status, execution: Execution) -> Status:
    is_cancelling = execution.cancel_requested_at is not None and status != Status.COMPENSATING
    return Status.CANCELLING if is_cancelling else status


def begin_compensating(claim: Claim, *checkpoints: Checkpoint) -> bool:
    """Record that the workflow has ended without success and how; False: news has come first, nothing is written.

    Only then may a compensation run: whatever the code does at the next replay, the end is decided.
    """
    with transaction.atomic(using=claim.using):
        if not fence(claim):
            return False
        Execution.objects.using(claim.using).filter(pk=claim.execution_id).update(status=Status.COMPENSATING)
        for checkpoint in checkpoints:
            insert_checkpoint_of(claim, checkpoint)
    return True


def _announce(claim: Claim, until: datetime | None) -> None:
    """What is due before a tick could tell gets its hint now."""
    seconds = (until - claim.now()).total_seconds() if until else 0.0
    if 0 < seconds <= dispatch.AHEAD_SECONDS:
        dispatch.drain_after_commit(claim.queue, using=claim.using, delay_seconds=seconds)


def hand_back(claim: Claim, execution: Execution) -> None:
    """Give it to whoever comes next, at once: this worker is stopping, which counts as no crash."""
    with transaction.atomic(using=claim.using):
        released = {"token": None, "holder": "", "due_at": DatabaseNow(), "refused_since": None}
        if not claim.timers().update(**released, claims=F("claims") - 1):
            raise LeaseLostError
        _set(claim, execution)  # that a pass has begun: the next one must load the history
        dispatch.wake(claim.execution_id, queue=claim.queue, using=claim.using)


def close(
    claim: Claim,
    execution: Execution,
    ending: Ended,
    *,
    compensated: bool = False,
    deferred: Sequence[Checkpoint] = (),
    has_children: bool = False,
) -> None:
    """End the execution: its timer goes, its outcome stays. Raises LeaseLostError and writes nothing.

    deferred: checkpoints that are recorded with it.
    """
    status = ending.status
    changes: dict[str, Any] = {
        "status": status,
        "stuck_reason": "",
        "result": ending.result,
        "error": ending.error,
        "error_type": ending.error_type,
        "waiting_for": "",
        "waiting_until": None,
        "started_at": execution.started_at or claim.now(),
        "finished_at": claim.now(),
    }
    if compensated:
        changes["compensated"] = True
    # That a run completed is all in its row; an entry for each would be a tenth of what an execution writes.
    is_plain = status == Status.COMPLETED
    told = None if is_plain else _entry(execution.id, kind=status, before={"status": execution.status})
    is_plain_end = not (deferred or has_children or execution.parent_id)
    with compound.whole(claim.using) if is_plain_end else transaction.atomic(using=claim.using):
        children.wake_parent(execution.parent_id, using=claim.using)
        if not compound.close_execution(execution, changes, told, token=claim.token, using=claim.using):
            raise LeaseLostError
        for checkpoint in deferred:  # after the fence: another holder may have recorded their positions
            insert_checkpoint_of(claim, checkpoint)
        if has_children:
            _cancel_children(execution.id, using=claim.using)
        _tell(claim, execution, signals.execution_closed, status=status)


def _cancel_children(execution_id: UUID, *, using: str) -> None:
    """Ask the children that are to end with their parent, and those that a terminated one does not wait for any more.

    Those that have ended meanwhile have.
    """
    for child_id in children.left_open(execution_id, OnParentClose.CANCEL, OnParentClose.WAIT, using=using):
        with suppress(ExecutionClosedError):
            request_cancel(child_id, using=using, actor="", reason=f"its parent {execution_id} has ended")


def stick(claim: Claim, execution: Execution, reason: StuckReason, *, error: str, error_type: str, detail: str) -> None:
    """Set aside with a reason. A mismatch is looked at again from time to time; poison only when somebody acts."""
    again = reason == StuckReason.NONDETERMINISM
    with transaction.atomic(using=claim.using):
        due_at = DatabaseNow() + timedelta(seconds=STUCK_RETRY_SECONDS) if again else None
        held = not again
        if not claim.timers().update(
            token=None, holder="", due_at=due_at, held=held, claims=0, progress=0, refused_since=None
        ):
            raise LeaseLostError
        is_news = (execution.status, execution.stuck_reason) != (Status.STUCK, reason)
        _set(
            claim,
            execution,
            status=Status.STUCK,
            stuck_reason=reason,
            error=error,
            error_type=error_type,
            waiting_for=reason,
            waiting_until=None,
        )
        if is_news:
            audit(claim.using, execution.id, kind=f"stuck_{reason}", before={"status": execution.status})
            _tell(claim, execution, signals.execution_stuck, reason=reason, detail=detail)


def refuse(claim: Claim, execution: Execution) -> None:
    """No code for it here: leave it for a worker that has it, and say so once that has taken long."""
    with transaction.atomic(using=claim.using):  # given back, it may be run to its end by a worker that has the code
        if not claims.refuse(claim) or execution.status == Status.STUCK:
            return
        detail = f"a worker with {execution.workflow} version {execution.version}"
        _set(claim, execution, status=Status.STUCK, stuck_reason=StuckReason.NO_WORKER, waiting_for=detail)
        audit(claim.using, execution.id, kind="stuck_no_worker_for", before={"status": execution.status})
        _tell(claim, execution, signals.execution_stuck, reason=StuckReason.NO_WORKER, detail=detail)


def request_cancel(execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    """Ask it to stop at its next durable call. The first reason is kept.

    Raises ExecutionNotFoundError, ExecutionClosedError.
    """
    with transaction.atomic(using=using):
        timers = Timer.objects.using(using).filter(pk=execution_id)
        if not timers.bump():
            raise not_open(execution_id, using=using)
        executions = Execution.objects.using(using).filter(pk=execution_id)
        before = executions.values("status", "cancel_requested_at").get()
        if before["cancel_requested_at"] is None:
            executions.update(
                cancel_requested_at=DatabaseNow(),
                cancel_reason=reason,
                status=Case(When(status__in=KEPT_BY_CANCEL, then=F("status")), default=Value(Status.CANCELLING)),
            )
            if before["status"] == Status.PENDING:  # not before its time, but there is nothing to wait for any more
                timers.filter(token__isnull=True).update(due_at=DatabaseNow())
            audit(
                using,
                execution_id,
                kind="cancel_requested",
                actor=actor,
                reason=reason,
                before=_plain(before),
            )
        dispatch.wake(execution_id, queue=timers.values_list("queue", flat=True).get(), using=using)


def terminate(execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    """End it now, whatever it is doing: a worker on it can record nothing more.

    Raises ExecutionNotFoundError, ExecutionClosedError.
    """
    with transaction.atomic(using=using):
        executions = Execution.objects.using(using).filter(pk=execution_id)
        children.wake_parent(executions.values_list("parent_id", flat=True).first(), using=using)
        if not Timer.objects.using(using).filter(pk=execution_id)._raw_delete(using=using):
            raise not_open(execution_id, using=using)
        before = executions.values("status", "workflow").get()
        now = DatabaseNow()
        executions.update(
            status=Status.TERMINATED,
            stuck_reason="",
            waiting_for="",
            waiting_until=None,
            finished_at=now,
            cancel_reason=Case(When(cancel_reason="", then=Value(reason, TextField())), default=F("cancel_reason")),
        )
        _cancel_children(execution_id, using=using)
        audit(using, execution_id, kind=Status.TERMINATED, actor=actor, reason=reason, before=_plain(before))
        signals.send_on_commit(
            signals.execution_closed,
            sender=Execution,
            using=using,
            execution_id=execution_id,
            workflow=before["workflow"],
            status=Status.TERMINATED,
        )


def audit(
    using: str, execution_id: UUID, *, kind: str, actor: str = "", reason: str = "", before: dict[str, Any]
) -> None:
    """One line of the audit trail, in the transaction of the change it tells."""
    _entry(execution_id, kind=kind, actor=actor, reason=reason, before=before).save(using=using, force_insert=True)


def _entry(execution_id: UUID, **what: Any) -> AuditEntry:
    return AuditEntry(execution_id=execution_id, created_at=DatabaseNow(), **what)


def _set(claim: Claim, execution: Execution, **values: Any) -> None:
    values["started_at"] = execution.started_at or claim.now()
    Execution.objects.using(claim.using).filter(pk=execution.pk).update(**values)


def _tell(claim: Claim, execution: Execution, signal: Any, **facts: Any) -> None:
    signals.send_on_commit(
        signal,
        sender=Execution,
        using=claim.using,
        execution_id=execution.id,
        workflow=execution.workflow,
        **facts,
    )


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}
