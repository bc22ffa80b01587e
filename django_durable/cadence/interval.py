"""Interval: equal distances in UTC, whatever clocks on walls do."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django_durable.cadence import sentences
from django_durable.cadence.ticks import Ticks
from django_durable.clock import to_instant, to_seconds
from django_durable.exceptions import InvalidOptionError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SHORTEST = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, init=False)
class Interval(Ticks):
    """Every so often, counted in UTC from an anchor: at ``anchor + n * every`` for every whole n, below 0 as well.

    The anchor and not the moment of the call is what ticks are counted from, so a deploy does not move them.
    """

    every: timedelta
    anchor: datetime

    def __init__(self, every: timedelta | float, anchor: datetime = EPOCH) -> None:
        length = timedelta(seconds=to_seconds(every, "every"))
        if length < SHORTEST:
            raise InvalidOptionError(f"Interval(every={every!r}): give a second or more.")
        object.__setattr__(self, "every", length)
        object.__setattr__(self, "anchor", to_instant(anchor, "anchor"))

    def after(self, moment: datetime) -> datetime | None:
        """The first tick strictly after an aware moment, aware UTC; None: never again before the year 9999."""
        passed = (to_instant(moment, "moment") - self.anchor) // self.every
        try:
            return self.anchor + (passed + 1) * self.every
        except OverflowError:
            return None

    def describe(self) -> str:
        """One sentence in English."""
        return sentences.of_interval(self.every, None if self.anchor == EPOCH else self.anchor)

    def dump(self) -> dict[str, Any]:
        """What a row stores: JSON values."""
        return {
            "kind": "interval",
            "every_seconds": self.every.total_seconds(),
            "anchor": self.anchor.isoformat(),
        }

    def fingerprint(self) -> str:
        """The same for cadences with the same ticks. 64 characters."""
        phase = (self.anchor - EPOCH) % self.every
        meaning = json.dumps(["interval", self.every.total_seconds(), phase.total_seconds()])
        return hashlib.sha256(meaning.encode()).hexdigest()
