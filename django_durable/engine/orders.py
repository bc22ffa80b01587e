"""Orders of people to one execution: which there are, when each may be given, and the frame that all of them share.

An order is one transaction: the timer row is locked first, so that a worker's commit comes before it or after it; what
stands is compared with what the order accepts; the change and its audit entry are written together. Of two orders that
exclude each other the second finds a status that it does not accept, and is refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from django_durable import dispatch
from django_durable.clock import DatabaseNow
from django_durable.engine import children, countdown
from django_durable.engine.audit import audit
from django_durable.engine.refusals import not_open
from django_durable.exceptions import ExecutionConflict, ExecutionNotFoundError
from django_durable.models import CLOSED, OPEN, Execution, Status, Timer

VERBS: dict[str, Verb] = {}  # by name, each from the file that carries it out
_AUDITED = (
    "status",
    "stuck_reason",
    "paused_at",
    "queue",
    "labels",
    "deadline_at",
    "cancel_requested_at",
    "finished_at",
)


@dataclass(frozen=True, slots=True, eq=False)
class Verb:
    """What somebody can order, named as in the client.

    done: the kind of its audit entry. accepts: the stored statuses in which it may be given. does: for people.
    while_running: also while a worker is on the execution. only_if: what else must hold, for people.
    """

    name: str
    done: str
    accepts: AbstractSet[Status]
    does: str = field(kw_only=True)
    while_running: bool = field(default=False, kw_only=True)
    only_if: str = field(default="", kw_only=True)

    def __post_init__(self) -> None:
        assert self.name not in VERBS, f"two verbs {self.name!r}"
        VERBS[self.name] = self


@dataclass(slots=True)
class Subject:
    """The execution that an order is given to; its rows are locked until the order's transaction ends.

    now: the database's. told: what the audit entry says beside the columns that have changed.
    """

    execution: Execution
    now: datetime
    using: str
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def timer(self) -> Timer:
        return self.execution.timer

    @property
    def is_open(self) -> bool:
        return self.execution.status not in CLOSED

    @property
    def is_leased(self) -> bool:
        return self.is_open and self.timer.is_leased(self.now)

    @property
    def standing(self) -> Status:
        """The stored status, or paused as soon as somebody has asked for that."""
        is_paused = self.is_open and self.execution.paused_at is not None  # it may have come too late
        return Status.PAUSED if is_paused else Status(self.execution.status)

    def change(self, **values: Any) -> None:
        """Change columns of the execution."""
        Execution.objects.using(self.using).filter(pk=self.execution.pk).update(**values)

    def change_timer(self, **values: Any) -> None:
        """Change columns of its timer; a worker is told when it has become due."""
        Timer.objects.using(self.using).filter(pk=self.execution.pk).update(**values)


@contextmanager
def give(
    verb: Verb, execution_id: UUID, *, using: str, actor: str, reason: str, parent_first: bool = False
) -> Iterator[Subject]:
    """Give an order: lock, compare, let the caller change what it changes, and write down who did it and why.

    Raises ExecutionNotFoundError, ExecutionConflict; ExecutionClosedError if it has ended and the verb is for open
    ones. Then nothing is written. Transaction: joins the caller's, or is its own.

    parent_first: for what ends it: the parent will be told, and locks go from the parent to the child.
    """
    with transaction.atomic(using=using):
        if parent_first:
            _lock_family(execution_id, using)
        subject = lock_for(verb, execution_id, using=using)
        before = _seen(execution_id, using)
        yield subject
        after = _seen(execution_id, using)
        changed = {name for name in _AUDITED if before[name] != after[name]}
        audit(
            using,
            execution_id,
            kind=verb.done,
            actor=actor,
            reason=reason,
            before={"status": before["status"], **{name: before[name] for name in sorted(changed)}},
            after={**{name: after[name] for name in sorted(changed)}, **subject.told},
        )
        _wake_if_due(execution_id, using)


def _lock_family(execution_id: UUID, using: str) -> None:
    """The count of the map that it is a child of, and its parent: what ``children.tell_parent`` will lock."""
    executions = Execution.objects.using(using).filter(pk=execution_id)
    for fan_out, parent_id in executions.values_list("fan_out", "parent_id"):
        countdown.lock(fan_out, using=using)
        children.lock_parent(parent_id, using=using)


def lock_for(verb: Verb, execution_id: UUID, *, using: str) -> Subject:
    """Its rows locked, and as the verb accepts it. Raises as ``give``. Transaction: must be called inside one."""
    subject = _locked(execution_id, using)
    _refuse_unless_accepted(verb, subject)
    return subject


def _locked(execution_id: UUID, using: str) -> Subject:
    """Under the lock of the timer row, or of the execution's own once that is gone."""
    timers = Timer.objects.using(using).filter(pk=execution_id)
    executions = Execution.objects.using(using).filter(pk=execution_id)
    is_open = timers.update(wake_seq=F("wake_seq") + 1)
    if not is_open and not executions.update(workflow=F("workflow")):
        raise ExecutionNotFoundError(execution_id)
    if not is_open and timers.exists():  # its lock should have come first: leave, and lock nothing more
        raise ExecutionConflict(f"Somebody has just re-opened execution {execution_id}; look at it again.")
    execution = executions.select_related("timer").annotate(database_now=DatabaseNow()).get()
    return Subject(execution, vars(execution)["database_now"], using)


def _refuse_unless_accepted(verb: Verb, subject: Subject) -> None:
    execution = subject.execution
    if subject.standing not in verb.accepts:
        if not subject.is_open and (not verb.accepts & CLOSED or subject.standing == Status.CONTINUED):
            raise not_open(execution.pk, using=subject.using)
        wanted = ", ".join(sorted(verb.accepts))
        raise ExecutionConflict(
            f"Execution {execution.pk} is {subject.standing}; {verb.name} takes one that is {wanted}. Nothing was "
            "changed."
        )
    if subject.is_leased and not verb.while_running:
        raise ExecutionConflict(
            f"A worker is on execution {execution.pk} at this moment, and {verb.name} would work against it. Pause it, "
            "or wait until it rests; nothing was changed."
        )


def _seen(execution_id: UUID, using: str) -> dict[str, Any]:
    values = Execution.objects.using(using).filter(pk=execution_id).values(*_AUDITED).get()
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in values.items()}


def _wake_if_due(execution_id: UUID, using: str) -> None:
    due = Timer.objects.using(using).filter(pk=execution_id, token__isnull=True).due()
    for queue in due.values_list("queue", flat=True):
        dispatch.wake(execution_id, queue=queue, using=using)


# Given by compare-and-set of their own: ``inbox``, ``updates``, ``transitions`` and ``repairs``.
Verb("signal", "", OPEN, does="hand it a message", while_running=True)
Verb("update", "", OPEN, does="change its state and get a reply", while_running=True)
Verb(
    "cancel", "cancel_requested", OPEN, does="ask it to clean up and end; the first reason is kept", while_running=True
)
for _name, _done, _does in (
    ("retry_compensation", "compensation_retried", "try its compensation once more"),
    ("skip_compensation", "compensation_skipped", "go on without its compensation"),
    ("resolve_compensation", "compensation_resolved", "record that its compensation was done by hand"),
):
    Verb(_name, _done, {Status.STUCK}, does=_does, only_if="it is stuck in a compensation")
