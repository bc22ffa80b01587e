"""Continue-as-new: an execution ends, and goes on as a new one of the same workflow with a short history.

The call only leaves the function, as a return does, so that ``finally`` and ``with`` blocks on the way out may make
durable calls and wait in them. It takes effect when the function has been left: the record of it, this execution's end
and the successor's start are one transaction (``succession.continue_as_new``). A cancellation that comes before that
commit wins, one that comes after it goes to the successor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NoReturn

from django_durable.definitions import registry
from django_durable.engine import limits, payloads, starting
from django_durable.engine import state as changes
from django_durable.engine.changes import INHERITED
from django_durable.engine.history import Checkpoint
from django_durable.engine.matching import INTERRUPTIONS, Matcher
from django_durable.engine.outcomes import Continuing, Leave, Mismatch, Outcome, Raised, Returned
from django_durable.exceptions import Cancelled, ContinueAsNew, InvalidOptionError, SwallowedControlFlowError
from django_durable.models import Kind
from django_durable.options import NO_OPTIONS

NAME = "continue_as_new"
ADVICE = "should_continue_as_new"


def leave(matcher: Matcher, state: Mapping[str, Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> NoReturn:
    """Leave the function, to go on with these arguments. The newest version of the workflow gets them, as at a start.

    state: what the next one begins with; None: what this one has now.

    Raises TypeError, CodecError; InvalidOptionError inside a branch that others run beside; the interruption that is
    due, or was told before: what has been cancelled does not go on.
    """
    matcher.check_place()
    if matcher.is_beside_others:
        raise InvalidOptionError(
            "ctx.continue_as_new() inside a task, or a branch of parallel, gather, map or race, would leave the others "
            "behind; return from there and call it after the part, or where the workflow's own function is."
        )
    if matcher.shared.is_of_map:
        raise InvalidOptionError(
            "A child of ctx.map cannot continue as new: its result is found by its place in the map. Let it start a "
            "child of its own with ctx.call, which may."
        )
    if matcher.shared.successor is not None:
        raise InvalidOptionError("ctx.continue_as_new() was called before; let what it raised leave the function.")
    if matcher.interrupted is not None:
        raise INTERRUPTIONS[matcher.interrupted]
    successor = starting.prepare(registry.find(matcher.shared.workflow), NO_OPTIONS, args, kwargs)
    successor = replace(successor, inherited=_inherited(matcher, state))
    if _is_interrupted_here(matcher):
        matcher.enter(Kind.CONTINUE, NAME)  # raises it
    matcher.shared.successor = successor
    raise ContinueAsNew


def _inherited(matcher: Matcher, state: Mapping[str, Any] | None) -> Checkpoint | None:
    """The first checkpoint of the next one: its state. None if that is empty."""
    kept = dict(changes.values(matcher) if state is None else state)
    now = matcher.claim.now()
    return (
        Checkpoint(
            position=0,
            name=INHERITED,
            kind=Kind.STATE,
            target=NAME,
            result=payloads.dump({"set": kept}),
            started_at=now,
            finished_at=now,
        )
        if kept
        else None
    )


def _is_interrupted_here(matcher: Matcher) -> bool:
    """Otherwise nothing is recorded at the call itself: what `finally` blocks record comes first."""
    recorded = matcher.peek(Kind.CONTINUE, NAME)
    if recorded is not None:
        return recorded.status in INTERRUPTIONS
    if matcher.course is not None:  # what this leads to may be recorded by other tasks only; ``conclude`` tells it
        return False
    return not matcher.policy.is_behind and matcher.due_interruption() is not None


def is_advised(matcher: Matcher) -> bool:
    """Whether the history has come to the warning's length. A yes is recorded, and whatever comes after a no is.

    So every replay gets the same answers, whatever the setting says by then. A branch or a task may end after a no, and
    those beside it record more: there a no is recorded too.
    """
    matcher.check_place()
    is_long = limits.is_long(matcher.journal.next_position)
    if matcher.peek(Kind.LONG, ADVICE) is None and (
        matcher.policy.is_behind or not (is_long or matcher.is_beside_others or matcher.course is not None)
    ):
        return False
    call = matcher.enter(Kind.LONG, ADVICE)
    if call.recorded is None:
        said = {} if is_long else {"result": payloads.dump(False)}
        matcher.defer(call, call.checkpoint(finished_at=matcher.claim.now(), **said))
    assert call.recorded is not None
    return call.recorded.result is None


def conclude(matcher: Matcher, outcome: Outcome) -> Outcome:
    """What has become of a call of ``leave`` once the function has ended."""
    successor = matcher.shared.successor
    if successor is None or not isinstance(outcome, Returned | Raised):
        return outcome
    if isinstance(outcome, Returned):
        return Mismatch(SwallowedControlFlowError("ContinueAsNew"))
    if not isinstance(outcome.error, ContinueAsNew):  # a `finally` block has failed or was interrupted
        return outcome
    if matcher.interrupted is not None:
        return Raised(INTERRUPTIONS[matcher.interrupted]())
    try:
        call = matcher.enter(Kind.CONTINUE, NAME)
    except Cancelled as interruption:
        return Raised(interruption)
    except Leave as left:
        return left.why
    if call.recorded is not None:
        return Continuing(successor, None)
    told = payloads.dump(successor.execution.id)
    return Continuing(successor, call.checkpoint(result=told, finished_at=matcher.claim.now()))
