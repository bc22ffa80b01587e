"""Waiting for several things: signals, times, children and branches, each in a branch of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar, cast, overload

from django_durable.clock import to_instant, to_seconds
from django_durable.context.children import ChildCalls
from django_durable.context.runtime import Branch
from django_durable.context.waiting import WaitCalls
from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_step_id
from django_durable.parts import Child
from django_durable.signal_types import SignalType, signal_name

R = TypeVar("R")
T = TypeVar("T")
Timeout = timedelta | float
_TIMEOUT = "__timeout"


class JoinCalls(WaitCalls, ChildCalls):
    """``ctx.wait_any`` and ``ctx.wait_all``."""

    @overload
    def wait_any(
        self, awaited: Mapping[str, SignalType[T]], /, *, timeout: None = None, id: str | None = None
    ) -> tuple[str, T]: ...
    @overload
    def wait_any(
        self, awaited: Mapping[str, SignalType[T]], /, *, timeout: Timeout, id: str | None = None
    ) -> tuple[str, T] | None: ...
    @overload
    def wait_any(
        self, awaited: Mapping[str, Callable[[Self], R]], /, *, timeout: None = None, id: str | None = None
    ) -> tuple[str, R]: ...
    @overload
    def wait_any(
        self, awaited: Mapping[str, Callable[[Self], R]], /, *, timeout: Timeout, id: str | None = None
    ) -> tuple[str, R] | None: ...
    @overload
    def wait_any(
        self, awaited: Mapping[str, object], /, *, timeout: None = None, id: str | None = None
    ) -> tuple[str, Any]: ...
    @overload
    def wait_any(
        self, awaited: Mapping[str, object], /, *, timeout: Timeout, id: str | None = None
    ) -> tuple[str, Any] | None: ...
    def wait_any(
        self, awaited: Mapping[str, Any], /, *, timeout: Timeout | None = None, id: str | None = None
    ) -> tuple[str, Any] | None:
        """Wait until one has come: its name and value, or its error raised; None when ``timeout`` has passed.

        awaited, by name: a signal (a ``SignalType`` or its name), whose value is the payload; a timedelta or an aware
        datetime; a ``Child``, whose value is its result; a function of a context of its own. Like ``race``: of two that
        have come the first in order counts, the others are withdrawn. id: default "wait_any"; repeats are numbered.
        """
        branches = _branches("wait_any", awaited)
        if timeout is not None:
            branches[_TIMEOUT] = _waiting("wait_any", "timeout", timedelta(seconds=to_seconds(timeout, "timeout")))
        name, value = self._runtime.race(check_step_id(id or "wait_any"), branches)
        return None if name == _TIMEOUT else (name, value)

    @overload
    def wait_all(
        self, awaited: Mapping[str, SignalType[T]], /, *, timeout: Timeout | None = None, id: str | None = None
    ) -> dict[str, T]: ...
    @overload
    def wait_all(
        self, awaited: Mapping[str, Callable[[Self], R]], /, *, timeout: Timeout | None = None, id: str | None = None
    ) -> dict[str, R]: ...
    @overload
    def wait_all(
        self, awaited: Mapping[str, object], /, *, timeout: Timeout | None = None, id: str | None = None
    ) -> dict[str, Any]: ...
    def wait_all(
        self, awaited: Mapping[str, Any], /, *, timeout: Timeout | None = None, id: str | None = None
    ) -> dict[str, Any]:
        """Wait until all have come: their values by name; with ``timeout`` the values of those that came in time.

        awaited: as for ``wait_any``. Like ``parallel``: the first error, such as a child's, calls off the others and is
        raised. id: default "wait_all"; repeats are numbered.
        """
        branches = _branches("wait_all", awaited)
        if timeout is not None:
            seconds = to_seconds(timeout, "timeout")
            branches = {name: TimedBranch(name, branch, seconds) for name, branch in branches.items()}
        came = self._runtime.parallel(check_step_id(id or "wait_all"), branches, False, None)
        return came if timeout is None else {name: value[0] for name, value in came.items() if value}


@dataclass(frozen=True, slots=True)
class TimedBranch:
    """The branch of ``wait_all`` for one thing that may be late: its value alone in a tuple, or an empty one."""

    name: str
    branch: Branch
    seconds: float

    def __call__(self, ctx: JoinCalls) -> tuple[Any, ...]:
        came = ctx.wait_any({self.name: self.branch}, timeout=self.seconds, id="within")
        return () if came is None else came[1:]


def _branches(call: str, awaited: object) -> dict[str, Branch]:
    if not isinstance(awaited, Mapping) or not awaited:
        raise InvalidOptionError(f"ctx.{call}: {awaited!r} is nothing to wait for; give a dict of what, by name.")
    return {check_step_id(name): _waiting(call, name, what) for name, what in awaited.items()}


def _waiting(call: str, name: str, what: Any) -> Branch:
    """The branch that waits for it. Raises InvalidOptionError."""
    if isinstance(what, SignalType | str):
        signal_name(what)  # before anything is recorded
        return lambda ctx: ctx.wait_for_signal(what)
    if isinstance(what, timedelta):
        to_seconds(what, name)
        return lambda ctx: ctx.sleep(what)
    if isinstance(what, datetime):
        to_instant(what, name)
        return lambda ctx: ctx.sleep_until(what)
    if isinstance(what, Child):
        return lambda ctx: ctx.wait_for_execution(what)
    if callable(what):
        return cast(Branch, what)
    raise InvalidOptionError(
        f"ctx.{call}: {name!r} is {what!r}; give a signal, a timedelta, an aware datetime, a Child or a function."
    )
