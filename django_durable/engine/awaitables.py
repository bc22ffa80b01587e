"""What a call of an AsyncContext gives: an awaitable that makes the call when it is awaited, once."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Coroutine, Generator
from functools import partial
from typing import Any, Protocol

from django_durable.context import Context
from django_durable.context.branching import ItemBranch
from django_durable.definitions import WorkflowDefinition
from django_durable.exceptions import InvalidOptionError

# The others are parts of several, or leave the function.
OF_ONE_CHECKPOINT = frozenset(
    {
        "deprecate_patch",
        "emit",
        "note",
        "now",
        "patched",
        "should_continue_as_new",
        "signal_token",
        "sleep",
        "sleep_until",
        "start_child",
        "state.replace",
        "state.set",
        "step",
        "wait_for_execution",
        "wait_for_signal",
        "wait_until",
    }
)


class Awaiting(Protocol):
    """The program of coroutines that a call belongs to."""

    def wait_for(self, call: DurableCall) -> Generator[Any, None, Any]: ...
    def made(self, call: DurableCall) -> int: ...
    def begun(self, call: DurableCall) -> None: ...
    def dropped(self, call: DurableCall) -> None: ...


class DurableCall(Coroutine[Any, Any, Any]):
    """``ctx.step(...)`` of an async workflow. asyncio takes it for a coroutine, so a task can be made of it.

    source: file and line where it was made.
    """

    def __init__(self, program: Awaiting, method: str, make: Callable[[Context], Any], source: str) -> None:
        self.__name__ = self.__qualname__ = method
        self.make = make
        self.source = source
        self._program = program
        self._steps: Generator[Any, None, Any] | None = None
        self._number = program.made(self)

    @property
    def is_of_one_checkpoint(self) -> bool:
        """At most: when that is completed the call is."""
        return self.__name__ in OF_ONE_CHECKPOINT

    def __repr__(self) -> str:
        return f"ctx.{self.__name__}(...) at {self.source}"

    def __hash__(self) -> int:
        """Sets of calls, which asyncio makes, are in the same order in every process."""
        return self._number

    def __await__(self) -> Generator[Any, None, Any]:
        if self._steps is not None:
            raise InvalidOptionError(f"{self!r} is awaited twice: make the call twice, or keep its value.")
        self._program.begun(self)
        self._steps = self._program.wait_for(self)
        return self._steps

    def send(self, value: Any) -> Any:
        return (self._steps or self.__await__()).send(value)

    def throw(self, *error: Any) -> Any:
        return (self._steps or self.__await__()).throw(*error)

    def close(self) -> None:
        """Say that it will not be awaited."""
        if self._steps is None:
            self.__await__()
        assert self._steps is not None
        self._steps.close()

    def __del__(self) -> None:
        if self._steps is None:
            self._program.dropped(self)


def is_async(fn: Any, *, within: bool) -> bool:
    """Whether a function is to get an AsyncContext. within: the answer for the function around it; a lambda's too."""
    while isinstance(fn, partial | ItemBranch | WorkflowDefinition):
        fn = fn.func if isinstance(fn, partial) else fn.fn
    return inspect.iscoroutinefunction(fn) or (within and getattr(fn, "__name__", "") == "<lambda>")


def discard(value: Any) -> None:
    """Of something awaitable that nobody will await."""
    if isinstance(value, Coroutine):
        value.close()


def source_of_caller(depth: int) -> str:
    """File and line of the function that many frames above the one which asks."""
    frame = sys._getframe(depth + 1)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
