"""Coalescing: a start joins one of its key that has not begun, or begins a new one; never both and never neither.

``coalesce_key`` is on the row of the last start of that key, whatever has become of it, and the next one takes it away
where it cannot join; so there is one such row at the most, and nothing has to be cleared at a claim. Whether it has
begun is asked of its timer, under the lock that a claim needs: a claim that came first is seen there, and one that
comes later waits for the caller's commit and then loads the new input. Locks: ``Timer``, then ``Execution``, as
everywhere.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, cast

from django.db import transaction
from django.db.models import F

from django_durable import dispatch
from django_durable.clock import DatabaseNow
from django_durable.coalesce import Coalesce
from django_durable.engine import slots
from django_durable.engine.new_start import NewStart
from django_durable.exceptions import ExecutionConflict
from django_durable.models import Execution, Slot, Status, Timer

MOST_TRIES = 10  # each is lost to another start, which may be joined the next time
_TAKEN_ON = ("version", "input", "labels", "subject_type", "subject_id")


def start(new: NewStart, how: Coalesce, timeout_seconds: float | None, *, using: str) -> Execution:
    """Join or insert; the row says by its ``disposition`` which. Raises ExecutionConflict.

    Transaction: the caller's, or its own. A claim of what it joins waits for that to end.
    """
    with transaction.atomic(using=using):
        for _ in range(MOST_TRIES):
            last = _last(new.execution, using)
            if last is not None:
                if _join(last, new, how, timeout_seconds, using=using):
                    last.disposition = "coalesced"
                    return last
                if not _supersede(last, new, how, timeout_seconds, using=using):
                    continue
            if new.insert(using=using):
                return new.execution
    raise ExecutionConflict(
        f"Starts of {new.execution.workflow!r} with the coalescing key {how.key!r} came in the way of each other; "
        "start again in a new transaction."
    )


def _last(wanted: Execution, using: str) -> Execution | None:
    """By a plain SELECT before the insert; see ``keys.free``."""
    executions = Execution.objects.using(using).without_payloads().select_related("timer")
    found = executions.filter(workflow=wanted.workflow, coalesce_key=wanted.coalesce_key)
    return found.annotate(database_now=DatabaseNow()).first()


def _join(last: Execution, new: NewStart, how: Coalesce, timeout_seconds: float | None, *, using: str) -> bool:
    """False: it has begun, or is about to end. Nothing is written then."""
    if last.status != Status.PENDING or not hasattr(last, "timer"):
        return False
    timers = Timer.objects.using(using).filter(pk=last.pk)
    if not timers.filter(claims=0, token__isnull=True).update(claims=F("claims")):  # the lock, and the question
        return False
    due_at = _due(last, how)
    changes: dict[str, Any] = {}
    if how.mode != "skip":
        changes = {name: getattr(new.execution, name) for name in _TAKEN_ON}
        changes["deadline_at"] = _deadline(max(due_at, _now(last)), timeout_seconds)
    pending = Execution.objects.using(using).filter(
        pk=last.pk, status=Status.PENDING, started_at__isnull=True, cancel_requested_at__isnull=True
    )
    if not (pending.update(**changes) if changes else pending.exists()):
        return False
    for name, value in changes.items():
        setattr(last, name, value)
    if how.mode == "debounce":
        timers.update(due_at=due_at, held=True)
        if last.limited:  # it does not wait for them now; what it has reserved of a rate is its own
            held = Slot.objects.using(using).filter(execution_id=last.pk, ready_at__isnull=True)
            slots.give_back(last.pk, using=using, only=list(held.values_list("limit", flat=True)))
    elif changes and last.limited:  # by its new input it may need another slot than it waits for
        timers.update(due_at=DatabaseNow())
    if due_at <= _now(last):  # a worker may have passed over the locked row
        dispatch.wake(last.pk, queue=last.timer.queue, using=using)
    return True


def _due(last: Execution, how: Coalesce) -> datetime:
    """When the joined one begins."""
    due_at = (None if last.limited else last.timer.due_at) or _now(last)  # at a limit that is its deadline
    if how.mode != "debounce":
        return due_at
    due_at = _now(last) + timedelta(seconds=how.period_seconds)
    if how.max_wait_seconds is None:
        return due_at
    return min(due_at, last.created_at + timedelta(seconds=how.max_wait_seconds))


def _supersede(last: Execution, new: NewStart, how: Coalesce, timeout_seconds: float | None, *, using: str) -> bool:
    """Take the coalescing key of one that cannot be joined; until the commit nobody else can. False: somebody did."""
    mine = Execution.objects.using(using).filter(pk=last.pk, coalesce_key=how.key)
    if not mine.update(coalesce_key=None):
        return False
    free_at = last.next_start_at
    if how.mode == "throttle" and free_at is not None and free_at > _now(last):
        new.timer.due_at, new.timer.held = free_at, True
        new.execution.next_start_at = free_at + timedelta(seconds=how.period_seconds)
        new.execution.deadline_at = _deadline(free_at, timeout_seconds)
    return True


def _deadline(due_at: datetime, timeout_seconds: float | None) -> datetime | None:
    return None if timeout_seconds is None else due_at + timedelta(seconds=timeout_seconds)


def _now(last: Execution) -> datetime:
    return cast(datetime, last.database_now)  # type: ignore[attr-defined]
