"""Other executions, started and waited for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ParamSpec, Protocol, TypeVar, overload, runtime_checkable

from django_durable.clock import to_seconds
from django_durable.context.runtime import Calls
from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_step_id
from django_durable.parts import Child

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


@runtime_checkable
class Startable(Protocol[P, R_co]):
    """A workflow, or one with options, seen from here without importing definitions."""

    def start_and_wait(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class ChildCalls(Calls):
    """``ctx.start_child``, ``ctx.wait_for_execution`` and ``ctx.call``."""

    @overload
    def start_child(self, workflow: Startable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Child: ...
    @overload
    def start_child(self, step_id: str, workflow: Startable[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Child: ...
    def start_child(self, first: Any, /, *args: Any, **kwargs: Any) -> Child:
        """Start another workflow as a child, in one transaction with the record of it; do not wait for it.

        workflow: a workflow, or one with options: ``ship.using(on_parent_close="abandon", key=...)``. A child that is
        still open when this execution ends is cancelled, unless ``on_parent_close`` says otherwise.
        Raises TypeError, CodecError, InvalidOptionError; ExecutionConflict for a key that is taken.
        """
        if not isinstance(first, str):
            return self._runtime.start_child(None, first, args, kwargs)
        if not args:
            raise InvalidOptionError(f"ctx.start_child({first!r}): the second argument is the workflow to start.")
        return self._runtime.start_child(check_step_id(first), args[0], args[1:], kwargs)

    def wait_for_execution(self, child: Child, *, timeout: timedelta | float | None = None) -> Any:
        """The result of a child of ``start_child``, once it has ended.

        Raises ChildFailed if it ended in another way, ChildNotEndedError when ``timeout`` has passed; it goes on then.
        """
        if not isinstance(child, Child):
            raise InvalidOptionError(f"ctx.wait_for_execution({child!r}): give what ctx.start_child returned.")
        seconds = None if timeout is None else to_seconds(timeout, "timeout")
        return self._runtime.wait_for_execution(child, seconds)

    @overload
    def call(self, workflow: Startable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    @overload
    def call(self, step_id: str, workflow: Startable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R: ...
    def call(self, first: Any, /, *args: Any, **kwargs: Any) -> Any:
        """``start_child`` and ``wait_for_execution`` in one: the child's result."""
        return self.wait_for_execution(self.start_child(first, *args, **kwargs))
