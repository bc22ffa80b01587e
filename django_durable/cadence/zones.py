"""Time zones: which instant a wall-clock time stands for.

One rule: a wall time stands for the first instant at which the clock on the wall shows it, or a later time. So one
that is shown twice counts the first time, and one that is never shown counts where the clock jumps over it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from django_durable.exceptions import InvalidOptionError

_OF_THE_MACHINE = {"localtime", "Factory"}  # listed by some systems; mean something else on each host
_SECOND = timedelta(seconds=1)


def zone_named(name: object) -> ZoneInfo:
    """An IANA zone. Raises InvalidOptionError, with the closest names there are."""
    if isinstance(name, str) and (name == "UTC" or name in _known_zones()):
        return ZoneInfo(name)
    if not isinstance(name, str):
        raise InvalidOptionError(
            f"timezone={name!r} is not known: give the name of a zone as text, like 'Europe/Berlin'."
        )
    near = get_close_matches(name[:100], _known_zones(), n=3)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "give an IANA name like 'Europe/Berlin'."
    raise InvalidOptionError(f"timezone={name[:100]!r} is not known: {hint}")


def wall_time(instant: datetime, zone: ZoneInfo) -> datetime:
    """What the clock on the wall shows, naive."""
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def instant_of(wall: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which the clock shows a naive time or a later one, aware UTC."""
    instant = wall.replace(tzinfo=zone).astimezone(UTC)
    if wall_time(instant, zone) == wall:
        return instant
    return _end_of_gap(wall, zone, instant)


def _end_of_gap(wall: datetime, zone: ZoneInfo, late: datetime) -> datetime:
    """Where the clock jumps over a wall time.

    Inside a gap fold=0 reckons with the offset from before it, fold=1 with that from behind it (PEP 495): the first
    is an instant behind the jump, the second one before it.
    """
    early = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
    while late - early > _SECOND:
        middle = early + timedelta(seconds=int((late - early).total_seconds()) // 2)
        if wall_time(middle, zone) >= wall:
            late = middle
        else:
            early = middle
    return late


@cache
def _known_zones() -> frozenset[str]:
    return frozenset(available_timezones() - _OF_THE_MACHINE)
