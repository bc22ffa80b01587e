"""The only code, with ``repairs``, ``succession``, ``pausing``, ``forcing`` and ``retrying``, that changes a status.

======================= ============================================ =======================
from                    to                                           by
======================= ============================================ =======================
any open                sleeping, waiting, retrying                  ``park``
any open                compensating                                 ``begin_compensating``, ``park``, ``repairs``
any open                completed, failed, cancelled, timed_out      ``close``
any open                stuck                                        ``stick``, ``refuse``
any open                continued                                    ``succession``
any open                terminated, failed, completed                ``forcing``
any open                cancelling                                   ``request_cancel``
any open                paused                                       ``park``, ``pausing``
stuck, closed           waiting, pending, compensating               ``retrying``
======================= ============================================ =======================

Closed is final, but for a retry. ``running`` is never written; a live lease says it. Each function is one transaction,
locks the timer row first and writes nothing when that is not its to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Case, F, Value, When

from django_durable import dispatch, signals
from django_durable.clock import DatabaseNow
from django_durable.engine import chains, children, claims, compound, countdown, log_lines, slots
from django_durable.engine.audit import audit, entry, entry_if_kept
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import fence, insert_checkpoint_of, update_checkpoint
from django_durable.engine.outcomes import Ended, Park
from django_durable.engine.refusals import not_open
from django_durable.exceptions import LeaseLostError
from django_durable.models import AuditEntry, AuditKind, Execution, OnParentClose, Status, StuckReason, Timer
from django_durable.models.timer import TimerQuerySet

KEPT_BY_CANCEL = (Status.STUCK, Status.COMPENSATING)
MENDED_BY_A_DEPLOY = (StuckReason.NONDETERMINISM, StuckReason.HISTORY)
STUCK_RETRY_SECONDS = 60.0  # how often a deploy of matching code is looked for


def park(claim: Claim, execution: Execution, park: Park) -> bool:
    """Wait, unless news has come since it was decided to: then nothing is written and False comes back.

    This compare-and-set is what makes a lost wake-up impossible on every database and isolation level.
    Raises LeaseLostError if the lease is gone.
    """
    is_paused = execution.paused_at is not None
    with transaction.atomic(using=claim.using):
        if not fence(
            claim,
            seen=park.wake_seq,
            token=None,
            holder="",
            due_at=None if is_paused else park.until,
            claims=0,
            progress=0,
            held=is_paused,
            refused_since=None,
        ):
            return False
        status = _shown(park.status, execution)
        _set(
            claim,
            execution,
            status=status,
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
        if execution.limited:
            slots.lend(execution, using=claim.using)
            # Whoever gives is news, so this pass has seen it and does not want it: the race is decided, for example.
            slots.pass_up(execution.id, using=claim.using)
        if park.cancels_children:  # under the fence: a worker that has lost its lease must not stop them
            cancel_children(execution.id, using=claim.using)
        log_lines.store(claim)
        if not is_paused:
            _announce(claim, park.until)
        tell_unstuck(claim, execution)
        after = {"status": status, "waiting_for": park.waiting_for, "waiting_until": park.until}
        audit(claim.using, execution.id, kind=AuditKind.PARKED, before={"status": execution.status}, after=after)
        tell(claim, execution, signals.execution_parked, status=park.status, waiting_for=park.waiting_for)
    return True


def _shown(status: Status, execution: Execution) -> Status:
    if execution.paused_at is not None:
        return Status.PAUSED
    is_cancelling = execution.cancel_requested_at is not None and status != Status.COMPENSATING
    return Status.CANCELLING if is_cancelling else status


def tell_unstuck(claim: Claim, execution: Execution) -> None:
    """What was stuck when this pass began goes on."""
    if execution.status != Status.STUCK:
        return
    before = {"status": Status.STUCK, "stuck_reason": execution.stuck_reason}
    audit(claim.using, execution.id, kind=AuditKind.UNSTUCK, before=before)
    tell(claim, execution, signals.execution_unstuck, reason=execution.stuck_reason)


def begin_compensating(claim: Claim, *checkpoints: Checkpoint) -> bool:
    """Record that the workflow has ended without success and how; False: news has come first, nothing is written.

    Only then may a compensation run: whatever the code does at the next replay, the end is decided.
    """
    with transaction.atomic(using=claim.using):
        if not fence(claim):
            return False
        # It may have been stuck until this pass.
        Execution.objects.using(claim.using).filter(pk=claim.execution_id).update(
            status=Status.COMPENSATING, stuck_reason="", error=None, error_type=""
        )
        for checkpoint in checkpoints:
            insert_checkpoint_of(claim, checkpoint)
        audit(claim.using, claim.execution_id, kind=AuditKind.COMPENSATING, after={"status": Status.COMPENSATING})
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
        log_lines.store(claim)
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
    after = {"status": status, "error_type": ending.error_type} if ending.error_type else {"status": status}
    told = entry_if_kept(execution.id, kind=status, before={"status": execution.status}, after=after)
    has_more = deferred or has_children or claim.log_lines or execution.status == Status.STUCK
    is_plain_end = not (has_more or execution.parent_id or execution.fan_out or execution.limited)
    with compound.whole(claim.using) if is_plain_end else transaction.atomic(using=claim.using):
        turn = children.tell_parent(execution, has_failed=status != Status.COMPLETED, using=claim.using)
        if not compound.close_execution(execution, changes, told, token=claim.token, using=claim.using):
            raise LeaseLostError
        if turn is not None:
            countdown.hand_on(turn, queue=claim.queue, using=claim.using)
        if execution.limited:
            slots.give_back(execution.id, using=claim.using)
        for checkpoint in deferred:  # after the fence: another holder may have recorded their positions
            insert_checkpoint_of(claim, checkpoint)
        if has_children:
            cancel_children(execution.id, using=claim.using)
        log_lines.store(claim)
        tell_unstuck(claim, execution)
        tell(claim, execution, signals.execution_closed, status=status)


def cancel_children(execution_id: UUID, *, using: str) -> None:
    """Ask the children that are to end with their parent, and those that a stopped one does not leave to run on.

    Those that have ended meanwhile have; those that were asked before are left alone.
    """
    left = children.left_open(execution_id, OnParentClose.CANCEL, OnParentClose.WAIT, using=using)
    for child_ids in children.pages(left):
        request_cancels(child_ids, using=using, reason=f"its parent {execution_id} has ended")


def stick(claim: Claim, execution: Execution, reason: StuckReason, *, error: str, error_type: str, detail: str) -> None:
    """Set aside with a reason. What a deploy may mend is looked at again from time to time, the rest when told to."""
    again = reason in MENDED_BY_A_DEPLOY
    with transaction.atomic(using=claim.using):
        due_at = DatabaseNow() + timedelta(seconds=STUCK_RETRY_SECONDS) if again else None
        held = not again
        if not claim.timers().update(
            token=None, holder="", due_at=due_at, held=held, claims=0, progress=0, refused_since=None
        ):
            raise LeaseLostError
        if execution.limited:  # who knows how long it will take
            slots.give_back(execution.id, using=claim.using)
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
        log_lines.store(claim)
        if is_news:
            _audit_stuck(claim, execution, reason)
            tell(claim, execution, signals.execution_stuck, reason=reason, detail=detail)


def refuse(claim: Claim, execution: Execution) -> None:
    """No code for it here: leave it for a worker that has it, and say so once that has taken long."""
    with transaction.atomic(using=claim.using):  # given back, it may be run to its end by a worker that has the code
        if not claims.refuse(claim) or execution.status == Status.STUCK:
            return
        detail = f"a worker with {execution.workflow} version {execution.version}"
        if execution.limited:  # who knows how long it will take
            slots.give_back(execution.id, using=claim.using)
        _set(claim, execution, status=Status.STUCK, stuck_reason=StuckReason.NO_WORKER, waiting_for=detail)
        _audit_stuck(claim, execution, StuckReason.NO_WORKER)
        tell(claim, execution, signals.execution_stuck, reason=StuckReason.NO_WORKER, detail=detail)


def _audit_stuck(claim: Claim, execution: Execution, reason: StuckReason) -> None:
    after = {"status": Status.STUCK, "stuck_reason": reason}
    audit(claim.using, execution.id, kind=f"stuck_{reason}", before={"status": execution.status}, after=after)


def request_cancel(execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    """Ask it, or what it was continued as, to stop at its next durable call. The first reason is kept.

    Raises ExecutionNotFoundError, ExecutionClosedError.
    """
    chains.follow(partial(_request_cancel, using=using, actor=actor, reason=reason), execution_id)


def _request_cancel(execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    with transaction.atomic(using=using):
        timers = Timer.objects.using(using).filter(pk=execution_id)
        if not timers.bump():
            raise not_open(execution_id, using=using)
        executions = Execution.objects.using(using).filter(pk=execution_id)
        before = executions.values("status", "cancel_requested_at", "paused_at").get()
        if before["cancel_requested_at"] is None:
            executions.update(**_cancelling(reason))
            if before["paused_at"] is not None:  # it is to clean up now
                timers.filter(token__isnull=True).update(due_at=DatabaseNow(), held=False)
            if before["status"] == Status.PENDING:  # not before its time, but there is nothing to wait for any more
                timers.filter(token__isnull=True).update(due_at=DatabaseNow())
            after = _after_cancel(before["status"])
            kind = AuditKind.CANCEL_REQUESTED
            audit(using, execution_id, kind=kind, actor=actor, reason=reason, before=before, after=after)
            _tell_cancel(execution_id, using=using, actor=actor, reason=reason)
        dispatch.wake(execution_id, queue=timers.values_list("queue", flat=True).get(), using=using)


def request_cancels(execution_ids: Sequence[UUID], *, using: str, reason: str) -> None:
    """``request_cancel`` for some at once, in few statements; those that have ended, or were asked, are left alone."""
    with transaction.atomic(using=using):
        # In one order, so that two who cancel, or one and a child that lets the next begin, cannot wait for each other.
        timers = Timer.objects.using(using).filter(pk__in=execution_ids).order_by("pk").select_for_update()
        live = list(timers.values_list("pk", flat=True))
        executions = Execution.objects.using(using).filter(pk__in=live, cancel_requested_at__isnull=True)
        asked = {pk: (status, queue) for pk, status, queue in executions.values_list("pk", "status", "queue")}
        if not asked:
            return
        paused = list(executions.filter(paused_at__isnull=False).values_list("pk", flat=True))
        pending = [pk for pk, (status, _) in asked.items() if status == Status.PENDING]
        news = TimerQuerySet.news()
        begins = When(pk__in=[*pending, *paused], token__isnull=True, then=DatabaseNow())
        news["due_at"] = Case(begins, default=news["due_at"]) if pending or paused else news["due_at"]
        if paused:
            Timer.objects.using(using).filter(pk__in=paused).update(held=False)
        Timer.objects.using(using).filter(pk__in=list(asked)).update(**news)
        executions.filter(pk__in=list(asked)).update(**_cancelling(reason))
        AuditEntry.objects.using(using).bulk_create(
            entry(
                pk,
                kind=AuditKind.CANCEL_REQUESTED,
                reason=reason,
                before={"status": status, "cancel_requested_at": None},
                after=_after_cancel(status),
            )
            for pk, (status, _) in asked.items()
        )
        for pk in asked:
            _tell_cancel(pk, using=using, actor="", reason=reason)
        for queue in {queue for _, queue in asked.values()}:
            dispatch.drain_after_commit(queue, using=using, delay_seconds=0.0)


def _cancelling(reason: str) -> dict[str, Any]:
    return {
        "cancel_requested_at": DatabaseNow(),
        "cancel_reason": reason,
        "paused_at": None,
        "status": Case(When(status__in=KEPT_BY_CANCEL, then=F("status")), default=Value(Status.CANCELLING)),
    }


def _after_cancel(status: str) -> dict[str, Any]:
    return {"status": status if status in KEPT_BY_CANCEL else Status.CANCELLING}


def _tell_cancel(execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    asked = {"execution_id": execution_id, "actor": actor, "reason": reason}
    signals.send_on_commit(signals.cancel_requested, sender=Execution, using=using, **asked)


def _set(claim: Claim, execution: Execution, **values: Any) -> None:
    values["started_at"] = execution.started_at or claim.now()
    Execution.objects.using(claim.using).filter(pk=execution.pk).update(**values)


def tell(claim: Claim, execution: Execution, signal: Any, **facts: Any) -> None:
    signals.send_on_commit(
        signal,
        sender=Execution,
        using=claim.using,
        execution_id=execution.id,
        workflow=execution.workflow,
        **facts,
    )
