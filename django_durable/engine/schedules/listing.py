"""Pages of schedules, by name, and of the ticks of one, the latest first: by the place of a row, never an OFFSET."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django_durable.clock import to_instant
from django_durable.engine.pages import LARGEST
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Schedule, ScheduleStatus, ScheduleTick, TickOutcome
from django_durable.models.schedule import ScheduleQuerySet, ScheduleTickQuerySet


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """Some schedules. next: the cursor for those behind them, None at the end."""

    rows: list[Schedule]
    next: str | None


@dataclass(frozen=True, slots=True)
class TickPage:
    """Some ticks, their executions without payloads. next: the cursor for older ones, None at the end."""

    rows: list[ScheduleTick]
    next: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which schedules; None: any."""

    workflow: str | None = None
    status: str | None = None
    declared: bool | None = None
    name_prefix: str | None = None

    def select(self, using: str) -> ScheduleQuerySet:
        """Raises InvalidOptionError."""
        if not (self.declared is None or isinstance(self.declared, bool)):
            raise InvalidOptionError(f"declared={self.declared!r}: give True, False or None.")
        conditions = {
            "workflow": self.workflow,
            "status": None if self.status is None else _one_of("status", self.status, ScheduleStatus.values),
            "is_declared": self.declared,
            "name__startswith": self.name_prefix,
        }
        given = {field: value for field, value in conditions.items() if value is not None}
        return ScheduleQuerySet(Schedule, using=using).filter(**given)


def page(where: Wanted, *, after: str | None, size: int, using: str) -> SchedulePage:
    """One SELECT. Raises InvalidOptionError."""
    _check_size(size)
    found = where.select(using).order_by("name")
    if after is not None:
        found = found.filter(name__gt=after)
    rows = list(found[: size + 1])
    return SchedulePage(rows[:size], rows[size - 1].name if len(rows) > size else None)


def ticks(schedule: Schedule, *, outcome: str | None, after: str | None, size: int, using: str) -> TickPage:
    """One SELECT. Raises InvalidOptionError."""
    _check_size(size)
    found = ScheduleTickQuerySet(ScheduleTick, using=using).filter(schedule=schedule).order_by("-nominal_at")
    if outcome is not None:
        found = found.filter(outcome=_one_of("outcome", outcome, TickOutcome.values))
    if after is not None:
        found = found.filter(nominal_at__lt=_instant(after))
    rows = list(found[: size + 1])
    return TickPage(rows[:size], rows[size - 1].nominal_at.isoformat() if len(rows) > size else None)


def _instant(cursor: str) -> datetime:
    try:
        return to_instant(datetime.fromisoformat(cursor), "after")
    except (TypeError, ValueError):
        raise InvalidOptionError(f"{cursor!r} is no cursor; give `next` of a page.") from None


def _one_of(what: str, given: str, known: list[str]) -> str:
    if given not in known:
        raise InvalidOptionError(f"{what}={given!r}: give one of {', '.join(known)}.")
    return given


def _check_size(size: object) -> None:
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= LARGEST:
        raise InvalidOptionError(f"size={size!r}: give 1 to {LARGEST}.")
