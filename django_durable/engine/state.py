"""The state of an execution: changed by its code, read by its code, waited for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

from django_durable.engine import endings, inbox, payloads
from django_durable.engine.changes import Change, State, View
from django_durable.engine.matching import Matcher
from django_durable.engine.outcomes import Mismatch
from django_durable.engine.recorder import Call
from django_durable.exceptions import CodecError, InvalidOptionError
from django_durable.models import Kind, Status, StepStatus

Condition = Callable[[Mapping[str, Any]], object]


def change(matcher: Matcher, values: Mapping[str, Any], *, replaces: bool) -> None:
    """Record a change with whatever is recorded next. Raises CodecError, in every replay too."""
    text = payloads.dump({"set": dict(values), **({"replaces": True} if replaces else {})})
    call = matcher.enter(Kind.STATE, "state", target="replace" if replaces else "set")
    if call.recorded is None:
        checkpoint = call.checkpoint(result=text, finished_at=matcher.claim.now())
        matcher.defer(call, checkpoint)
        matcher.shared.log.append(Change(checkpoint))


def values(matcher: Matcher) -> State:
    """What this place in the code sees; not to be changed."""
    matcher.check_place()
    course = matcher.course
    return _at(matcher, matcher.view, matcher.next_recorded if course is None else course.seen(matcher.shared.log))


def wait_until(matcher: Matcher, step_id: str | None, condition: Condition, timeout_seconds: float | None) -> bool:
    """Whether the condition came to hold in time. Asked until the answer is recorded, and never again.

    What it was asked about is recorded too: from here on this scope sees that.
    """
    call = matcher.enter(Kind.UNTIL, step_id or "until")
    if call.recorded is None or not call.recorded.is_settled:
        _ask(matcher, call, condition, timeout_seconds)
    assert call.recorded is not None
    if call.recorded.status == StepStatus.FAILED:
        raise InvalidOptionError(matcher.stored(payloads.load_error, call.recorded.error).message)
    holds, position = matcher.stored(payloads.load, call.recorded.result)
    matcher.view = matcher.view.caught_up(position)
    return bool(holds)


def _ask(matcher: Matcher, call: Call, condition: Condition, timeout_seconds: float | None) -> None:
    """Settle the call, or park for a change of the state: all of it, those of other branches and of updates too."""
    shared, now = matcher.shared, matcher.claim.now()
    asked_at = matcher.journal.next_position
    state = deepcopy(_at(matcher, View(shared.log), None))
    try:
        with shared.asking():
            holds = bool(condition(state))
    except Exception as error:
        wrong = InvalidOptionError(f"wait_until: the condition raised {error!r} for the state {state!r:.200}. Mend it.")
        matcher.settle(
            call, call.checkpoint(status=StepStatus.FAILED, error=endings.error_text(wrong), finished_at=now)
        )
        return
    ends_at = inbox.until(call, timeout_seconds)
    if holds or (ends_at is not None and ends_at <= now):
        result = payloads.dump_own([holds, asked_at])
        matcher.settle(
            call, call.checkpoint(status=StepStatus.COMPLETED, result=result, finished_at=now, due_at=ends_at)
        )
        return
    shared.asked_about = min(shared.asked_about, len(shared.log))
    checkpoint = call.checkpoint(status=StepStatus.WAITING, due_at=ends_at)
    raise matcher.park(call, checkpoint, status=Status.WAITING, until=ends_at, waiting_for="a condition on the state")


def _at(matcher: Matcher, view: View, position: int | None) -> State:
    try:
        return view.at(position)
    except CodecError as unreadable:  # it wants other code, as any checkpoint that cannot be read
        raise matcher.leave(Mismatch(unreadable)) from unreadable
