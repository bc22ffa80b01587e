"""AsyncContext: the calls of ``Context``, to be awaited. Only their types are written here a second time.

What a call does is told in one place, at the method of that name of ``Context``; here it is put off until it is
awaited. A method that ``Context`` gains is here too, without a type until it gets one.
"""

from __future__ import annotations

import random
import uuid
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import wraps
from logging import Logger, LoggerAdapter
from typing import TYPE_CHECKING, Any, Literal, NoReturn, ParamSpec, Protocol, TypeVar, overload

from django_durable.context.branching import BranchCalls
from django_durable.context.changes import ChangeCalls
from django_durable.context.children import ChildCalls, Startable
from django_durable.context.events import EventCalls
from django_durable.context.facts import FactCalls
from django_durable.context.joining import JoinCalls
from django_durable.context.looping import MOST_ITERATIONS, LoopCalls
from django_durable.context.state import AsyncState, StateCalls
from django_durable.context.steps import Compensate, StepCalls
from django_durable.context.waiting import WaitCalls
from django_durable.events import EventType
from django_durable.parts import Case, Child, Settled
from django_durable.signal_types import SignalType

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
V = TypeVar("V")
Later = Coroutine[Any, Any, R]
Timeout = timedelta | float
GROUPS = (
    StepCalls,
    BranchCalls,
    LoopCalls,
    ChildCalls,
    WaitCalls,
    JoinCalls,
    StateCalls,
    EventCalls,
    FactCalls,
    ChangeCalls,
)

# Neither recorded nor waited for: nothing to await.
AT_ONCE = frozenset({"attempt", "execution_id", "log", "progress", "random", "uuid4"})


class AsyncRuntime(Protocol):
    """What the engine must offer to an asynchronous context."""

    def later(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """That call of a context, made when it is awaited, in the scope of the task which awaits it."""

    def told(self, name: str) -> Coroutine[Any, Any, Any]:
        """The same for a property."""

    def at_once(self, name: str) -> Any:
        """That attribute of a context in the scope of the running task."""

    def state_values(self) -> Mapping[str, Any]:
        """The state as the running task sees it; not to be changed."""


class AsyncContext:
    """The durable operations of one execution, for ``async def`` workflows and branches; see ``Context``.

    A call does nothing until it is awaited, once, in the coroutines of its workflow. ``asyncio.gather``,
    ``create_task``, ``TaskGroup`` and ``wait`` may be used with such calls; whatever needs a clock, a thread or a
    socket belongs in a step.
    """

    def __init__(self, runtime: AsyncRuntime) -> None:
        self._runtime = runtime

    @property
    def state(self) -> AsyncState:
        """What queries and updates see of this execution; a task sees what others have changed, too."""
        return AsyncState(self._runtime)

    if TYPE_CHECKING:
        # -- at once -------------------------------------------------------------------------------

        @property
        def execution_id(self) -> uuid.UUID: ...
        @property
        def attempt(self) -> int: ...
        @property
        def log(self) -> LoggerAdapter[Logger]: ...
        def random(self) -> random.Random: ...
        def uuid4(self) -> uuid.UUID: ...
        def progress(self, current: int, total: int | None = None, message: str = "") -> None: ...

        # -- to be awaited: facts and waiting ----------------------------------------------------------

        def note(self, text: str) -> Later[None]: ...
        def now(self) -> Later[datetime]: ...
        def sleep(self, duration: Timeout, *, id: str | None = None) -> Later[None]: ...
        def sleep_until(self, at: datetime, *, id: str | None = None) -> Later[None]: ...
        @overload
        def wait_for_signal(
            self, signal: SignalType[T], *, timeout: None = None, default: Any = None, id: str | None = None
        ) -> Later[T]: ...
        @overload
        def wait_for_signal(
            self, signal: SignalType[T], *, timeout: Timeout | None, default: None = None, id: str | None = None
        ) -> Later[T | None]: ...
        @overload
        def wait_for_signal(
            self, signal: SignalType[T], *, timeout: Timeout | None, default: R, id: str | None = None
        ) -> Later[T | R]: ...
        @overload
        def wait_for_signal(
            self, signal: str, *, timeout: Timeout | None = None, default: Any = None, id: str | None = None
        ) -> Later[Any]: ...
        def wait_for_signal(
            self, signal: Any, *, timeout: Any = None, default: Any = None, id: str | None = None
        ) -> Later[Any]: ...
        def signal_token(self, signal: SignalType[Any] | str, *, expires: Timeout) -> Later[str]: ...
        def wait_until(
            self,
            condition: Callable[[Mapping[str, Any]], object],
            *,
            timeout: Timeout | None = None,
            id: str | None = None,
        ) -> Later[bool]: ...
        @overload
        def emit(self, event: EventType[T], payload: T, *, id: str | None = None) -> Later[None]: ...
        @overload
        def emit(self, event: str, payload: object = None, *, id: str | None = None) -> Later[None]: ...
        def emit(self, event: Any, payload: Any = None, *, id: str | None = None) -> Later[None]: ...

        # -- code that changes, histories that grow --------------------------------------------------

        def patched(self, patch_id: str) -> Later[bool]: ...
        def deprecate_patch(self, patch_id: str) -> Later[None]: ...
        def continue_as_new(
            self, *args: Any, state: Mapping[str, Any] | None = None, **kwargs: Any
        ) -> Later[NoReturn]: ...
        @property
        def should_continue_as_new(self) -> Later[bool]: ...

        # -- steps -------------------------------------------------------------------------------------

        @overload
        def step(
            self, body: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, compensate: Compensate[R], **kwargs: Any
        ) -> Later[R]: ...
        @overload
        def step(self, body: Callable[..., R], /, *args: Any, compensate: Compensate[R], **kwargs: Any) -> Later[R]: ...
        @overload
        def step(
            self,
            step_id: str,
            body: Callable[..., Coroutine[Any, Any, R]],
            /,
            *args: Any,
            compensate: Compensate[R],
            **kwargs: Any,
        ) -> Later[R]: ...
        @overload
        def step(
            self, step_id: str, body: Callable[..., R], /, *args: Any, compensate: Compensate[R], **kwargs: Any
        ) -> Later[R]: ...
        @overload
        def step(self, body: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> Later[R]: ...
        @overload
        def step(self, body: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Later[R]: ...
        @overload
        def step(
            self, step_id: str, body: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
        ) -> Later[R]: ...
        @overload
        def step(self, step_id: str, body: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Later[R]: ...
        def step(self, first: Any, /, *args: Any, **kwargs: Any) -> Later[Any]: ...
        def rollback(self) -> Later[None]: ...

        # -- children ----------------------------------------------------------------------------------

        @overload
        def start_child(self, workflow: Startable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Later[Child]: ...
        @overload
        def start_child(
            self, step_id: str, workflow: Startable[P, Any], /, *args: P.args, **kwargs: P.kwargs
        ) -> Later[Child]: ...
        def start_child(self, first: Any, /, *args: Any, **kwargs: Any) -> Later[Child]: ...
        def wait_for_execution(self, child: Child, *, timeout: Timeout | None = None) -> Later[Any]: ...
        @overload
        def call(self, workflow: Startable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Later[R]: ...
        @overload
        def call(self, step_id: str, workflow: Startable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Later[R]: ...
        def call(self, first: Any, /, *args: Any, **kwargs: Any) -> Later[Any]: ...

        # -- branches: async functions, or lambdas that give something to await ------------------------

        def switch(
            self,
            part: str,
            value: V,
            branches: Mapping[str, AsyncBranch[R]] | Sequence[Case],
            *,
            default: AsyncBranch[R] | None = None,
        ) -> Later[R]: ...
        @overload
        def parallel(
            self, branches: Mapping[str, AsyncBranch[R]], /, *, settle: Literal[False] = False
        ) -> Later[dict[str, R]]: ...
        @overload
        def parallel(
            self, part: str, branches: Mapping[str, AsyncBranch[R]], /, *, settle: Literal[False] = False
        ) -> Later[dict[str, R]]: ...
        @overload
        def parallel(
            self, branches: Mapping[str, AsyncBranch[Any]], /, *, settle: Literal[True]
        ) -> Later[dict[str, Settled]]: ...
        @overload
        def parallel(
            self, part: str, branches: Mapping[str, AsyncBranch[Any]], /, *, settle: Literal[True]
        ) -> Later[dict[str, Settled]]: ...
        def parallel(self, first: Any, /, *rest: Any, settle: bool = False) -> Later[Any]: ...
        @overload
        def gather(self, *branches: AsyncBranch[R]) -> Later[list[R]]: ...
        @overload
        def gather(self, part: str, /, *branches: AsyncBranch[R]) -> Later[list[R]]: ...
        def gather(self, *given: Any) -> Later[list[Any]]: ...
        @overload
        def map(
            self,
            fn: Startable[[T], R],
            items: Iterable[T],
            /,
            *,
            concurrency: int | None = None,
            settle: Literal[False] = False,
        ) -> Later[list[R]]: ...
        @overload
        def map(
            self,
            fn: Callable[[AsyncContext, T], Awaitable[R]],
            items: Iterable[T],
            /,
            *,
            concurrency: int | None = None,
            settle: Literal[False] = False,
        ) -> Later[list[R]]: ...
        @overload
        def map(
            self,
            fn: Startable[[T], Any] | Callable[[AsyncContext, T], Awaitable[Any]],
            items: Iterable[T],
            /,
            *,
            concurrency: int | None = None,
            settle: Literal[True],
        ) -> Later[list[Settled]]: ...
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
        ) -> Later[list[R]]: ...
        @overload
        def map(
            self,
            part: str,
            fn: Callable[[AsyncContext, T], Awaitable[R]],
            items: Iterable[T],
            /,
            *,
            concurrency: int | None = None,
            settle: Literal[False] = False,
        ) -> Later[list[R]]: ...
        @overload
        def map(
            self,
            part: str,
            fn: Startable[[T], Any] | Callable[[AsyncContext, T], Awaitable[Any]],
            items: Iterable[T],
            /,
            *,
            concurrency: int | None = None,
            settle: Literal[True],
        ) -> Later[list[Settled]]: ...
        def map(
            self, first: Any, /, *rest: Any, concurrency: int | None = None, settle: bool = False
        ) -> Later[Any]: ...
        @overload
        def race(self, branches: Mapping[str, AsyncBranch[R]], /) -> Later[tuple[str, R]]: ...
        @overload
        def race(self, part: str, branches: Mapping[str, AsyncBranch[R]], /) -> Later[tuple[str, R]]: ...
        def race(self, first: Any, /, *rest: Any) -> Later[tuple[str, Any]]: ...
        @overload
        def wait_any(
            self, awaited: Mapping[str, SignalType[T]], /, *, timeout: None = None, id: str | None = None
        ) -> Later[tuple[str, T]]: ...
        @overload
        def wait_any(
            self, awaited: Mapping[str, SignalType[T]], /, *, timeout: Timeout, id: str | None = None
        ) -> Later[tuple[str, T] | None]: ...
        @overload
        def wait_any(
            self, awaited: Mapping[str, AsyncBranch[R]], /, *, timeout: None = None, id: str | None = None
        ) -> Later[tuple[str, R]]: ...
        @overload
        def wait_any(
            self, awaited: Mapping[str, AsyncBranch[R]], /, *, timeout: Timeout, id: str | None = None
        ) -> Later[tuple[str, R] | None]: ...
        @overload
        def wait_any(
            self, awaited: Mapping[str, object], /, *, timeout: None = None, id: str | None = None
        ) -> Later[tuple[str, Any]]: ...
        @overload
        def wait_any(
            self, awaited: Mapping[str, object], /, *, timeout: Timeout, id: str | None = None
        ) -> Later[tuple[str, Any] | None]: ...
        def wait_any(self, awaited: Any, /, *, timeout: Any = None, id: str | None = None) -> Later[Any]: ...
        @overload
        def wait_all(
            self, awaited: Mapping[str, SignalType[T]], /, *, timeout: Timeout | None = None, id: str | None = None
        ) -> Later[dict[str, T]]: ...
        @overload
        def wait_all(
            self, awaited: Mapping[str, AsyncBranch[R]], /, *, timeout: Timeout | None = None, id: str | None = None
        ) -> Later[dict[str, R]]: ...
        @overload
        def wait_all(
            self, awaited: Mapping[str, object], /, *, timeout: Timeout | None = None, id: str | None = None
        ) -> Later[dict[str, Any]]: ...
        def wait_all(self, awaited: Any, /, *, timeout: Any = None, id: str | None = None) -> Later[Any]: ...
        @overload
        def loop(
            self,
            part: str,
            condition: Callable[[T | None], bool],
            body: Callable[[AsyncContext, T | None], Awaitable[T]],
            *,
            max_iterations: int = MOST_ITERATIONS,
        ) -> Later[T | None]: ...
        @overload
        def loop(
            self,
            part: str,
            condition: Callable[[T], bool],
            body: Callable[[AsyncContext, T], Awaitable[T]],
            *,
            initial: T,
            max_iterations: int = MOST_ITERATIONS,
        ) -> Later[T]: ...
        def loop(
            self, part: Any, condition: Any, body: Any, *, initial: Any = None, max_iterations: int = MOST_ITERATIONS
        ) -> Later[Any]: ...


AsyncBranch = Callable[[AsyncContext], Awaitable[R]]


def _awaitable(name: str, method: Any) -> Any:
    @wraps(method)
    def later(self: AsyncContext, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        return self._runtime.later(name, args, kwargs)

    return later


def _immediate(name: str, method: Any) -> Any:
    return property(lambda self: self._runtime.at_once(name), doc=method.__doc__)


def _awaitable_property(name: str, method: Any) -> Any:
    return property(lambda self: self._runtime.told(name), doc=method.__doc__)


def _asynchronous(name: str, method: Any) -> Any:
    if name in AT_ONCE:
        return _immediate(name, method)
    return (_awaitable_property if isinstance(method, property) else _awaitable)(name, method)


for _group in GROUPS:
    for _name, _method in vars(_group).items():
        if not _name.startswith("_") and _name not in vars(AsyncContext):
            setattr(AsyncContext, _name, _asynchronous(_name, _method))
