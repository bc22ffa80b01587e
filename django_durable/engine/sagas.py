"""Sagas: what completed steps have done is undone in reverse order, each compensation a recorded step of its own.

The pattern is Garcia-Molina and Salem's ("Sagas", SIGMOD 1987). Which steps are to be undone is learnt anew by every
replay, from the same calls that recorded them, so it needs no table. That the workflow has ended, and how, is recorded
before the first compensation runs: from then on its code is replayed up to that mark, and its end is not asked again.
"""

from __future__ import annotations

from bisect import insort
from functools import partial
from typing import Any

from django_durable.engine import bodies, endings, payloads, steps, transitions
from django_durable.engine.history import Checkpoint
from django_durable.engine.matching import Matcher
from django_durable.engine.outcomes import (
    CompensationFailed,
    Ended,
    Leave,
    Mismatch,
    Outcome,
    Raised,
    Returned,
    RollingBack,
)
from django_durable.engine.recorder import Call
from django_durable.engine.scopes import Compensation
from django_durable.exceptions import NondeterminismError
from django_durable.models import Kind, Status, StepStatus

MARK = "__rollback"


def offer(matcher: Matcher, call: Call, compensate: Any) -> None:
    """Remember that a step which has just completed, or was recorded so, can be undone."""
    step = call.recorded
    assert step is not None
    assert step.finished_at is not None
    # What comes later in the code has completed later. The times alone do not say so: a claim's clock may run a round
    # trip ahead of the next one's.
    matcher.reached_at = max(matcher.reached_at, step.finished_at)
    completed = (matcher.reached_at, step.position)
    offered = Compensation(call.name, bodies.as_step(compensate), step.result or "", completed)
    insort(matcher.shared.compensations, offered, key=lambda each: each.completed)
    matcher.shared.offered[call.name] = offered


def rollback(matcher: Matcher, *scopes: str) -> None:
    """Undo every completed step that offers it and was not undone yet, the latest first. Nothing interrupts this.

    scopes: only what was done there and below; default the matcher's own.
    """
    prefixes = tuple(f"{scope}/".lstrip("/") for scope in scopes or (matcher.scope,))
    for latest in reversed([each for each in matcher.shared.compensations if each.step_id.startswith(prefixes)]):
        undo(matcher, latest)
        # Not before: a call in the wrong place is refused and undoes nothing.
        matcher.shared.compensations.remove(latest)


def conclude(matcher: Matcher, outcome: Outcome) -> Outcome:
    """What the function's end becomes: an unsuccessful one is recorded, and its steps are undone before it counts."""
    if isinstance(outcome, Returned | Raised):
        if not (matcher.shared.compensates and matcher.shared.compensations):
            return outcome
        ending = endings.of(outcome, matcher.interrupted)
        if ending.status == Status.COMPLETED:
            return ending
    elif not isinstance(outcome, RollingBack):
        return outcome
    try:
        ending = _recorded(matcher) if isinstance(outcome, RollingBack) else _record(matcher, ending)
        rollback(matcher)
    except Leave as leave:
        return leave.why
    return ending


def _record(matcher: Matcher, ending: Ended) -> Ended:
    """Write down how it ends and what is to be undone."""
    call = matcher.enter(Kind.ROLLBACK, MARK)
    kept = {
        "status": str(ending.status),
        "result": ending.result,
        "error_type": ending.error_type,
        "steps": _steps(matcher),
    }
    mark = call.checkpoint(result=payloads.dump_own(kept), error=ending.error, finished_at=matcher.claim.now())
    matcher.record(call, mark, partial(transitions.begin_compensating, matcher.claim))
    return ending


def _recorded(matcher: Matcher) -> Ended:
    """Go on behind the mark. Today's code must want to undo what was written down there."""
    mark = matcher.pass_mark()
    kept = matcher.stored(payloads.load, mark.result)
    if kept["steps"] != _steps(matcher):
        difference = [f"the rollback of {', '.join(names) or 'nothing'}" for names in (kept["steps"], _steps(matcher))]
        raise matcher.leave(Mismatch(NondeterminismError(mark.position, *difference)))
    return Ended(status=Status(kept["status"]), result=kept["result"], error=mark.error, error_type=kept["error_type"])


def _steps(matcher: Matcher) -> list[str]:
    return [compensation.step_id for compensation in reversed(matcher.shared.compensations)]


def undo(matcher: Matcher, compensation: Compensation) -> None:
    """Undo one step, unless that is recorded."""
    definition = compensation.undo
    # Recorded in the scope of who undoes, under its path from there.
    name = compensation.step_id.removeprefix(f"{matcher.scope}/").replace("/", ">")
    call = matcher.enter(Kind.COMPENSATION, f"rollback:{name}", target=definition.name)
    while call.recorded is None or not call.recorded.is_settled:
        if call.recorded is not None and _has_given_up(call.recorded):
            raise matcher.leave(_failure(matcher, call.recorded))
        steps.attempt(matcher, call, definition, (matcher.stored(payloads.load, compensation.result),), {})
    matcher.shared.undone.append(call.recorded.status)


def _has_given_up(recorded: Checkpoint) -> bool:
    """A compensation whose attempts are used stays open, without a next one, until a person decides."""
    return recorded.status == StepStatus.RETRYING and recorded.due_at is None


def _failure(matcher: Matcher, recorded: Checkpoint) -> CompensationFailed:
    error = matcher.stored(payloads.load_error, recorded.error)
    detail = (
        f"{recorded.name} failed after {recorded.attempts} attempts with {error.type_name}: {error.message}. Mend the "
        "cause and retry it, or undo it by hand and record that, or skip it."
    )
    return CompensationFailed(detail, recorded.error or "", error.type_name[:200])
