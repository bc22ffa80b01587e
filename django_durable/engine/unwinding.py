"""How coroutines are left before their end, and what is made of an error that comes out of them."""

from __future__ import annotations

from collections.abc import Coroutine, Iterator
from typing import Any

from django_durable.exceptions import Cancelled, ControlFlow

_MOST_AWAITS_WHILE_LEAVING = 100


def is_left(coroutine: Coroutine[Any, Any, Any], leave: BaseException) -> bool:
    """Raise it where the coroutine waits. One that awaits something on its way out is left there again."""
    for _ in range(_MOST_AWAITS_WHILE_LEAVING):
        try:
            coroutine.throw(leave)
        except BaseException as error:  # also a group of errors, which TaskGroup makes of it
            return error is leave or (
                isinstance(error, BaseExceptionGroup) and error.subgroup(leave.__eq__) is not None
            )
    return False


def plain(error: BaseException) -> BaseException:
    """The error of a function, freed from what a TaskGroup has put around control flow; a cancellation goes first."""
    if isinstance(error, Exception | ControlFlow):
        return error
    if isinstance(error, BaseExceptionGroup):
        _, others = error.split(ControlFlow)
        if others is None:
            return min(_within(error), key=lambda each: not isinstance(each, Cancelled))
        if isinstance(others, Exception):
            return others
    failure = RuntimeError(f"The coroutine of the workflow raised {error!r}.")
    failure.__cause__ = error
    return failure


def _within(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _within(error)
        else:
            yield error
