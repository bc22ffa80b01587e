"""What the execution knows of itself and shows to others."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from copy import deepcopy
from datetime import timedelta
from typing import Any, Protocol

from django_durable.clock import to_seconds
from django_durable.context.runtime import Calls, Runtime
from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_step_id


class Values(Protocol):
    def state_values(self) -> Mapping[str, Any]:
        """What this place in the code sees; not to be changed."""


class Seen(Mapping[str, Any]):
    """The state as one place in the code sees it."""

    def __init__(self, runtime: Values) -> None:
        self._runtime = runtime

    def __getitem__(self, name: str) -> Any:
        return deepcopy(self._runtime.state_values()[name])

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._runtime.state_values()))

    def __len__(self) -> int:
        return len(self._runtime.state_values())

    def __repr__(self) -> str:
        return f"State({dict(self)!r})"


class State(Seen):
    """The state of an execution: a mapping of names to values that can be stored, empty at first.

    What is read is a copy, the same at every replay: to change something, ``set`` it.
    """

    _runtime: Runtime

    def set(self, /, **changes: Any) -> None:
        """Change some names and leave the others; recorded with what is recorded next.

        Raises CodecError for values that cannot be stored; nothing is changed then.
        """
        self._runtime.change_state(changes, False)

    def replace(self, values: Mapping[str, Any], /) -> None:
        """Forget all names and have these instead. Raises as ``set``; InvalidOptionError for anything but a mapping."""
        if not isinstance(values, Mapping):
            raise InvalidOptionError(f"ctx.state.replace({values!r:.100}): give a mapping of names to values.")
        self._runtime.change_state(values, True)


class LaterValues(Values, Protocol):
    def later(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Coroutine[Any, Any, Any]:
        """That call of a context, made when it is awaited."""


class AsyncState(Seen):
    """The state of an execution, see ``State``: read at once, changed by what is awaited."""

    _runtime: LaterValues

    def set(self, /, **changes: Any) -> Coroutine[Any, Any, None]:
        """``await ctx.state.set(...)``; see ``State.set``."""
        return self._runtime.later("state.set", (), changes)

    def replace(self, values: Mapping[str, Any], /) -> Coroutine[Any, Any, None]:
        """``await ctx.state.replace(...)``; see ``State.replace``."""
        return self._runtime.later("state.replace", (values,), {})


class StateCalls(Calls):
    """``ctx.state`` and ``ctx.wait_until``."""

    @property
    def state(self) -> State:
        """What queries and updates see of this execution, and this code may read and change."""
        return State(self._runtime)

    def wait_until(
        self,
        condition: Callable[[Mapping[str, Any]], object],
        *,
        timeout: timedelta | float | None = None,
        id: str | None = None,
    ) -> bool:
        """Wait until a condition over the state holds: ``ctx.wait_until(lambda state: state.get("approved"))``.

        condition: a pure function of the whole state, asked whenever that has changed, and never again once the wait
        has ended. Returns True, or False when ``timeout`` has passed; the code then sees what was asked about.
        id: names the checkpoint, default "until". Raises InvalidOptionError if the condition raises.
        """
        if not callable(condition):
            raise InvalidOptionError(f"ctx.wait_until({condition!r}): give a function of the state.")
        seconds = None if timeout is None else to_seconds(timeout, "timeout")
        return self._runtime.wait_until(None if id is None else check_step_id(id), condition, seconds)
