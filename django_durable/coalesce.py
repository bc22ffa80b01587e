"""Coalesce: what a start does when one of the same coalescing key has not begun yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from django_durable.clock import to_seconds
from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_key

Mode = Literal["skip", "replace", "debounce", "throttle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Coalesce:
    """Join the execution of the same workflow and key that has not begun, if there is one.

    For ``workflow.using(coalesce=Coalesce.skip(key="feed:7"))``. What no worker has claimed has not begun. Either it is
    joined, or there is a new one: whatever the caller commits with its start is seen by a run that begins after it.
    """

    mode: Mode
    key: str
    period_seconds: float = 0.0
    max_wait_seconds: float | None = None

    @classmethod
    def skip(cls, *, key: str) -> Coalesce:
        """Leave the pending one as it is: its input stays."""
        return cls(mode="skip", key=check_key(key, "key"))

    @classmethod
    def replace(cls, *, key: str) -> Coalesce:
        """Give the pending one this input."""
        return cls(mode="replace", key=check_key(key, "key"))

    @classmethod
    def debounce(cls, period: timedelta | float, *, key: str, max_wait: timedelta | float | None = None) -> Coalesce:
        """Begin after a ``period`` without a start, with the last input; ``max_wait`` after the first at the latest."""
        longest = None if max_wait is None else to_seconds(max_wait, "max_wait")
        seconds = _period(period)
        if longest is not None and longest < seconds:
            raise InvalidOptionError(f"max_wait={max_wait!r} is shorter than the period {period!r}: give a longer one.")
        return cls(mode="debounce", key=check_key(key, "key"), period_seconds=seconds, max_wait_seconds=longest)

    @classmethod
    def throttle(cls, period: timedelta | float, *, key: str) -> Coalesce:
        """Begin at most one in each ``period``: the first at once, the next at its end, with the last input."""
        return cls(mode="throttle", key=check_key(key, "key"), period_seconds=_period(period))

    @property
    def delay_seconds(self) -> float | None:
        """How long the first one waits."""
        return self.period_seconds if self.mode == "debounce" else None


def _period(period: timedelta | float) -> float:
    seconds = to_seconds(period, "period")
    if not seconds:
        raise InvalidOptionError("period=0: give a positive duration.")
    return seconds
