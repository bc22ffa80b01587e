"""When a schedule ticks: nominal times in order, each computed from the one before it, and their jitter. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from django_durable import cadence
from django_durable.cadence import Cadence
from django_durable.models import Schedule

INSTANT = timedelta(microseconds=1)  # the least that two times differ by


@lru_cache(maxsize=4096)
def cadence_of(dumped: str) -> Cadence:
    """From the text of a row. Raises InvalidOptionError if this version refuses it."""
    return cadence.load(json.loads(dumped))


def due_at(schedule: Schedule, nominal_at: datetime) -> datetime:
    """When a tick is fired: its nominal time and a jitter that is the same for whoever computes it, never before.

    And before the next nominal time: ticks are fired in order, and one that was held up by another would seem missed.
    """
    if not schedule.jitter_seconds:
        return nominal_at
    digest = hashlib.sha256(f"{schedule.id.hex} {nominal_at.astimezone(UTC).isoformat()}".encode()).digest()
    share = int.from_bytes(digest[:6], "big") / 2**48
    jitter_seconds, next_at = schedule.jitter_seconds, following(schedule, nominal_at)
    if next_at is not None:
        jitter_seconds = min(jitter_seconds, (next_at - nominal_at).total_seconds())
    return nominal_at + timedelta(seconds=share * jitter_seconds)


def first(schedule: Schedule, not_before: datetime) -> datetime | None:
    """The first nominal time at or after both this and its start; None: there is none before its end."""
    earliest = max(not_before, schedule.starts_at) if schedule.starts_at else not_before
    return _until_end(schedule, cadence_of(schedule.cadence).after(earliest - INSTANT))


def following(schedule: Schedule, nominal_at: datetime) -> datetime | None:
    """The nominal time behind that one; None: there is none before its end."""
    return _until_end(schedule, cadence_of(schedule.cadence).after(nominal_at))


def _until_end(schedule: Schedule, nominal_at: datetime | None) -> datetime | None:
    is_over = nominal_at is None or (schedule.ends_at is not None and nominal_at > schedule.ends_at)
    return None if is_over else nominal_at


@dataclass(frozen=True, slots=True)
class Late:
    """A tick whose time has come: nominally, and with its jitter."""

    nominal_at: datetime
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Passed:
    """Ticks whose time has come, in order; what follows them; is_cut: that time has come too, but there were enough."""

    ticks: list[Late]
    next_at: datetime | None
    is_cut: bool


def passed(schedule: Schedule, now: datetime, *, most: int) -> Passed:
    """From the schedule's next tick on, by the database's time."""
    ticks: list[Late] = []
    for late in _from(schedule):
        if late.due_at > now or len(ticks) == most:
            return Passed(ticks, late.nominal_at, is_cut=late.due_at <= now)
        ticks.append(late)
    return Passed(ticks, None, is_cut=False)


def _from(schedule: Schedule) -> Iterator[Late]:
    nominal_at = schedule.next_at
    while nominal_at is not None:
        yield Late(nominal_at, due_at(schedule, nominal_at))
        nominal_at = following(schedule, nominal_at)
