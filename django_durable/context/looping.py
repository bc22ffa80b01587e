"""Going round and round: a loop, and a new execution for what never ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NoReturn, Self, TypeVar, overload

from django_durable.context.runtime import Calls
from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_step_id

T = TypeVar("T")
MOST_ITERATIONS = 1000


class LoopCalls(Calls):
    """``ctx.loop``, ``ctx.continue_as_new`` and ``ctx.should_continue_as_new``."""

    @overload
    def loop(
        self,
        part: str,
        condition: Callable[[T | None], bool],
        body: Callable[[Self, T | None], T],
        *,
        max_iterations: int = MOST_ITERATIONS,
    ) -> T | None: ...
    @overload
    def loop(
        self,
        part: str,
        condition: Callable[[T], bool],
        body: Callable[[Self, T], T],
        *,
        initial: T,
        max_iterations: int = MOST_ITERATIONS,
    ) -> T: ...
    def loop(
        self,
        part: str,
        condition: Callable[[Any], bool],
        body: Callable[[Self, Any], Any],
        *,
        initial: Any = None,
        max_iterations: int = MOST_ITERATIONS,
    ) -> Any:
        """``while condition(value): value = body(ctx, value)``; returns the last value, ``initial`` if there is none.

        The condition is asked once before each time; a replay goes the same rounds, whatever it would say then. The
        body gets a context of its own each time, in which its step ids are its own; use no other inside.
        Raises LoopLimitError when the condition still holds after ``max_iterations``, InvalidOptionError if it fails.
        """
        for function in (condition, body):
            if not callable(function):
                raise InvalidOptionError(f"ctx.loop({part!r}): {function!r} is no function.")
        if isinstance(max_iterations, bool) or not isinstance(max_iterations, int) or max_iterations < 1:
            raise InvalidOptionError(f"max_iterations={max_iterations!r}: give a whole number from 1.")
        return self._runtime.loop(check_step_id(part), condition, body, initial, max_iterations)

    def continue_as_new(self, *args: Any, state: Mapping[str, Any] | None = None, **kwargs: Any) -> NoReturn:
        """End this execution and start the next one of this workflow with these arguments, in one transaction.

        state: what the next one's ``ctx.state`` begins with; None: what this one's is now. An argument of the workflow
        that is called state must be given by its place.

        For workflows that never end: the new one begins with a short history. It takes over the key, the signals that
        were not consumed, the parent, subject, labels, queue, priority and the deadline; signals and orders to this
        one go to it, and who waits for this one's result waits for its result. Otherwise it is like a ``return``: what
        completed steps have done is not undone any more, and open children are dealt with by their ``on_parent_close``.
        Call it outside of parts with several branches and let what it raises leave the function.
        Raises TypeError for arguments that do not fit the workflow's newest version, CodecError.
        """
        if state is not None and not isinstance(state, Mapping):
            raise InvalidOptionError(f"continue_as_new(state={state!r:.100}): give a mapping of names to values.")
        self._runtime.continue_as_new(state, args, kwargs)

    @property
    def should_continue_as_new(self) -> bool:
        """Whether the history has ``DURABLE["HISTORY_WARNING"]`` checkpoints; the same answers in every replay."""
        return self._runtime.should_continue_as_new()
