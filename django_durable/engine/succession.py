"""The end of an execution that goes on as another one, and the start of that: one transaction."""

from __future__ import annotations

from django.db import transaction

from django_durable import signals
from django_durable.engine import children, log_lines, slots, transitions
from django_durable.engine.audit import audit
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import insert_checkpoint_of
from django_durable.engine.new_start import NewStart
from django_durable.exceptions import LeaseLostError
from django_durable.models import AuditKind, Execution, Signal, Status, Timer


def continue_as_new(claim: Claim, new: NewStart, *checkpoints: Checkpoint, has_children: bool = False) -> bool:
    """End it and start its successor, which takes over all that is still to be done; both or neither.

    Signals need not be waited out: under the lock of the timer row none can come, and the pending ones move with their
    numbers. False: a cancellation has come first, nothing is written. Raises LeaseLostError.
    """
    with transaction.atomic(using=claim.using):
        old = _taken_over(claim)
        if old.cancel_requested_at is not None:
            return False
        successor = _inherited(new, old)
        Execution.objects.using(claim.using).filter(pk=old.pk).update(
            status=Status.CONTINUED,
            stuck_reason="",
            key=None,  # there is one for it; the chain leads there
            key_scope=None,
            chain=successor.chain,
            paused_at=None,
            waiting_for="",
            waiting_until=None,
            started_at=old.started_at or claim.now(),
            finished_at=claim.now(),
        )
        for checkpoint in checkpoints:
            insert_checkpoint_of(claim, checkpoint)
        assert new.insert(using=claim.using), "the key was ours, and is taken"
        if old.timer.wake_seq:
            Signal.objects.using(claim.using).pending(old.pk).update(execution_id=successor.pk)
        Timer.objects.using(claim.using).filter(pk=old.pk)._raw_delete(using=claim.using)
        if old.limited:
            slots.take_over(old.pk, successor.pk, using=claim.using)
        if has_children:
            transitions.cancel_children(old.pk, using=claim.using)
        kind, before, after = (
            AuditKind.CONTINUED,
            {"status": old.status},
            {"status": Status.CONTINUED, "as": successor.pk},
        )
        audit(claim.using, old.pk, kind=kind, before=before, after=after)
        log_lines.store(claim)
        transitions.tell(claim, old, signals.execution_closed, status=Status.CONTINUED)
    return True


def _taken_over(claim: Claim) -> Execution:
    """The execution and its timer, which stays locked; its parent's before it, as in every end of a child."""
    executions = Execution.objects.using(claim.using).filter(pk=claim.execution_id)
    children.lock_parent(executions.values_list("parent_id", flat=True).first(), using=claim.using)
    if not claim.timers().update(token=claim.token):
        raise LeaseLostError
    return executions.without_payloads().select_related("timer").get()


def _inherited(new: NewStart, old: Execution) -> Execution:
    """Everything but the input and what this run itself has made."""
    successor = new.execution
    for field in ("key", "key_scope", "input_hash", "queue", "labels", "deadline_at", "subject_type", "subject_id"):
        setattr(successor, field, getattr(old, field))
    for field in ("parent_id", "on_parent_close", "depth", "limited"):
        setattr(successor, field, getattr(old, field))
    successor.chain = old.chain or old.pk
    if new.inherited is not None:
        successor.started_at = new.inherited.started_at  # so its first pass looks for a history
    if old.paused_at is not None:
        successor.paused_at, successor.status = old.paused_at, Status.PAUSED
        new.timer.held, new.timer.due_at = True, None
    new.timer.queue, new.timer.priority = old.timer.queue, old.timer.priority
    new.timer.wake_seq = old.timer.wake_seq  # the numbers of its signals go on from there
    return successor
