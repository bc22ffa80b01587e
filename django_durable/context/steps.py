"""Steps, and undoing them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, overload

from django_durable.context.runtime import Calls
from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_step_id

P = ParamSpec("P")
R = TypeVar("R")
Compensate = Callable[[R], Any]


class StepCalls(Calls):
    """``ctx.step`` and ``ctx.rollback``."""

    # ParamSpec has no place for a keyword of ours: with compensate= the body's arguments are not checked.
    @overload
    def step(
        self, body: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, compensate: Compensate[R], **kwargs: Any
    ) -> R: ...
    @overload
    def step(self, body: Callable[..., R], /, *args: Any, compensate: Compensate[R], **kwargs: Any) -> R: ...
    @overload
    def step(
        self,
        step_id: str,
        body: Callable[..., Coroutine[Any, Any, R]],
        /,
        *args: Any,
        compensate: Compensate[R],
        **kwargs: Any,
    ) -> R: ...
    @overload
    def step(
        self, step_id: str, body: Callable[..., R], /, *args: Any, compensate: Compensate[R], **kwargs: Any
    ) -> R: ...
    @overload
    def step(self, body: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def step(self, body: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def step(
        self, step_id: str, body: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
    ) -> R: ...
    @overload
    def step(self, step_id: str, body: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def step(self, first: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Run a step once and record its outcome; on replay hand the recorded outcome out.

        body: a plain or ``@step`` function, an ``async def`` function, a Celery task or a ``django.tasks`` task; it
        runs here, in this worker. step_id: names the checkpoint, default is the body's name; repeats are numbered.
        compensate: undoes the step once it has completed, see ``rollback``; called with its result, and a step itself.
        Returns the value as it was stored and read back, so that the first run and every replay see the same.
        Raises StepFailed, or the declared error of ``raises=``.
        """
        compensate = kwargs.pop("compensate", None)
        if compensate is not None and not callable(compensate) and not hasattr(compensate, "call"):
            raise InvalidOptionError(f"ctx.step(..., compensate={compensate!r}): give a function of the step's result.")
        if isinstance(first, str):
            if not args or not callable(args[0]):
                raise InvalidOptionError(f"ctx.step({first!r}, ...): the second argument is the function to run.")
            return self._runtime.step(check_step_id(first), args[0], args[1:], kwargs, compensate)
        if not callable(first) and not hasattr(first, "call"):
            raise InvalidOptionError(f"ctx.step({first!r}): give a function, or an id and a function.")
        return self._runtime.step(None, first, args, kwargs, compensate)

    def rollback(self) -> None:
        """Undo now what completed steps with ``compensate=`` have done, the latest first; then the workflow goes on.

        It happens by itself when the workflow fails, is cancelled or passes its deadline, unless it was registered with
        ``on_failure="leave"``. A compensation follows the rules of a step, its own retry policy too; neither a
        cancellation nor the deadline interrupts it. One that gives up leaves the execution stuck until a person
        retries it, skips it or records it as done.
        """
        self._runtime.rollback()
