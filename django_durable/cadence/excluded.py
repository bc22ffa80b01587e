"""Dates on which a schedule does not start anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from django_durable.cadence import zones
from django_durable.cadence.expressions import WEEKDAYS
from django_durable.exceptions import InvalidOptionError

MOST = 10_000
_NAMES = (*WEEKDAYS[1:], WEEKDAYS[0])  # as date.weekday() counts: Monday is 0


@dataclass(frozen=True, slots=True, init=False)
class Excluded:
    """A calendar of dates on which ticks are skipped, each with a reason; dates are those of the cadence's zone.

    dates: dates, or a dict of texts by date that say why. weekdays: full names in English, or at least three letters.
    """

    dates: Mapping[date, str]
    weekdays: frozenset[int]  # Monday is 0

    def __init__(self, dates: Iterable[date] | Mapping[date, str] = (), weekdays: Iterable[str] = ()) -> None:
        if not isinstance(dates, Iterable) or not isinstance(weekdays, Iterable):
            raise InvalidOptionError("Excluded(dates=..., weekdays=...): give lists, or a dict of texts by date.")
        given = dict(dates) if isinstance(dates, Mapping) else dict.fromkeys(dates, "")
        if len(given) > MOST:
            raise InvalidOptionError(f"Excluded: {len(given)} dates; at most {MOST} are taken.")
        for day, why in given.items():
            _check_date(day, why)
        object.__setattr__(self, "dates", given)
        names = [weekdays] if isinstance(weekdays, str) else weekdays
        object.__setattr__(self, "weekdays", frozenset(_weekday(name) for name in names))
        if len(self.weekdays) == 7:
            raise InvalidOptionError("Excluded(weekdays=...): all seven leave nothing; pause the schedule instead.")

    def dump(self) -> dict[str, Any]:
        """What a row stores: JSON values."""
        return {
            "dates": {day.isoformat(): why for day, why in sorted(self.dates.items())},
            "weekdays": [_NAMES[day] for day in sorted(self.weekdays)],
        }

    @classmethod
    def load(cls, dumped: Mapping[str, Any]) -> Excluded:
        dates = {date.fromisoformat(day): why for day, why in dumped.get("dates", {}).items()}
        return cls(dates, dumped.get("weekdays", ()))


def excluded(nominal: datetime, calendar: Excluded, timezone: str = "UTC") -> str | None:
    """Why the tick of a nominal time (aware) is skipped, or None. timezone: the cadence's."""
    day = zones.wall_time(nominal, zones.zone_named(timezone)).date()
    if day in calendar.dates:
        why = calendar.dates[day]
        return f"excluded date {day.isoformat()}" + (f": {why}" if why else "")
    if day.weekday() in calendar.weekdays:
        return f"excluded weekday {_NAMES[day.weekday()]}"
    return None


def _check_date(day: object, why: object) -> None:
    if not isinstance(day, date) or isinstance(day, datetime):
        raise InvalidOptionError(f"Excluded(dates=...): {day!r} is no date; give datetime.date values.")
    if not isinstance(why, str) or len(why) > 200:
        raise InvalidOptionError(f"Excluded(dates=...): the reason for {day} has to be text of up to 200 characters.")


def _weekday(given: object) -> int:
    if isinstance(given, str) and len(given) >= 3:
        for number, name in enumerate(_NAMES):
            if name.lower().startswith(given.lower()):
                return number
    raise InvalidOptionError(f"Excluded(weekdays=...): {given!r} is no weekday; give names like 'Saturday' or 'SAT'.")
