"""Cron: times on the wall clock of a zone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from django_durable.cadence import sentences, stored, walls, zones
from django_durable.cadence.expressions import Expression, parse
from django_durable.cadence.ticks import Ticks
from django_durable.clock import to_instant


@dataclass(frozen=True, slots=True, init=False)
class Cron(Ticks):
    """A cron expression in a time zone, refused when it is made if it has no one meaning.

    A nominal time is a time on the wall. One that does not exist runs at the next instant that does, one that exists
    twice runs once, the first time; several that fall on one instant are one tick. Equal are those whose fields list
    the same values, however they are written.
    """

    expression: str = field(compare=False)
    timezone: str
    _alternatives: tuple[str, ...] = field(repr=False)
    _parsed: Expression = field(repr=False, compare=False)
    _zone: ZoneInfo = field(repr=False, compare=False)

    def __init__(self, expression: str, timezone: str = "UTC") -> None:
        parsed = parse(expression)
        object.__setattr__(self, "expression", parsed.text)
        object.__setattr__(self, "timezone", timezone)
        object.__setattr__(self, "_alternatives", parsed.alternatives)
        object.__setattr__(self, "_parsed", parsed)
        object.__setattr__(self, "_zone", zones.zone_named(timezone))

    def after(self, moment: datetime) -> datetime | None:
        """The first tick strictly after an aware moment, aware UTC; None: never again before the year 9999."""
        try:
            return self._after(to_instant(moment, "moment"))
        except OverflowError:  # where the years end
            return None

    def _after(self, moment: datetime) -> datetime | None:
        wall = walls.following(self._alternatives, zones.wall_time(moment, self._zone))
        while wall is not None:
            instant = zones.instant_of(wall, self._zone)
            if instant > moment:
                return instant
            # Shown again after the clock was set back: it has ticked before.
            wall = walls.following(self._alternatives, wall)
        return None

    def describe(self) -> str:
        """One sentence in English."""
        return sentences.of_cron(self._parsed, self.timezone)

    def dump(self) -> dict[str, Any]:
        """What a row stores: JSON values, with the parser that gave it its meaning."""
        return {"kind": "cron", "expression": self.expression, "timezone": self.timezone, **stored.parser()}

    def fingerprint(self) -> str:
        """The same for equal ones, whatever the parser's version. 64 characters."""
        meaning = json.dumps(["cron", self.timezone, *self._alternatives])
        return hashlib.sha256(meaning.encode()).hexdigest()
