"""New executions that come from another one: the same anew, or the same up to a step. ``origin`` leads back.

The one they come from stays as it is, but for a key that a restart takes over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from django_durable.clock import DatabaseNow
from django_durable.definitions import WorkflowDefinition, registry
from django_durable.engine import causes, history, patching, payloads, set_aside
from django_durable.engine.history import Checkpoint
from django_durable.engine.new_start import NewStart
from django_durable.engine.orders import Subject, Verb, give
from django_durable.engine.starting import encoded_input, priority_of
from django_durable.exceptions import ExecutionConflict
from django_durable.models import CLOSED, OPEN, Execution, Kind, Status, Step, Timer
from django_durable.models.identity import new_id

RESTART = Verb(
    "restart", "restarted", CLOSED - {Status.CONTINUED}, does="start the same anew, with the same input and key"
)
FORK = Verb("fork", "forked", CLOSED | OPEN, does="start a copy that goes on from one of its steps")
_KEPT = ("workflow", "queue", "labels", "subject_type", "subject_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """from_step: the first that the copy does not take over. input: arguments by name. patch: results by step name."""

    from_step: int | str
    input: Mapping[str, Any] | None = None
    patch: Mapping[str, Any] = field(default_factory=dict)


def restart(execution_id: UUID, *, using: str, actor: str, reason: str) -> Execution:
    """Raises ExecutionConflict, ExecutionNotFoundError, UnknownWorkflowError, TypeError."""
    with give(RESTART, execution_id, using=using, actor=actor, reason=reason) as subject:
        old = subject.execution
        definition = registry.find(old.workflow)
        given = payloads.load(old.input)
        definition.check_arguments(tuple(given["args"]), given["kwargs"])
        if old.key_scope is not None:
            subject.change(key_scope=None)
        new = _like(subject, definition, version=definition.version)
        new.input = payloads.copied(old.input)
        if old.key_scope is not None:  # else its key may be another's by now
            new.key, new.key_scope, new.input_hash = old.key, old.key_scope, old.input_hash
        return _insert(subject, definition, new, told="restarted_as")


def fork(execution_id: UUID, how: Fork, *, using: str, actor: str, reason: str) -> Execution:
    """Raises ExecutionConflict, ExecutionNotFoundError, UnknownWorkflowError, InvalidOptionError, CodecError."""
    with give(FORK, execution_id, using=using, actor=actor, reason=reason) as subject:
        old = subject.execution
        if how.input is None and old.input == payloads.ERASED:
            raise ExecutionConflict(f"What execution {old.pk} was given has been erased: give input=.")
        definition = registry.find(old.workflow, old.version)
        recorded = set_aside.load(subject)
        is_end = how.from_step == len(recorded)  # then all that is recorded is copied
        at = len(recorded) if is_end else set_aside.find(subject, recorded, how.from_step).position
        copied = _patched(subject, recorded, at, how.patch)
        _refuse_unless_whole(subject, recorded, copied)
        new = _like(subject, definition, version=old.version)
        new.random_seed = old.random_seed or old.pk
        if how.input is not None:
            new.input = payloads.keep(encoded_input(definition, (), dict(how.input)))
        else:
            new.input = payloads.copied(old.input)
        if copied:
            new.started_at, new.status = copied[0].started_at, Status.WAITING  # so its first pass loads the history
        made = _insert(subject, definition, new, told="forked_as")
        _copy(subject, made, copied, originals=recorded, patch=how.patch)
        return made


def _like(subject: Subject, definition: WorkflowDefinition[..., Any], *, version: int) -> Execution:
    """A new execution with what the old one was given from outside; as much time, from now."""
    old = subject.execution
    new = Execution(version=version, created_at=DatabaseNow(), origin=old.pk)
    for name in _KEPT:
        setattr(new, name, getattr(old, name))
    if old.deadline_at is not None:
        new.deadline_at = subject.now + (old.deadline_at - old.created_at)
    return new


def _insert(subject: Subject, definition: WorkflowDefinition[..., Any], new: Execution, *, told: str) -> Execution:
    timer = Timer(execution_id=new.pk, queue=new.queue, priority=priority_of(definition), due_at=DatabaseNow())
    if not NewStart(new, timer).insert(using=subject.using):
        raise ExecutionConflict(f"The key {new.key!r} of {new.workflow!r} was just taken; nothing was changed.")
    subject.told[told] = str(new.pk)
    return Execution.objects.using(subject.using).get(pk=new.pk)


def _patched(subject: Subject, recorded: Sequence[Checkpoint], at: int, patch: Mapping[str, Any]) -> list[Checkpoint]:
    """What is before the step, with the patched results; the step itself too, if it is among those."""
    end = at + 1 if at < len(recorded) and recorded[at].name in patch else at
    changed = {
        each.name: each for each in patching.find_patches(subject.execution, recorded[:end], patch, at=subject.now)
    }
    return [changed.get(each.name, each) for each in recorded[:end]]


def _refuse_unless_whole(subject: Subject, recorded: Sequence[Checkpoint], copied: Sequence[Checkpoint]) -> None:
    """A copy must not wait for what will come to the original only."""
    joined = {each.target for each in copied if each.kind == Kind.JOIN}
    for each in copied:
        if payloads.ERASED in (each.result, each.error):
            raise _unsound(subject, each, "has been erased")
        if each.kind == Kind.ROLLBACK:
            raise _unsound(subject, each, "is the end of it; what comes behind undoes")
        if each.kind == Kind.BACK:
            raise _unsound(subject, each, "is an order to go back; what comes behind undoes")
        if not each.is_settled:
            raise _unsound(subject, each, "is still open")
        if each.kind == Kind.MAP:
            raise _unsound(subject, each, "has its results in children of the original")
        if each.kind == Kind.CHILD and each.error is None and str(payloads.load(each.result or "")) not in joined:
            raise _unsound(subject, each, "started a child of the original that is not awaited before that step")
        if each.kind == Kind.TOKEN and each.due_at is not None and each.due_at > subject.now:
            raise _unsound(subject, each, "is a token that leads to the original and is still good")
    whole = causes.with_undone(recorded, len(copied))
    if whole < len(copied):
        raise _unsound(subject, recorded[whole], "has been undone")


def _unsound(subject: Subject, checkpoint: Checkpoint, why: str) -> ExecutionConflict:
    return ExecutionConflict(
        f"Execution {subject.execution.pk} cannot be copied up to that step: {checkpoint.kind} {checkpoint.name!r} "
        f"{why}. Fork from that one, or from an earlier one. Nothing was changed."
    )


def _copy(
    subject: Subject,
    made: Execution,
    copied: Sequence[Checkpoint],
    *,
    originals: Sequence[Checkpoint],
    patch: Mapping[str, Any],
) -> None:
    using = subject.using
    mine = [_copied(each, new_id()) for each in copied]
    rows = [Step(execution_id=made.pk, **history.columns_of(each)) for each in mine]
    Step.objects.using(using).bulk_create(rows, batch_size=500)
    replaced = [_copied(originals[each.position], each.id) for each in mine if each.name in patch]
    set_aside.keep(made.pk, replaced, at=subject.now, by=patching.PATCH.done, using=using)
    subject.told["copied"] = len(mine)
    if patch:
        subject.told["patched"] = sorted(patch)


def _copied(checkpoint: Checkpoint, new: UUID) -> Checkpoint:
    """With files of its own: those of the original go with that."""
    result, error = (text and payloads.copied(text) for text in (checkpoint.result, checkpoint.error))
    return replace(checkpoint, id=new, result=result, error=error)
