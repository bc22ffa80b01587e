"""Retrying: an execution that has ended without success, or is stuck, goes on from its checkpoints.

What would make it end the same way again is set aside: the call that failed or was interrupted, the record of the
rollback, and all behind. Steps that were undone run again, so all from the first of them on is set aside too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Max

from django_durable.clock import DatabaseNow
from django_durable.definitions import registry
from django_durable.engine import causes, countdown, families, going_back, patching, payloads, set_aside
from django_durable.engine.history import RETRIED, Checkpoint
from django_durable.engine.orders import Subject, Verb, give
from django_durable.engine.schedules import settling
from django_durable.engine.starting import priority_of
from django_durable.exceptions import ExecutionConflict, UnknownWorkflowError
from django_durable.models import Execution, Priority, Signal, Status, Timer

RETRY = Verb(
    "retry",
    RETRIED,
    {
        Status.STUCK,
        Status.FAILED,
        Status.CANCELLED,
        Status.TIMED_OUT,
        Status.TERMINATED,
        Status.COMPENSATION_FAILED,
    },
    does="let it go on from its checkpoints, or from an earlier one",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """from_step: None for where it failed. timeout_seconds: a new deadline from now. patch: results by step name.

    compensates: what lies behind from_step is undone before it is set aside.
    """

    from_step: int | str | None = None
    timeout_seconds: float | None = None
    patch: Mapping[str, Any] = field(default_factory=dict)
    compensates: bool = False


def retry(execution_id: UUID, how: How, *, using: str, actor: str, reason: str) -> None:
    """Go on. Raises ExecutionConflict, ExecutionNotFoundError, InvalidOptionError, CodecError."""
    with (
        families.parent_locked(execution_id, using=using) as parent,
        give(RETRY, execution_id, using=using, actor=actor, reason=reason) as subject,
    ):
        families.refuse_if_parent_knows(subject, parent)
        _go_on(subject, how, actor=actor, reason=reason)


def _go_on(subject: Subject, how: How, *, actor: str, reason: str) -> None:
    if subject.execution.input == payloads.ERASED:
        raise ExecutionConflict(f"What execution {subject.execution.pk} was given has been erased; start another one.")
    history = set_aside.load(subject)
    at = _place(subject, history, how.from_step)
    gone = [] if at is None else history[at:]
    set_aside.refuse_open_children(subject, gone)
    if at is not None and how.compensates:
        going_back.order(subject, history, at, how.patch)
        left = history
    else:
        if at is not None:
            set_aside.cut(subject, history, at=at, by=RETRY.done)
        else:
            patching.try_compensation_again(subject)
        left = [*history[:at], *patching.put_back(subject, gone, how.patch)]
    subject.change(retried_at=subject.now)
    status = _status(left, is_undoing=how.compensates)
    if subject.is_open:
        _look_again(subject, how, status)
    else:
        _reopen(subject, how, left, status)
        countdown.take_back(subject.execution.fan_out, using=subject.using)
        families.retry_children(subject, history[:at], gone, retry=_retried_with(actor, reason))


def _retried_with(actor: str, reason: str) -> Any:
    def retry_child(execution_id: UUID, using: str) -> None:
        with give(RETRY, execution_id, using=using, actor=actor, reason=reason) as subject:
            _go_on(subject, How(), actor=actor, reason=reason)

    return retry_child


def _place(subject: Subject, history: Sequence[Checkpoint], from_step: int | str | None) -> int | None:
    """The position from which on to set aside; None: nothing."""
    if from_step is not None:
        wanted = set_aside.find(subject, history, from_step).position
        whole = causes.with_undone(history, wanted)
        if whole < wanted:
            raise ExecutionConflict(
                f"Step {history[whole].name!r} of execution {subject.execution.pk} has been undone and has to run "
                "again: go back to it, or further. Nothing was changed."
            )
        return wanted
    if subject.is_open or subject.execution.status == Status.TERMINATED:
        return None
    at = causes.of_end(subject.execution, history)
    return None if at is None else causes.with_undone(history, at)


def _status(history: Sequence[Checkpoint], *, is_undoing: bool) -> Status:
    if is_undoing or causes.mark_of(history) is not None or causes.order_in(history) is not None:
        return Status.COMPENSATING
    return Status.WAITING if history else Status.PENDING


def _look_again(subject: Subject, how: How, status: Status) -> None:
    """Of one that is stuck: now, as if it had never been looked at."""
    if how.timeout_seconds is not None:
        subject.change(deadline_at=_deadline(subject, how))
    subject.change(
        status=Status.WAITING if status == Status.PENDING else status,
        stuck_reason="",
        error=None,
        error_type="",
        waiting_for="",
        waiting_until=None,
    )
    subject.change_timer(
        due_at=subject.now, held=False, token=None, holder="", claims=0, progress=0, refused_since=None
    )


def _reopen(subject: Subject, how: How, history: Sequence[Checkpoint], status: Status) -> None:
    execution, using = subject.execution, subject.using
    subject.change(
        status=status,
        started_at=history[0].started_at if history else None,  # it says whether there is a history to load
        finished_at=None,
        result=None,
        error=None,
        error_type="",
        cancel_requested_at=None,
        cancel_reason="",
        paused_at=None,
        compensated=False,
        deadline_at=_deadline(subject, how),
    )
    latest = Signal.objects.using(using).filter(execution_id=execution.pk).aggregate(seq=Max("seq"))["seq"]
    Timer.objects.using(using).create(
        execution_id=execution.pk,
        queue=execution.queue,
        priority=_priority(execution),
        due_at=DatabaseNow(),
        wake_seq=(latest or 0) + 1,  # numbers of signals are used once
    )
    settling.reopen(execution.pk, using=using)


def _deadline(subject: Subject, how: How) -> Any:
    """A new one, or the old one unless it is over."""
    if how.timeout_seconds is not None:
        return subject.now + timedelta(seconds=how.timeout_seconds)
    kept = subject.execution.deadline_at
    return kept if kept is not None and kept > subject.now else None


def _priority(execution: Execution) -> Priority:
    """As its workflow says: that of its own start went with its timer."""
    try:
        return priority_of(registry.find(execution.workflow, execution.version))
    except UnknownWorkflowError:
        return Priority.NORMAL
