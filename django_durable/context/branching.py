"""Parts with branches, each with a context of its own."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Self, TypeVar, cast, overload

from django_durable.context.children import Startable
from django_durable.context.runtime import Calls
from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_step_id
from django_durable.parts import Case, Settled

R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")


class BranchCalls(Calls):
    """``ctx.switch``, ``ctx.parallel``, ``ctx.gather``, ``ctx.map`` and ``ctx.race``."""

    def switch(
        self,
        part: str,
        value: V,
        branches: Mapping[str, Callable[[Self], R]] | Sequence[Case],
        *,
        default: Callable[[Self], R] | None = None,
    ) -> R:
        """Take one branch, and the same one at every replay, whatever ``value`` and the cases say then.

        branches: functions by the value that chooses them, a text; or ``Case`` objects, the first that matches counts.
        Each gets a context of its own, in which its step ids are its own; use no other inside. Returns what the branch
        returns. Raises InvalidOptionError if none matches and there is no ``default``.
        """
        if isinstance(branches, Mapping):
            branches = [Case(name, partial(operator.eq, name), run) for name, run in branches.items()]
        names = [check_step_id(case.name) for case in branches]
        _check_branches("switch", names, [case.run for case in branches] + ([default] if default is not None else []))
        return cast(R, self._runtime.switch(check_step_id(part), value, branches, default))

    @overload
    def parallel(
        self, branches: Mapping[str, Callable[[Self], R]], /, *, settle: Literal[False] = False
    ) -> dict[str, R]: ...
    @overload
    def parallel(
        self, part: str, branches: Mapping[str, Callable[[Self], R]], /, *, settle: Literal[False] = False
    ) -> dict[str, R]: ...
    @overload
    def parallel(
        self, branches: Mapping[str, Callable[[Self], Any]], /, *, settle: Literal[True]
    ) -> dict[str, Settled]: ...
    @overload
    def parallel(
        self, part: str, branches: Mapping[str, Callable[[Self], Any]], /, *, settle: Literal[True]
    ) -> dict[str, Settled]: ...
    def parallel(self, first: Any, /, *rest: Any, settle: bool = False) -> dict[str, Any]:
        """Run several branches; one that sleeps, waits or retries holds up no other. Returns their values by name.

        part: names it in the history, default "parallel"; repeats are numbered. Each branch gets a context of its own,
        in which its step ids are its own; use no other inside. Their step bodies run side by side, as many at one time
        as ``DURABLE["PARALLEL_STEPS"]`` says. The first error calls off the others: they get ``Cancelled`` where they
        wait, what the completed steps of all branches have done is undone (unless ``on_failure="leave"``), and then it
        is raised.
        settle: wait for all of them, whatever happens to one; the values are ``Settled``.
        """
        part, (branches,) = _part("parallel", first, rest, takes=1)
        if not isinstance(branches, Mapping):
            raise InvalidOptionError(f"ctx.parallel: {branches!r} are no branches; give a dict of functions by name.")
        _check_branches("parallel", [check_step_id(name) for name in branches], list(branches.values()))
        return self._runtime.parallel(part, branches, settle, None)

    @overload
    def gather(self, *branches: Callable[[Self], R]) -> list[R]: ...
    @overload
    def gather(self, part: str, /, *branches: Callable[[Self], R]) -> list[R]: ...
    def gather(self, *given: Any) -> list[Any]:
        """``parallel`` for branches without names; their values in the same order."""
        part, branches = _part("gather", given[0], given[1:]) if given else ("gather", ())
        _check_branches("gather", [], branches)
        named = {str(number): branch for number, branch in enumerate(branches)}
        return list(self._runtime.parallel(part, named, False, None).values())

    @overload
    def map(
        self,
        fn: Startable[[T], R],
        items: Iterable[T],
        /,
        *,
        concurrency: int | None = None,
        settle: Literal[False] = False,
    ) -> Sequence[R]: ...
    @overload
    def map(
        self,
        part: str,
        fn: Startable[[T], R],
        items: Iterable[T],
        /,
        *,
        concurrency: int | None = None,
        settle: Literal[False] = False,
    ) -> Sequence[R]: ...
    @overload
    def map(
        self,
        fn: Callable[[Self, T], R],
        items: Iterable[T],
        /,
        *,
        concurrency: int | None = None,
        settle: Literal[False] = False,
    ) -> list[R]: ...
    @overload
    def map(
        self,
        part: str,
        fn: Callable[[Self, T], R],
        items: Iterable[T],
        /,
        *,
        concurrency: int | None = None,
        settle: Literal[False] = False,
    ) -> list[R]: ...
    @overload
    def map(
        self,
        fn: Startable[[T], Any] | Callable[[Self, T], Any],
        items: Iterable[T],
        /,
        *,
        concurrency: int | None = None,
        settle: Literal[True],
    ) -> Sequence[Settled]: ...
    @overload
    def map(
        self,
        part: str,
        fn: Startable[[T], Any] | Callable[[Self, T], Any],
        items: Iterable[T],
        /,
        *,
        concurrency: int | None = None,
        settle: Literal[True],
    ) -> Sequence[Settled]: ...
    def map(self, first: Any, /, *rest: Any, concurrency: int | None = None, settle: bool = False) -> Sequence[Any]:
        """``parallel`` over items: ``fn(ctx, item)`` for each, their values in the same order.

        fn: a function, for a branch of this execution each; or a workflow of one argument, also with options, for a
        child each, which any worker may take. Then the results are read from the children's rows when they are looked
        at; the first child that does not succeed ends the others as ``on_parent_close`` says, and raises ChildFailed.
        items: the same ones in every replay, so take them from arguments or steps. concurrency: how many may be begun
        and not ended at one time; None is no limit. settle: as for ``parallel``.
        """
        part, (fn, items) = _part("map", first, rest, takes=2)
        if concurrency is not None and (isinstance(concurrency, bool) or not concurrency >= 1):
            raise InvalidOptionError(f"concurrency={concurrency!r}: give a whole number from 1, or None.")
        if isinstance(fn, Startable):
            return self._runtime.fan_out(part, fn, items, settle, concurrency)
        _check_branches("map", [], [fn])
        named = {str(number): ItemBranch(fn, item) for number, item in enumerate(items)}
        return list(self._runtime.parallel(part, named, settle, concurrency).values())

    @overload
    def race(self, branches: Mapping[str, Callable[[Self], R]], /) -> tuple[str, R]: ...
    @overload
    def race(self, part: str, branches: Mapping[str, Callable[[Self], R]], /) -> tuple[str, R]: ...
    def race(self, first: Any, /, *rest: Any) -> tuple[str, Any]:
        """Run several branches until one has ended: its name and value, or its error raised.

        Like ``parallel`` otherwise. The others get ``Cancelled`` where they wait, and what their steps have done is
        undone (unless ``on_failure="leave"``). Of two step bodies the first to complete wins, and the other one is
        waited for; of two branches that have ended when they are looked at the first in order has won.
        """
        part, (branches,) = _part("race", first, rest, takes=1)
        if not isinstance(branches, Mapping) or not branches:
            raise InvalidOptionError(f"ctx.race: {branches!r} are no branches; give a dict of functions by name.")
        _check_branches("race", [check_step_id(name) for name in branches], list(branches.values()))
        return self._runtime.race(part, branches)


def _part(call: str, first: Any, rest: tuple[Any, ...], *, takes: int | None = None) -> tuple[str, tuple[Any, ...]]:
    """The id and what follows it; without one the name of the call."""
    part, given = (check_step_id(first), rest) if isinstance(first, str) else (call, (first, *rest))
    if takes is not None and len(given) != takes:
        raise TypeError(f"ctx.{call} takes {takes} positional arguments beside its id, not {len(given)}.")
    return part, given


@dataclass(frozen=True, slots=True)
class ItemBranch:
    """The branch of ``map`` for one item."""

    fn: Callable[[Any, Any], Any]
    item: Any

    def __call__(self, ctx: Any) -> Any:
        return self.fn(ctx, self.item)


def _check_branches(call: str, names: Sequence[str], branches: Sequence[object]) -> None:
    if len(set(names)) != len(names):
        raise InvalidOptionError(f"ctx.{call}: two branches have one name among {', '.join(names)}.")
    for branch in branches:
        if not callable(branch):
            raise InvalidOptionError(f"ctx.{call}: {branch!r} is no branch; give a function of the branch's context.")
