"""Loops: a body that runs again and again, each time in a scope of its own.

Whether it goes round once more is asked once, of the value of the time before, and recorded with whatever is recorded
next: a replay goes the same rounds, whatever the condition would say then.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

from django_durable.engine import branches
from django_durable.engine.matching import Matcher
from django_durable.exceptions import InvalidOptionError, LoopLimitError
from django_durable.models import Kind

Condition = Callable[[Any], bool]
_LIMIT = "limit"


def loop(
    matcher: Matcher, part: str, condition: Condition, body: Callable[..., Any], initial: Any, max_iterations: int
) -> Any:
    """The value of the last time, ``initial`` if there was none.

    That the condition failed or the limit was reached is recorded too: the workflow may catch the error and go on.
    """
    value = initial
    for number in count():
        call = matcher.enter(Kind.LOOP, part)
        if call.recorded is None:
            with matcher.shared.asking():
                decision = _decided(part, condition, value, is_last=number >= max_iterations)
            branches.record(matcher, call, decision)
        if number == 0:
            first = call
        decided = branches.recorded(matcher, call)
        if decided == [_LIMIT]:
            raise LoopLimitError(
                f"Loop {part!r} has run {number} times and its condition still holds. Mend the condition, raise "
                "max_iterations=, or end the run with ctx.continue_as_new()."
            )
        if isinstance(decided, list):
            raise InvalidOptionError(*decided)
        if not decided:
            return value
        value = branches.inline(matcher, matcher.branch(first, str(number), is_inline=True), body, value)
    raise AssertionError("counted to the end")


def _decided(part: str, condition: Condition, value: Any, *, is_last: bool) -> bool | list[str]:
    """Whether to go on, or why that cannot be told, in a list."""
    try:
        goes_on = bool(condition(value))
    except Exception as error:
        return [f"loop {part!r}: asking its condition about {value!r:.200} raised {error!r}. Mend the condition."]
    return [_LIMIT] if goes_on and is_last else goes_on
