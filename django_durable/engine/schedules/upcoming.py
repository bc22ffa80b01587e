"""Which starts of a schedule are still to come, as far as the clock decides it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import islice

from django_durable.cadence import Excluded, excluded
from django_durable.engine.schedules import times
from django_durable.models import Schedule, ScheduleStatus

MOST_LOOKED_AT = 20_000  # ticks, where nearly all days are excluded


def next_after(schedule: Schedule, moment: datetime) -> datetime | None:
    """The first nominal time strictly after a moment; None: there is none, or its runs are used up."""
    return None if is_used_up(schedule) else times.first(schedule, moment + times.INSTANT)


def is_used_up(schedule: Schedule) -> bool:
    return schedule.max_runs is not None and schedule.runs >= schedule.max_runs


def upcoming(schedule: Schedule, count: int, *, now: datetime) -> list[datetime]:
    """The next nominal times at which something is to start; of a paused one, as if it were resumed now."""
    if schedule.status == ScheduleStatus.ENDED:
        return []
    is_active = schedule.status == ScheduleStatus.ACTIVE and schedule.next_at is not None
    first = schedule.next_at if is_active else next_after(schedule, now)
    left = count if schedule.max_runs is None else min(count, schedule.max_runs - schedule.runs)
    found = islice(nominal_times(schedule, first), MOST_LOOKED_AT)
    return list(islice((at for at in found if why_excluded(schedule, at) is None), max(left, 0)))


def why_excluded(schedule: Schedule, nominal_at: datetime) -> str | None:
    return excluded(nominal_at, Excluded.load(schedule.excluded), schedule.timezone) if schedule.excluded else None


def nominal_times(schedule: Schedule, nominal_at: datetime | None) -> Iterator[datetime]:
    """That one and those behind it, lazily."""
    while nominal_at is not None:
        yield nominal_at
        nominal_at = times.following(schedule, nominal_at)
