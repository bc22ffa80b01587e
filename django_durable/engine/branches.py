"""Parts with branches: ``switch`` takes one of them, ``parallel`` all, ``race`` the first to end. Each is a scope.

Which branches there are, or which was chosen, is recorded with the first thing that is recorded inside, and at every
replay the same ones are entered again: their steps hand out what is recorded, offer their compensations and wait on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django_durable.engine import payloads, sagas, side_by_side
from django_durable.engine.matching import Matcher, describe
from django_durable.engine.outcomes import (
    Frontier,
    Leave,
    Leaving,
    Mismatch,
    Park,
    Raised,
    Returned,
    Want,
    Wants,
    waiting,
)
from django_durable.engine.recorder import Call
from django_durable.exceptions import Cancelled, InvalidOptionError, NondeterminismError
from django_durable.models import Kind, StepStatus
from django_durable.parts import Case, Settled

Branch = Callable[..., Any]


def switch(matcher: Matcher, part: str, value: Any, cases: Sequence[Case], default: Branch | None) -> Any:
    """Enter the branch that is recorded, or choose one now. Matchers run once.

    That nothing matched is recorded too: the workflow may catch the error and go on, and its replays must.
    """
    call = matcher.enter(Kind.SWITCH, part)
    if call.recorded is None:
        with matcher.shared.asking():
            chosen = _chosen(part, value, cases, default)
        record(matcher, call, chosen)
    name = recorded(matcher, call)
    if isinstance(name, list):
        raise InvalidOptionError(*name)
    branches = {case.name: case.run for case in cases} | ({_DEFAULT: default} if default is not None else {})
    if name not in branches:
        raise _mismatch(matcher, call, f"branch {name!r}", f"{_listed(cases)} only")
    return inline(matcher, matcher.branch(call, name, is_inline=True), branches[name])


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


def inline(outer: Matcher, branch: Matcher, fn: Branch, *args: Any) -> Any:
    """Run a branch as if its calls were made outside: it returns, raises and leaves for all of it."""
    outcome = branch.call(fn, *args)
    outer.interrupted, outer.reached_at = branch.interrupted, branch.reached_at
    if not outer.is_async:
        outer.view = branch.view
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
    is_withdrawn: bool = False

    @property
    def has_begun(self) -> bool:
        below = f"{self.scope.scope}/"
        runs = any(name.startswith(below) for name in self.scope.shared.in_flight)
        return self.outcome is not None or runs or bool(self.scope.history)

    @property
    def has_ended(self) -> bool:
        return isinstance(self.outcome, Returned | Raised)

    @property
    def is_open(self) -> bool:
        """It waits, or wants a body to be run."""
        return isinstance(self.outcome, Park | Wants | Frontier)

    @property
    def has_failed(self) -> bool:
        """With an error of its own, not in a clean-up."""
        return _error(self.outcome) is not None and not self.scope.interrupted

    @property
    def was_cancelled(self) -> bool:
        return self.scope.interrupted == StepStatus.CANCELLED


def parallel(
    matcher: Matcher, part: str, branches: Mapping[str, Branch], *, settle: bool, limit: int | None = None
) -> dict[str, Any]:
    """Take every branch as far as it goes; one that waits holds up no other. The values by name.

    settle: wait for all of them; the values are then ``Settled``. Otherwise the first failure calls off the others,
    what their steps and its own have done is undone, and it is raised. limit: how many may wait at one time.
    """
    call = _enter(matcher, Kind.PARALLEL, part, branches)
    running = {name: _Running(matcher.branch(call, name), fn) for name, fn in branches.items()}
    with side_by_side.crew(matcher) as crew:
        for branch in running.values():  # first: whether another one may begin depends on how these ended
            if branch.has_begun:
                _advance(matcher, branch)
        _begin(matcher, running, settle, limit)
        if not settle and _failed(running):
            _call_off(matcher, call, running)
        for branch in _going_on(matcher, call, running, crew):
            if limit is not None and not isinstance(branch.outcome, Wants):
                _begin(matcher, running, settle, limit)
            may_have_failed = limit is not None or _error(branch.outcome) is not None
            if not settle and may_have_failed and _failed(running):
                _call_off(matcher, call, running)
    _wait(matcher, running)
    return _values(matcher, call, running, settle=settle)


def _begin(matcher: Matcher, running: Mapping[str, _Running], settle: bool, limit: int | None) -> None:
    """Enter the branches that were not yet, as long as there is room and none has failed.

    One that failed in its clean-up is no reason: at a replay it is met before what called it off, which may be yet to
    begin. That the whole part is called off, as far as the history tells, nobody says again to one that cleans up.
    """
    begun = [branch for branch in running.values() if branch.outcome is not None]
    n_open = sum(branch.is_open for branch in begun)
    has_failed = any(branch.has_failed for branch in begun)
    is_called_off = matcher.interrupted is None and any(branch.was_cancelled for branch in begun)
    for branch in running.values():
        if branch.outcome is not None:
            continue
        if (limit is not None and n_open >= limit) or (has_failed and not settle):
            return
        branch.scope.is_called_off = branch.scope.is_called_off or is_called_off
        _advance(matcher, branch)
        n_open += branch.is_open
        has_failed = has_failed or branch.has_failed
        is_called_off = is_called_off or (matcher.interrupted is None and branch.was_cancelled)


def _enter(matcher: Matcher, kind: Kind, part: str, branches: Mapping[str, Branch]) -> Call:
    call = matcher.enter(kind, part)
    if call.recorded is None:
        record(matcher, call, list(branches))
    elif (names := recorded(matcher, call)) != list(branches):
        raise _mismatch(matcher, call, f"branches {names}", f"branches {list(branches)}")
    return call


def _advance(matcher: Matcher, branch: _Running) -> None:
    """Run one branch until it ends, waits or wants a body to be run; anything else leaves the whole function."""
    branch.outcome = branch.scope.call(branch.fn)
    if branch.is_open:
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
    """Those that wait get ``Cancelled`` where they wait, and may clean up; a running body's outcome comes first."""
    for name, branch in running.items():
        if branch.is_open and not branch.is_withdrawn:
            _withdraw(matcher, call, name, branch)


def _withdraw(matcher: Matcher, call: Call, name: str, branch: _Running) -> None:
    branch.is_withdrawn = branch.scope.is_called_off = True
    _enter_again(matcher, call, name, branch)


def _enter_again(matcher: Matcher, call: Call, name: str, branch: _Running) -> None:
    """Run a branch from its start, with what was recorded since."""
    matcher.shared.forget_compensations(branch.scope.scope)
    is_called_off = branch.scope.is_called_off
    branch.scope = matcher.branch(call, name)
    branch.scope.is_called_off = is_called_off
    if branch.is_withdrawn:
        branch.scope.interrupted = None  # calling off is another interruption than one that we were told before
    _advance(matcher, branch)


def _going_on(
    matcher: Matcher, call: Call, running: Mapping[str, _Running], crew: side_by_side.Crew | None
) -> Iterator[_Running]:
    """Have the bodies run that branches want until none does; each branch as soon as it has gone on."""

    def wanted() -> Iterator[Want]:
        for branch in running.values():
            if isinstance(branch.outcome, Wants):
                yield from branch.outcome.wants

    while crew is not None and (first := list(islice(wanted(), 2))):
        is_alone = crew.is_idle and len(first) == 1
        path = first[0].name if is_alone else crew.next(wanted)
        name = path.removeprefix(f"{call.name}/").partition("/")[0]
        with crew.resting() if is_alone else nullcontext():
            _enter_again(matcher, call, name, running[name])
        yield running[name]


def _wait(matcher: Matcher, running: Mapping[str, _Running]) -> None:
    wait = waiting(branch.outcome for branch in running.values())
    if wait is not None:
        raise matcher.leave(wait)


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
            sagas.rollback(matcher, call.name)
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

    The winner is recorded together with the first withdrawal of another one's wait; of two that have ended without a
    body the first in order counts. The others get ``Cancelled`` where they wait, once what runs is recorded, and what
    they did is undone.
    """
    call = _enter(matcher, Kind.RACE, part, branches)
    running = {name: _Running(matcher.branch(call, name), fn) for name, fn in branches.items()}
    decided = matcher.peek(Kind.WON, f"{part}:won")
    with side_by_side.crew(matcher) as crew:
        if decided is not None:  # before that record, so that nothing new is done in a branch that has ended
            _advance(matcher, running[matcher.stored(payloads.load, decided.result)])
        elif not _has_ended(matcher, call, running, crew):
            _wait(matcher, running)
        winner = _winner(matcher, part, running)
        losers = {name: branch for name, branch in running.items() if name != winner and branch.has_begun}
        matcher.interrupted = matcher.interrupted or running[winner].scope.interrupted
        for name, loser in losers.items():
            _withdraw(matcher, call, name, loser)
        for _ in _going_on(matcher, call, running, crew):
            pass  # what they clean up
    _wait(matcher, running)
    _come_out(matcher, running)
    if losers and matcher.shared.compensates:
        sagas.rollback(matcher, *(f"{call.name}/{name}" for name in losers))
    return winner, _passed_on(matcher, running[winner].outcome)


def _has_ended(matcher: Matcher, call: Call, running: Mapping[str, _Running], crew: side_by_side.Crew | None) -> bool:
    """Take the branches as far as they go, or until the first has ended."""
    for branch in running.values():
        _advance(matcher, branch)
        if not branch.is_open:
            return True
    return any(not branch.is_open for branch in _going_on(matcher, call, running, crew))


def _winner(matcher: Matcher, part: str, running: Mapping[str, _Running]) -> str:
    call = matcher.enter(Kind.WON, f"{part}:won")
    if call.recorded is None:
        name = next(name for name, branch in running.items() if branch.has_ended)
        if any(branch.is_open for branch in running.values()):
            record(matcher, call, name)  # with the withdrawal of what waits
        else:
            matcher.settle(call, call.checkpoint(result=payloads.dump(name), finished_at=matcher.claim.now()))
    name = recorded(matcher, call)
    assert isinstance(name, str)
    return name


# -- all of them ----------------------------------------------------------------------------------------------


def record(matcher: Matcher, call: Call, what: object) -> None:
    """Record a decision with the first thing that is recorded after it."""
    now = matcher.claim.now()
    matcher.defer(call, call.checkpoint(result=payloads.dump(what), finished_at=now))


def recorded(matcher: Matcher, call: Call) -> Any:
    """The decision, decoded."""
    assert call.recorded is not None
    return matcher.stored(payloads.load, call.recorded.result)


def _mismatch(matcher: Matcher, call: Call, expected: str, found: str) -> Leave:
    assert call.recorded is not None
    about = describe(call.kind, call.name)
    error = NondeterminismError(call.recorded.position, f"{about} with {expected}", f"{about} with {found}")
    return matcher.leave(Mismatch(error))
