"""Taking checkpoints out of a history: replays no longer see them, people still do.

Always all of them from one position on. What is left is then the history of an earlier moment, but for waits and
attempts of other branches that were settled since, and an execution can go on from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from django.db.models import Q

from django_durable.engine import payloads
from django_durable.engine.fanout import Family
from django_durable.engine.history import FIELDS, Checkpoint, columns_of
from django_durable.engine.orders import Subject
from django_durable.exceptions import ExecutionConflict
from django_durable.models import Execution, Kind, SetAsideStep, Signal, Step, StepStatus
from django_durable.models.execution import ExecutionQuerySet

TOLD = 20  # names in an audit entry
_CONSUMING = (Kind.WAIT, Kind.UPDATE)


def cut(subject: Subject, history: Sequence[Checkpoint], *, at: int, by: str) -> list[Checkpoint]:
    """Set aside all from a position on, and give back the signals that they consumed.

    by: the kind of the audit entry. Whatever was started there has ended, see ``refuse_open_children``.
    """
    gone = list(history[at:])
    # Others will be started in their place.
    children_of(gone, using=subject.using).closed().filter(key_scope__isnull=False).update(key_scope=None)
    keep(subject.execution.pk, gone, at=subject.now, by=by, using=subject.using)
    consumed = [each.name for each in gone if each.kind in _CONSUMING]
    signals = Signal.objects.using(subject.using).filter(execution_id=subject.execution.pk, consumed_by__in=consumed)
    given_back = signals.update(consumed_by="", consumed_at=None)
    Step.objects.using(subject.using).history(subject.execution.pk).filter(position__gte=at).delete()
    subject.told |= told(gone)
    if given_back:
        subject.told["signals_given_back"] = given_back
    return gone


def keep(execution_id: UUID, gone: Iterable[Checkpoint], *, at: datetime, by: str, using: str) -> None:
    """Write down how checkpoints were, before they are taken away or changed."""
    rows = []
    for checkpoint in gone:
        columns = columns_of(checkpoint)
        told = {"checkpoint_id": columns.pop("id"), "set_aside_at": at, "set_aside_by": by}
        rows.append(SetAsideStep(execution_id=execution_id, **told, **columns))
    SetAsideStep.objects.using(using).bulk_create(rows, batch_size=500)


def told(gone: Sequence[Checkpoint]) -> dict[str, object]:
    """For the audit trail: names, no payloads."""
    names = [checkpoint.name for checkpoint in gone]
    return {"set_aside": len(names), "steps": names[:TOLD]} if names else {}


def children_of(checkpoints: Iterable[Checkpoint], *, using: str) -> ExecutionQuerySet:
    """The executions whose starts these record, and what they were continued as."""
    begun = [each for each in checkpoints if each.status == StepStatus.COMPLETED]
    single = [payloads.load(each.result or "") for each in begun if each.kind == Kind.CHILD]
    wanted = Q(pk__in=single) | Q(chain__in=single)
    for family in (Family(**payloads.load(each.result or "")) for each in begun if each.kind == Kind.MAP):
        wanted |= Q(pk__range=(family.first, family.last)) | Q(chain__range=(family.first, family.last))
    return Execution.objects.using(using).filter(wanted)


def refuse_open_children(subject: Subject, gone: Sequence[Checkpoint]) -> None:
    """They will be started anew, and have to be over by then. Raises ExecutionConflict."""
    left = children_of(gone, using=subject.using).open().values_list("pk", flat=True).first()
    if left is not None:
        raise ExecutionConflict(
            f"Child {left} of execution {subject.execution.pk} was started by a step that would be set aside, and is "
            "open. Cancel or terminate it and wait until it has ended; nothing was changed."
        )


def load(subject: Subject) -> list[Checkpoint]:
    """The history, with the rows locked behind that of the timer or the execution."""
    rows = Step.objects.using(subject.using).history(subject.execution.pk)
    return [Checkpoint(*row) for row in rows.values_list(*FIELDS)]


def find(subject: Subject, history: Sequence[Checkpoint], step: int | str) -> Checkpoint:
    """A checkpoint by position or name. Raises ExecutionConflict."""
    for checkpoint in history:
        if step in (checkpoint.position, checkpoint.name):
            return checkpoint
    names = ", ".join(repr(each.name) for each in history[:TOLD]) or "nothing"
    raise ExecutionConflict(
        f"Execution {subject.execution.pk} has no step {step!r}: {names} is recorded. Nothing was changed."
    )
