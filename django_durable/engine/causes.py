"""Why an execution has ended without success, read from its history: from where on it has to go again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django_durable.codec import RecordedError
from django_durable.engine import payloads
from django_durable.engine.history import Checkpoint
from django_durable.models import Execution, Kind, Status, StepStatus


def of_end(execution: Execution, history: Sequence[Checkpoint]) -> int | None:
    """The position of the call that it ended by; None if no call did, but the code between them."""
    mark = mark_of(history)
    before = history if mark is None else history[: mark.position]
    status = execution.status if mark is None else payloads.load(mark.result or "")["status"]
    error = execution.error if mark is None else mark.error
    places = [_interruption(execution.cancel_requested_at, before)]
    if status == Status.FAILED:
        places.append(_failure(before, error))
    if mark is not None:
        places.append(mark.position)
    return min((place for place in places if place is not None), default=None)


def mark_of(history: Sequence[Checkpoint]) -> Checkpoint | None:
    """The record of how it was to end, before what had to be undone was."""
    return next((each for each in history if each.kind == Kind.ROLLBACK), None)


def order_in(history: Sequence[Checkpoint]) -> Checkpoint | None:
    """The order to go back that is being carried out; what comes behind it undoes."""
    return next((each for each in reversed(history) if each.kind == Kind.BACK), None)


def with_undone(history: Sequence[Checkpoint], at: int) -> int:
    """That position, or the earlier one of a step that a compensation behind it has undone, and so on."""
    for compensation in reversed(history):
        if compensation.position < at:
            return at
        if compensation.kind == Kind.COMPENSATION and compensation.status == StepStatus.COMPLETED:
            undone = undone_by(compensation.name)
            at = min([at, *(each.position for each in history if each.name == undone)])
    return at


def undone_by(name: str) -> str:
    """The step that the compensation of that name undoes: recorded in the scope of who undoes, by its path there."""
    scope, slash, path = name.rpartition("/")
    return scope + slash + path.removeprefix("rollback:").replace(">", "/")


def _interruption(cancelled_at: datetime | None, history: Sequence[Checkpoint]) -> int | None:
    """Where the cancellation of the whole, or its deadline, was delivered first; a race's losers are none of that."""
    for each in history:
        is_cancelled = each.status == StepStatus.CANCELLED and cancelled_at is not None
        if each.status == StepStatus.TIMED_OUT or (is_cancelled and _is_after(each, cancelled_at)):
            return each.position
    return None


def _is_after(each: Checkpoint, moment: datetime | None) -> bool:
    return moment is not None and each.finished_at is not None and each.finished_at >= moment


def _failure(history: Sequence[Checkpoint], error: str | None) -> int | None:
    """The last call that failed, unless the code went on from it; with those that failed beside it in one part."""
    failed = next((each for each in reversed(history) if each.status == StepStatus.FAILED), None)
    if failed is None:
        return None
    went_on = any(each.kind == Kind.STEP and each.position > failed.position for each in history)
    if went_on and not _explains(failed, None if error is None else payloads.load_error(error)):
        return None
    root, slash, _ = failed.name.partition("/")
    beside = (each for each in history if slash and each.name.startswith(f"{root}/"))
    return min([failed.position, *(each.position for each in beside if each.status == StepStatus.FAILED)])


def _explains(failed: Checkpoint, error: RecordedError | None) -> bool:
    """The end quotes the failure: it is that error, or StepFailed or ChildFailed with its text."""
    if error is None:
        return False
    if failed.error is None:  # a child that ended without an error of its own
        return failed.target in error.message
    return payloads.load_error(failed.error).message in error.message
