"""Retrying in a family: a child whose parent may have been told of its end, and the children of a parent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

from django.db import transaction
from django.db.models import F

from django_durable.clock import DatabaseNow
from django_durable.engine import countdown, payloads, set_aside
from django_durable.engine.history import Checkpoint
from django_durable.engine.orders import Subject
from django_durable.exceptions import ExecutionConflict
from django_durable.models import SETTLED, Execution, Kind, Status, Step, StepStatus, Timer

_STOPPED = (Status.CANCELLED, Status.TERMINATED)


@contextmanager
def parent_locked(execution_id: UUID, *, using: str) -> Iterator[Timer | None]:
    """A transaction that begins with the locks of its map's count and the open parent's timer, as every end does."""
    with transaction.atomic(using=using):
        rows = Execution.objects.using(using).filter(pk=execution_id).values_list("fan_out", "parent_id")
        fan_out, parent_id = rows.first() or (None, None)
        countdown.lock(fan_out, using=using)
        timers = Timer.objects.using(using).filter(pk=parent_id)
        is_open = parent_id is not None and timers.update(wake_seq=F("wake_seq") + 1)
        yield timers.annotate(database_now=DatabaseNow()).get() if is_open else None


def refuse_if_parent_knows(subject: Subject, parent: Timer | None) -> None:
    """A parent that is open may go on only with the end of its child that it was told, or will be told next."""
    if parent is None or subject.is_open:
        return
    execution = subject.execution
    if parent.is_leased(subject.now):
        raise ExecutionConflict(
            f"A worker is on execution {parent.pk}, the parent of {execution.pk}, at this moment. Nothing was changed."
        )
    recorded = Step.objects.using(subject.using).history(parent.pk)
    if recorded.filter(kind=Kind.BACK).exists():
        raise ExecutionConflict(
            f"Execution {parent.pk}, the parent of {execution.pk}, is going back to an earlier step, and may start "
            "this child anew. Wait until it has gone on. Nothing was changed."
        )
    joins = recorded.filter(kind=Kind.JOIN, status__in=SETTLED)
    if execution.fan_out is not None or joins.filter(target__in=[str(execution.pk), str(execution.chain)]).exists():
        raise ExecutionConflict(
            f"Execution {execution.pk} is a child of {parent.pk}, which is open and has been told of that end. "
            "Retry the parent once it has ended. Nothing was changed."
        )


def retry_children(
    subject: Subject, kept: Sequence[Checkpoint], gone: Sequence[Checkpoint], *, retry: Callable[[UUID, str], None]
) -> None:
    """Retry the children that it failed by, and those that its own end has stopped: it will wait for them again."""
    joined = {each.target for each in kept if each.kind == Kind.JOIN and each.is_settled}
    again = {each.target for each in gone if each.kind == Kind.JOIN}
    for start in kept:
        address = _address(start)
        if address is None or address in joined:
            continue
        children = set_aside.children_of([start], using=subject.using).exclude(status=Status.COMPLETED)
        for child in children.exclude(status=Status.CONTINUED).without_payloads().order_by("pk"):
            is_stopped = child.cancel_reason == f"its parent {subject.execution.pk} has ended"
            if not child.is_closed and (is_stopped or start.kind == Kind.MAP):
                raise ExecutionConflict(f"Its child {child.pk} has not ended yet; wait for that. Nothing was changed.")
            if child.is_closed and (address in again or (is_stopped and child.status in _STOPPED)):
                retry(child.pk, subject.using)


def _address(start: Checkpoint) -> str | None:
    """The target of the wait for what was started there."""
    if start.status != StepStatus.COMPLETED or start.kind not in (Kind.CHILD, Kind.MAP):
        return None
    kept = payloads.load(start.result or "")
    return str(kept["first"] if start.kind == Kind.MAP else kept)
