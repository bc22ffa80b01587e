"""Parts with branches: ``switch`` takes one of them, ``parallel`` all, ``race`` the first to end. Each is a scope.

Which branches there are, or which was chosen, is recorded with the first thing that is recorded inside, and at every
replay the same ones are entered again: their steps hand out what is recorded, offer their compensations and wait on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from django_durable.engine import payloads, sagas
from django_durable.engine.matching import Call, Matcher, describe
from django_durable.engine.outcomes import Leave, Leaving, Mismatch, Park, Raised, Returned
from django_durable.exceptions import Cancelled, InvalidOptionError, NondeterminismError
from django_durable.models import Kind, Status, StepStatus
from django_durable.parts import Case, Settled

Branch = Callable[..., Any]


def switch(matcher: Matcher, part: str, value: Any, cases: Sequence[Case], default: Branch | None) -> Any:
    """Enter the branch that is recorded, or choose one now. Matchers run once.

    That nothing matched is recorded too: the workflow may catch the error and go on, and its replays must.
    """
    call = matcher.enter(Kind.SWITCH, part)
    if call.recorded is None:
        _record(matcher, call, _chosen(part, value, cases, default))
    name = _recorded(matcher, call)
    if isinstance(name, list):
        raise InvalidOptionError(*name)
    branches = {case.name: case.run for case in cases} | ({_DEFAULT: default} if default is not None else {})
    if name not in branches:
        raise _mismatch(matcher, call, f"branch {name!r}", f"{_listed(cases)} only")
    return _inline(matcher, matcher.branch(call, name), branches[name])


def _chosen(part: str, value: Any, cases: Sequence[Case], default: Branch | None) -> str | list[str]:
    """The name of a branch, or why there is none, in a list."""
    for case in cases:
        try:
            if case.when(value):
                return case.name
        except Exception as error:
            return [f"switch {part!r}: asking case {case.name!r} about {value!r} raised {error!r}. Mend its when=."]
    if default is not None:
        return _DEFAULT
    return [f"switch {part!r}: no case matches {value!r}; there are {_listed(cases)}. Add one, or default=."]


_DEFAULT = "__default"


def _listed(cases: Sequence[Case]) -> str:
    return ", ".join(repr(case.name) for case in cases) or "no cases"


def _inline(outer: Matcher, branch: Matcher, fn: Branch) -> Any:
    """Run a branch as if its calls were made outside: it returns, raises and leaves for all of it."""
    outcome = branch.call(fn)
    outer.interrupted, outer.reached_at = branch.interrupted, branch.reached_at
    return _passed_on(outer, outcome)


def _passed_on(outer: Matcher, outcome: Returned | Raised | Leaving | None) -> Any:
    match outcome:
        case Returned(value):
            return value
        case Raised(error):
            raise error
        case None:
            raise AssertionError("a branch that was not run")
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
    call = _enter(matcher, Kind.PARALLEL, part, branches)
    running = {name: _Running(matcher.branch(call, name), fn) for name, fn in branches.items()}
    for branch in running.values():
        if branch.has_begun:
            _advance(matcher, branch)
        elif _may_begin(running, settle, limit):
            branch.scope.is_called_off = branch.scope.is_called_off or _is_called_off(matcher, running)
            _advance(matcher, branch)
    if not settle and _failed(running):
        _call_off(matcher, call, running)
    _wait(matcher, running)
    return _values(matcher, call, running, settle=settle)


def _enter(matcher: Matcher, kind: Kind, part: str, branches: Mapping[str, Branch]) -> Call:
    call = matcher.enter(kind, part)
    if call.recorded is None:
        _record(matcher, call, list(branches))
    elif (names := _recorded(matcher, call)) != list(branches):
        raise _mismatch(matcher, call, f"branches {names}", f"branches {list(branches)}")
    return call


def _may_begin(running: Mapping[str, _Running], settle: bool, limit: int | None) -> bool:
    waiting = sum(isinstance(branch.outcome, Park) for branch in running.values())
    # A clean-up that failed is no reason: at a replay it is met before what called it off, which may be yet to begin.
    failed = _failed(running)
    has_failed = failed is not None and failed.scope.interrupted is None
    return (limit is None or waiting < limit) and (settle or not has_failed)


def _is_called_off(matcher: Matcher, running: Mapping[str, _Running]) -> bool:
    """Whether the whole part is, as far as the history tells: nobody says so again to one that cleans up."""
    return matcher.interrupted is None and any(
        branch.scope.interrupted == StepStatus.CANCELLED for branch in running.values()
    )


def _advance(matcher: Matcher, branch: _Running) -> None:
    """Run one branch until it ends or waits; anything else leaves the whole function."""
    branch.outcome = branch.scope.call(branch.fn)
    if isinstance(branch.outcome, Park):
        matcher.shared.leaving = None  # the others go on
    elif not isinstance(branch.outcome, Returned | Raised):
        raise matcher.leave(branch.outcome)


def _failed(running: Mapping[str, _Running]) -> _Running | None:
    """The first branch with an error that is not a cancellation, in their order; last those that were interrupted.

    One that failed while it cleaned up was called off by another's failure, or all of them by something outside.
    """
    failed = [branch for branch in running.values() if _error(branch.outcome) is not None]
    return min(failed, key=lambda branch: branch.scope.interrupted is not None, default=None)


def _error(outcome: object) -> BaseException | None:
    return outcome.error if isinstance(outcome, Raised) and not isinstance(outcome.error, Cancelled) else None


def _call_off(matcher: Matcher, call: Call, running: Mapping[str, _Running]) -> None:
    """Those that wait get ``Cancelled`` where they wait, and may clean up."""
    for name, branch in running.items():
        if isinstance(branch.outcome, Park):
            _withdraw(matcher, call, name, branch)


def _withdraw(matcher: Matcher, call: Call, name: str, branch: _Running) -> None:
    matcher.shared.forget_compensations(branch.scope.scope)
    branch.scope = matcher.branch(call, name)
    branch.scope.interrupted = None  # calling off is another interruption than one that we were told before
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


def _come_out(matcher: Matcher, running: Mapping[str, _Running]) -> None:
    """What comes after the part in the code is later than all that was completed inside."""
    matcher.reached_at = max([matcher.reached_at, *(branch.scope.reached_at for branch in running.values())])


def _values(matcher: Matcher, call: Call, running: Mapping[str, _Running], *, settle: bool) -> dict[str, Any]:
    _come_out(matcher, running)
    failed = None if settle else _failed(running)
    # Being called off by a branch beside it is that branch's own affair; anything else has interrupted us all.
    for branch in running.values() if failed is None else (failed,):
        matcher.interrupted = matcher.interrupted or branch.scope.interrupted
    if failed is not None and (failure := _error(failed.outcome)) is not None:
        if matcher.shared.compensates:
            sagas.rollback(matcher, scope=call.name)
        raise failure
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


# -- race ----------------------------------------------------------------------------------------------


def race(matcher: Matcher, part: str, branches: Mapping[str, Branch]) -> tuple[str, Any]:
    """Take every branch as far as it goes until one has ended; its name and value, or its error.

    The winner is recorded together with the first withdrawal of another one's wait; of two that have ended in the same
    pass the first in order counts. The others get ``Cancelled`` where they wait, and what they did is undone.
    """
    call = _enter(matcher, Kind.RACE, part, branches)
    running = {name: _Running(matcher.branch(call, name), fn) for name, fn in branches.items()}
    decided = matcher.peek(Kind.WON)
    if decided is None:
        for branch in running.values():
            _advance(matcher, branch)
            if not isinstance(branch.outcome, Park):
                break
        else:
            _wait(matcher, running)
    winner = _winner(matcher, part, running)
    if decided is not None:
        _advance(matcher, running[winner])
    losers = {name: branch for name, branch in running.items() if name != winner and branch.has_begun}
    matcher.interrupted = matcher.interrupted or running[winner].scope.interrupted
    for name, loser in losers.items():
        _withdraw(matcher, call, name, loser)
    _wait(matcher, losers)
    _come_out(matcher, running)
    for name in losers:
        if matcher.shared.compensates:
            sagas.rollback(matcher, scope=f"{call.name}/{name}")
    return winner, _passed_on(matcher, running[winner].outcome)


def _winner(matcher: Matcher, part: str, running: Mapping[str, _Running]) -> str:
    call = matcher.enter(Kind.WON, f"{part}:won")
    if call.recorded is None:
        name = next(name for name, branch in running.items() if not isinstance(branch.outcome, Park | None))
        if any(isinstance(branch.outcome, Park) for branch in running.values()):
            _record(matcher, call, name)  # with the withdrawal of what waits
        else:
            matcher.settle(call, call.checkpoint(result=payloads.dump(name), finished_at=matcher.claim.now()))
    name = _recorded(matcher, call)
    assert isinstance(name, str)
    return name


# -- all of them ----------------------------------------------------------------------------------------------


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
