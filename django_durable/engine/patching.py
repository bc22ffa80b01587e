"""What a person decides about one step: its result, or that the workflow goes on without one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

from django_durable.definitions import registry
from django_durable.engine import declared, history, payloads, set_aside
from django_durable.engine.history import Checkpoint
from django_durable.engine.orders import Subject, Verb, give
from django_durable.exceptions import ExecutionConflict, InvalidOptionError, UnknownWorkflowError
from django_durable.models import OPEN, Execution, Kind, Status, Step, StepStatus, StuckReason

_UNDER_WAY = OPEN - {Status.PENDING, Status.COMPENSATING}
PATCH = Verb("patch_step", "step_patched", _UNDER_WAY, does="set the result of one of its steps")
SKIP = Verb("skip_step", "step_skipped", _UNDER_WAY, does="go on without a step that has not succeeded yet")


def patch_step(execution_id: UUID, step: int | str, result: object, *, using: str, actor: str, reason: str) -> None:
    """Raises ExecutionConflict, ExecutionNotFoundError, InvalidOptionError, CodecError."""
    payloads.dump(result)  # before anything is locked
    with give(PATCH, execution_id, using=using, actor=actor, reason=reason) as subject:
        found = set_aside.find(subject, set_aside.load(subject), step)
        _change(subject, found, patched(subject.execution, found, result, at=subject.now), by=PATCH.done)


def skip_step(execution_id: UUID, step: int | str, *, using: str, actor: str, reason: str) -> None:
    """Raises ExecutionConflict, ExecutionNotFoundError, InvalidOptionError."""
    with give(SKIP, execution_id, using=using, actor=actor, reason=reason) as subject:
        found = set_aside.find(subject, set_aside.load(subject), step)
        if found.is_settled:
            raise ExecutionConflict(f"Step {found.name!r} of execution {execution_id} is {found.status} already.")
        _refuse_all_but_steps(found)
        skipped = replace(_settled(found, payloads.dump(None), at=subject.now), status=StepStatus.SKIPPED)
        _change(subject, found, skipped, by=SKIP.done)


def patched(execution: Execution, checkpoint: Checkpoint, result: object, *, at: Any) -> Checkpoint:
    """The checkpoint with that result. Raises InvalidOptionError, CodecError."""
    _refuse_all_but_steps(checkpoint)
    try:
        workflow = registry.find(execution.workflow, execution.version).fn
    except UnknownWorkflowError:
        workflow = None
    declared.check_result(workflow, checkpoint.target, checkpoint.name, result)
    return _settled(checkpoint, payloads.dump(result), at=at)


def find_patches(
    execution: Execution, checkpoints: Iterable[Checkpoint], patch: Mapping[str, object], *, at: Any
) -> list[Checkpoint]:
    """The checkpoints with the results of a patch. Raises InvalidOptionError for a name that is not among them."""
    found = {each.name: each for each in checkpoints}
    unknown = sorted(patch.keys() - found.keys())
    if unknown:
        raise InvalidOptionError(f"patch= names {unknown}, which are not among the steps {sorted(found)}.")
    return [patched(execution, found[name], patch[name], at=at) for name in patch]


def put_back(subject: Subject, gone: Sequence[Checkpoint], patch: Mapping[str, object]) -> list[Checkpoint]:
    """Of what was set aside, the first step with the result of a patch."""
    returned = find_patches(subject.execution, gone[:1], patch, at=subject.now)
    return [put_in_place(subject, each, each.result or "") for each in returned]


def put_in_place(subject: Subject, checkpoint: Checkpoint, result: str) -> Checkpoint:
    """A step that was set aside is in the history again, with that result, encoded."""
    returned = _settled(checkpoint, result, at=subject.now)
    Step.objects.using(subject.using).create(execution_id=subject.execution.pk, **history.columns_of(returned))
    subject.told["patched"] = checkpoint.name
    return returned


def try_compensation_again(subject: Subject) -> None:
    """The one that it is stuck in."""
    given_up = Step.objects.using(subject.using).history(subject.execution.pk).given_up()
    given_up.update(due_at=subject.now)


def _settled(checkpoint: Checkpoint, result: str, *, at: Any) -> Checkpoint:
    return replace(
        checkpoint,
        status=StepStatus.COMPLETED,
        result=result,
        error=None,
        finished_at=checkpoint.finished_at or at,  # the order of completion is part of the history
        due_at=None,
    )


def _refuse_all_but_steps(checkpoint: Checkpoint) -> None:
    if checkpoint.kind != Kind.STEP:
        raise InvalidOptionError(f"{checkpoint.name!r} is a {checkpoint.kind}, not a step; nothing was changed.")


def _change(subject: Subject, before: Checkpoint, after: Checkpoint, *, by: str) -> None:
    """Keep how it was, write how it is, and let the execution look at it."""
    set_aside.keep(subject.execution.pk, [before], at=subject.now, by=by, using=subject.using)
    columns = history.columns_of(after)
    Step.objects.using(subject.using).filter(pk=columns.pop("id")).update(**columns)
    subject.told |= {"step": before.name, "was": before.status, "attempts": before.attempts}
    if subject.standing == Status.PAUSED:
        return
    if subject.execution.status == Status.STUCK and subject.execution.stuck_reason != StuckReason.COMPENSATION:
        subject.change(status=Status.WAITING, stuck_reason="", error=None, error_type="", waiting_for="")
        subject.change_timer(held=False, claims=0, progress=0, refused_since=None)
    if subject.execution.stuck_reason != StuckReason.COMPENSATION:
        subject.change_timer(due_at=subject.now, token=None, holder="")
