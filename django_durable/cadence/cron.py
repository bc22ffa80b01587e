"""Cron: times on the wall clock of a zone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django_durable.cadence import stored, walls, zones
from django_durable.cadence.expressions import parse
from django_durable.clock import to_instant


class Cron:
    """A cron expression in a time zone, refused when it is made if it has no one meaning.

    A nominal time is a time on the wall. One that does not exist runs at the next instant that does, one that exists
    twice runs once, the first time; several that fall on one instant are one tick.
    """

    __slots__ = ("_alternatives", "_zone", "expression", "timezone")

    def __init__(self, expression: str, timezone: str = "UTC") -> None:
        parsed = parse(expression)
        self.expression = parsed.text
        self.timezone = timezone
        self._zone = zones.zone_named(timezone)
        self._alternatives = parsed.alternatives

    def after(self, moment: datetime) -> datetime | None:
        """The first tick strictly after an aware moment, aware UTC; None: never again before the year 9999."""
        moment = to_instant(moment, "moment")
        try:
            return self._after(moment)
        except OverflowError:  # where the years end
            return None

    def _after(self, moment: datetime) -> datetime | None:
        wall = walls.following(self._alternatives, zones.wall_time(moment, self._zone))
        # What the clock shows again after it was set back has been ticks before.
        while wall is not None and zones.instant_of(wall, self._zone) <= moment:
            wall = walls.following(self._alternatives, wall)
        return None if wall is None else zones.instant_of(wall, self._zone)

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Ticks in order, lazily. start: exclusive. end: inclusive."""
        end = to_instant(end, "end")
        tick = self.after(start)
        while tick is not None and tick <= end:
            yield tick
            tick = self.after(tick)

    def describe(self) -> str:
        return f"{self.expression}, {self.timezone}"

    def dump(self) -> dict[str, Any]:
        """What a row stores: JSON values, with the parser that gave it its meaning."""
        return {"kind": "cron", "expression": self.expression, "timezone": self.timezone, **stored.parser()}

    def fingerprint(self) -> str:
        """The same for cadences with the same ticks, whatever the parser's version. 64 characters."""
        meaning = json.dumps(["cron", self.timezone, *self._alternatives])
        return hashlib.sha256(meaning.encode()).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Cron):
            return NotImplemented
        return (self._alternatives, self.timezone) == (other._alternatives, other.timezone)

    def __hash__(self) -> int:
        return hash((self._alternatives, self.timezone))

    def __repr__(self) -> str:
        return f"Cron({self.expression!r}, timezone={self.timezone!r})"
