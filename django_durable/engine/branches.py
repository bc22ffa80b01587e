"""Parts with branches: ``switch`` takes one of them, ``parallel`` all. Each branch is a scope of its own.

Which branches there are, or which was chosen, is recorded with the first thing that is recorded inside, and at every
replay the same ones are entered again: their steps hand out what is recorded, offer their compensations and wait on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django_durable.context import Case, Settled
from django_durable.engine import payloads, sagas
from django_durable.engine.matching import Call, Matcher, describe
from django_durable.engine.outcomes import Leave, Leaving, Mismatch, Park, Raised, Returned
from django_durable.exceptions import Cancelled, InvalidOptionError, NondeterminismError
from django_durable.models import Kind, Status

Branch = Callable[..., Any]


def switch(matcher: Matcher, part: str, value: Any, cases: Sequence[Case], default: Branch | None) -> Any:
    """Enter the branch that is recorded, or choose one now. Matchers run once; that none matched is recorded too."""
    call = matcher.enter(Kind.SWITCH, part)
    if call.recorded is None:
        chosen = next((case for case in cases if case.when(value)), None)
        _record(matcher, call, _DEFAULT if chosen is None and default is not None else chosen and chosen.name)
    name = _recorded(matcher, call)
    if name is None:
        raise InvalidOptionError(
            f"switch {part!r}: no case matches {value!r}; there are {_listed(cases)}. Add one, or default=."
        )
    branches = {case.name: case.run for case in cases} | ({_DEFAULT: default} if default is not None else {})
    if name not in branches:
        raise _mismatch(matcher, call, f"branch {name!r}", f"{_listed(cases)} only")
    return _inline(matcher, matcher.branch(call, name), branches[name])


_DEFAULT = "__default"


def _listed(cases: Sequence[Case]) -> str:
    return ", ".join(repr(case.name) for case in cases) or "no cases"


def _inline(outer: Matcher, branch: Matcher, fn: Branch) -> Any:
    """Run a branch as if its calls were made outside: it returns, raises and leaves for all of it."""
    outcome = branch.call(fn)
    outer.interrupted = branch.interrupted
    return _passed_on(outer, outcome)


def _passed_on(outer: Matcher, outcome: Returned | Raised | Leaving) -> Any:
    match outcome:
        case Returned(value):
            return value
        case Raised(error):
            raise error
        case _:
            raise outer.leave(outcome)


# -- parallel ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Running:
    """One branch in this pass, and how far it came."""

    scope: Matcher
    fn: Branch
    outcome: Returned | Raised | Leaving | None = None

    @property
    def has_begun(self) -> bool:
        return self.outcome is not None or bool(self.scope.history)


def parallel(
    matcher: Matcher, part: str, branches: Mapping[str, Branch], *, settle: bool, limit: int | None = None
) -> dict[str, Any]:
    """Take every branch as far as it goes; one that waits holds up no other. The values by name.

    settle: wait for all of them; the values are then ``Settled``. Otherwise the first failure calls off the others,
    what their steps and its own have done is undone, and it is raised. limit: how many may wait at one time.
    """
    call = matcher.enter(Kind.PARALLEL, part)
    if call.recorded is None:
        _record(matcher, call, list(branches))
    elif (names := _recorded(matcher, call)) != list(branches):
        raise _mismatch(matcher, call, f"branches {names}", f"branches {list(branches)}")
    running = {name: _Running(matcher.branch(call, name), fn) for name, fn in branches.items()}
    for branch in running.values():
        if branch.has_begun or _may_begin(running, settle, limit):
            _advance(matcher, branch)
    if not settle and _failure(running) is not None:
        _call_off(matcher, call, running)
    _wait(matcher, running)
    return _values(matcher, call, running, settle=settle)


def _may_begin(running: Mapping[str, _Running], settle: bool, limit: int | None) -> bool:
    waiting = sum(isinstance(branch.outcome, Park) for branch in running.values())
    return (limit is None or waiting < limit) and (settle or _failure(running) is None)


def _advance(matcher: Matcher, branch: _Running) -> None:
    """Run one branch until it ends or waits; anything else leaves the whole function."""
    branch.outcome = branch.scope.call(branch.fn)
    if isinstance(branch.outcome, Park):
        matcher.shared.leaving = None  # the others go on
    elif not isinstance(branch.outcome, Returned | Raised):
        raise matcher.leave(branch.outcome)


def _failure(running: Mapping[str, _Running]) -> BaseException | None:
    """The first error that is not a cancellation, in the order of the branches."""
    errors = [branch.outcome.error for branch in running.values() if isinstance(branch.outcome, Raised)]
    return next((error for error in errors if not isinstance(error, Cancelled)), None)


def _call_off(matcher: Matcher, call: Call, running: Mapping[str, _Running]) -> None:
    """Those that wait get ``Cancelled`` where they wait, and may clean up."""
    for name, branch in running.items():
        if isinstance(branch.outcome, Park):
            matcher.shared.forget_compensations(branch.scope.scope)
            branch.scope = matcher.branch(call, name)
            branch.scope.is_called_off = True
            _advance(matcher, branch)


def _wait(matcher: Matcher, running: Mapping[str, _Running]) -> None:
    parks = [branch.outcome for branch in running.values() if isinstance(branch.outcome, Park)]
    if not parks:
        return
    times = [park.until for park in parks if park.until is not None]
    first = parks[0]
    raise matcher.leave(
        replace(
            first,
            opens=tuple(each for park in parks for each in park.opens),
            until=min(times) if times else None,
            status=first.status if all(park.status == first.status for park in parks) else Status.WAITING,
            waiting_for="; ".join(dict.fromkeys(park.waiting_for for park in parks))[:255],
            wake_seq=min(park.wake_seq for park in parks),
        )
    )


def _values(matcher: Matcher, call: Call, running: Mapping[str, _Running], *, settle: bool) -> dict[str, Any]:
    failure = None if settle else _failure(running)
    if failure is not None:
        if matcher.shared.compensates:
            sagas.rollback(matcher, scope=call.name)
        raise failure
    for branch in running.values():
        matcher.interrupted = (
            matcher.interrupted or branch.scope.interrupted
        )  # the whole execution: no branch was called off
    outcomes = {name: branch.outcome for name, branch in running.items()}
    for outcome in outcomes.values():
        if isinstance(outcome, Raised) and isinstance(outcome.error, Cancelled):
            raise outcome.error
    if settle:
        return {name: _settled(outcome) for name, outcome in outcomes.items()}
    return {name: outcome.value for name, outcome in outcomes.items() if isinstance(outcome, Returned)}


def _settled(outcome: object) -> Settled:
    return (
        Settled(error=outcome.error) if isinstance(outcome, Raised) else Settled(value=getattr(outcome, "value", None))
    )


# -- both ----------------------------------------------------------------------------------------------


def _record(matcher: Matcher, call: Call, what: object) -> None:
    now = matcher.claim.now()
    matcher.defer(call, call.checkpoint(result=payloads.dump(what), finished_at=now))


def _recorded(matcher: Matcher, call: Call) -> Any:
    assert call.recorded is not None
    return matcher.stored(payloads.load, call.recorded.result)


def _mismatch(matcher: Matcher, call: Call, expected: str, found: str) -> Leave:
    assert call.recorded is not None
    about = describe(call.kind, call.name)
    error = NondeterminismError(call.recorded.position, f"{about} with {expected}", f"{about} with {found}")
    return matcher.leave(Mismatch(error))
