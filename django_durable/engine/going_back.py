"""Going back: before an execution goes on from an earlier step, what lies behind that step is undone.

The order leaves a mark at the end of the history. Passes replay what lies before the mark, by a dry run, to learn which
steps behind the one to go back to can be undone; each compensation is a recorded step behind the mark. Once all are
settled, everything from that step on is set aside in one transaction, the mark included, and an ordinary pass goes on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.db import transaction

from django_durable import dispatch
from django_durable.clock import DatabaseNow
from django_durable.definitions import WorkflowDefinition
from django_durable.engine import causes, dry_run, history, log_lines, patching, set_aside, transitions
from django_durable.engine.audit import audit
from django_durable.engine.claims import Claim
from django_durable.engine.history import RETRIED, Checkpoint
from django_durable.engine.orders import Subject
from django_durable.engine.outcomes import Abandon, Mismatch, Outcome
from django_durable.engine.recordings import Recording
from django_durable.engine.replay import Replay
from django_durable.engine.scopes import Compensation
from django_durable.exceptions import ExecutionConflict, InvalidOptionError, LeaseLostError, NondeterminismError
from django_durable.models import AuditKind, Execution, Kind, Status, Step, StepStatus

MARK = "__back"
_UNDOING = (Kind.ROLLBACK, Kind.COMPENSATION, Kind.BACK)


# -- the order -----------------------------------------------------------------------------------------


def order(subject: Subject, recorded: Sequence[Checkpoint], at: int, patch: Mapping[str, object]) -> None:
    """Leave the mark. Raises ExecutionConflict, InvalidOptionError, CodecError; then nothing was written.

    recorded: the history. at: position of the step to go back to. patch: its result, by name, instead of running it.
    """
    step = recorded[at]
    if step.kind in _UNDOING:
        raise InvalidOptionError(f"{step.name!r} is a {step.kind}, and is not undone; name a step before it.")
    patched = patching.find_patches(subject.execution, [step], patch, at=subject.now)
    said: dict[str, Any] = {"target": step.name, "result": patched[0].result if patched else None}
    subject.told |= {"compensates": True, "from_step": step.name}
    steps = Step.objects.using(subject.using).history(subject.execution.pk)
    patching.try_compensation_again(subject)
    under_way = causes.order_in(recorded)
    if under_way is None:
        position = _place(subject, recorded, at)
        now = subject.now
        mark = Checkpoint(position=position, name=MARK, kind=Kind.BACK, started_at=now, finished_at=now, **said)
        steps.create(execution_id=subject.execution.pk, **history.columns_of(mark))
    else:
        if at > set_aside.find(subject, recorded, under_way.target).position:
            raise ExecutionConflict(
                f"Execution {subject.execution.pk} is going back to {under_way.target!r}: have it go back to that or "
                "further, or leave out compensate=. Nothing was changed."
            )
        steps.filter(pk=under_way.id).update(**said)


def _place(subject: Subject, recorded: Sequence[Checkpoint], at: int) -> int:
    """Where the mark stands: at the end, but for a compensation that was under way, which goes on behind the mark."""
    positions = {each.name: each.position for each in recorded}
    for each in recorded:
        if each.is_settled or each.kind != Kind.COMPENSATION or positions[causes.undone_by(each.name)] < at:
            continue
        if each.position != len(recorded) - 1 or "/" in each.name:
            raise ExecutionConflict(
                f"Execution {subject.execution.pk} was stopped while {each.name!r} ran inside one of its parts. Go "
                "back without compensate=, and undo by hand what is left. Nothing was changed."
            )
        Step.objects.using(subject.using).filter(pk=each.id).update(position=each.position + 1)
        return each.position
    return len(recorded)


# -- carrying it out -----------------------------------------------------------------------------------


def run(undoing: Replay, definition: WorkflowDefinition[..., Any], recording: Recording) -> Outcome:
    """Undo what lies behind the step of the order; never raises. undoing: a pass whose history is behind the mark."""
    learnt = dry_run.DryRun(recording, using=undoing.claim.using)
    outcome = dry_run.run(learnt, definition, recording)
    if isinstance(outcome, Mismatch | Abandon):
        return outcome
    mark = causes.order_in(recording.history)
    assert mark is not None
    before = recording.history[: mark.position]
    at = next(each.position for each in before if each.name == mark.target)
    for each in before[at:]:
        if each.kind == Kind.STEP and each.status == StepStatus.COMPLETED and each.name not in learnt.asked:
            expected = f"step {each.name!r}, which may have to be undone"
            return Mismatch(NondeterminismError(each.position, expected, "code that does not come to it"))
    return undoing.undo(definition, _to_undo(learnt.shared.offered.values(), before, at))


def _to_undo(offered: Iterable[Compensation], before: Sequence[Checkpoint], at: int) -> list[Compensation]:
    """The latest first, without those that the workflow or its end has undone, or a person went on without."""
    undone = {causes.undone_by(each.name) for each in before if each.kind == Kind.COMPENSATION and each.is_settled}
    found = [each for each in offered if each.completed[1] >= at and each.step_id not in undone]
    return sorted(found, key=lambda each: each.completed, reverse=True)


def go_on(claim: Claim, execution: Execution) -> bool:
    """Set aside all from that step on and give the execution back: whoever comes next goes on from there.

    One transaction, under the lease. Raises LeaseLostError and writes nothing.
    """
    using = claim.using
    with transaction.atomic(using=using):
        released = {"token": None, "holder": "", "claims": 0, "progress": 0, "refused_since": None}
        if not claim.timers().update(**released, due_at=DatabaseNow()):
            raise LeaseLostError
        subject = Subject(Execution.objects.using(using).get(pk=execution.pk), claim.now(), using)
        kept = _set_aside(subject)
        transitions.tell_unstuck(claim, execution)
        status = Status.WAITING if kept else Status.PENDING
        subject.change(
            status=status,
            stuck_reason="",
            error=None,
            error_type="",
            waiting_for="",
            waiting_until=None,
            started_at=kept[0].started_at if kept else None,
        )
        log_lines.store(claim)
        before = {"status": Status.COMPENSATING}
        audit(using, execution.pk, kind=AuditKind.WENT_BACK, before=before, after={"status": status, **subject.told})
        dispatch.wake(execution.pk, queue=claim.queue, using=using)
    return True


def _set_aside(subject: Subject) -> list[Checkpoint]:
    """What is left of the history."""
    recorded = set_aside.load(subject)
    mark = causes.order_in(recorded)
    assert mark is not None
    at = set_aside.find(subject, recorded, mark.target).position
    gone = set_aside.cut(subject, recorded, at=at, by=RETRIED)
    if mark.result is None:
        return recorded[:at]
    return [*recorded[:at], patching.put_in_place(subject, gone[0], mark.result)]
