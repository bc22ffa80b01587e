"""What becomes of ticks that are late: which are still fired, and which are missed. Pure.

A poller that is up to a minute late has missed nothing: beats stall, deploys take seconds. Every tick fires then,
whatever the policy. When it comes later it is catching up:

====== ================================================================================================
none   those that are due for a minute at the most are fired; the others are missed
latest the last one is fired if it lies in the window; the others are missed
all    those in the window are fired, in order; the others are missed
====== ================================================================================================
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django_durable.engine.schedules.times import Late, Passed
from django_durable.models import CatchUp

ON_TIME = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Sorted:
    """fired: those that the overlap policy may start. missed: the earlier ones, and why."""

    missed: list[Late]
    fired: list[Late]
    reason: str = ""


def sort(passed: Passed, now: datetime, *, policy: str, window_seconds: float) -> Sorted:
    """Whoever is missed comes before whoever is fired."""
    ticks = passed.ticks
    if not ticks or now - ticks[0].due_at <= ON_TIME:
        return Sorted([], ticks)
    if policy == CatchUp.NONE:
        return _in_window(ticks, now, ON_TIME, "no poller was there at its time, and the schedule does not catch up")
    window = max(timedelta(seconds=window_seconds), ON_TIME)
    too_old = f"no poller was there within the catch-up window of {window}"
    if policy == CatchUp.ALL:
        return _in_window(ticks, now, window, too_old)
    if not passed.is_cut and now - ticks[-1].due_at <= window:
        return Sorted(ticks[:-1], ticks[-1:], "no poller was there, and only the latest is caught up")
    return Sorted(ticks, [], "no poller was there, and only the latest is caught up" if passed.is_cut else too_old)


def _in_window(ticks: list[Late], now: datetime, window: timedelta, reason: str) -> Sorted:
    old = [tick for tick in ticks if now - tick.due_at > window]
    return Sorted(old, [tick for tick in ticks if now - tick.due_at <= window], reason)
