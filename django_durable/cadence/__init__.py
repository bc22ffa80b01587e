"""When a schedule ticks. Pure: no clock is read, no database is known.

expressions.py  the text of a cron expression; what is refused, and where
walls.py        matching times on a wall clock without a zone (croniter)
zones.py        which instant such a time stands for
cron.py interval.py    the two cadences
sentences.py    a cadence as one sentence
stored.py       which parser's reading a row holds
excluded.py     dates that are left out
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django_durable.cadence.cron import Cron
from django_durable.cadence.excluded import Excluded, excluded
from django_durable.cadence.interval import Interval
from django_durable.cadence.stored import is_reinterpreted
from django_durable.exceptions import InvalidOptionError

Cadence = Cron | Interval

__all__ = ["Cadence", "Cron", "Excluded", "Interval", "excluded", "is_reinterpreted", "load"]


def load(dumped: Mapping[str, Any]) -> Cadence:
    """A cadence from what its ``dump()`` gave. Raises InvalidOptionError if it is refused by now."""
    try:
        if dumped["kind"] == "cron":
            return Cron(dumped["expression"], dumped["timezone"])
        if dumped["kind"] == "interval":
            return Interval(dumped["every_seconds"], datetime.fromisoformat(dumped["anchor"]))
    except KeyError:
        pass
    raise InvalidOptionError(f"{dumped!r} is no stored cadence: give what dump() gave.")
