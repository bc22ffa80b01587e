"""What every cadence can do once it knows the tick after a moment."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from datetime import datetime
from itertools import islice, takewhile

from django_durable.clock import to_instant


class Ticks(ABC):
    """An endless row of instants, in order and each once."""

    __slots__ = ()

    @abstractmethod
    def after(self, moment: datetime) -> datetime | None:
        """The first tick strictly after an aware moment, aware UTC; None: never again before the year 9999."""

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """Ticks in order, lazily. start: exclusive. end: inclusive."""
        last = to_instant(end, "end")
        return takewhile(lambda tick: tick <= last, self._from(to_instant(start, "start")))

    def upcoming(self, moment: datetime, count: int) -> list[datetime]:
        """The next ticks after a moment."""
        return list(islice(self._from(moment), count))

    def _from(self, moment: datetime) -> Iterator[datetime]:
        tick = self.after(moment)
        while tick is not None:
            yield tick
            tick = self.after(tick)
