"""Pages of a list, by the place of a row: never an OFFSET, never a full count.

Newest first; those of one instant by their id. A page that continues another begins behind the last row that was shown,
whatever has been started or deleted since.
"""

from __future__ import annotations

from binascii import Error
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connections
from django.db.models import Q, Subquery, Value, prefetch_related_objects
from django.db.models.functions import Coalesce
from django.utils.http import urlsafe_base64_decode, urlsafe_base64_encode

from django_durable.engine.filters import Filter
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Execution, Status
from django_durable.models.execution import ExecutionQuerySet

LARGEST = 500
NEWEST_FIRST = ("-created_at", "pk")
OLDEST_FIRST = ("created_at", "-pk")
# What few executions answer to, or what has an index in the order of a list.
_NARROW = ("workflow", "key", "key_prefix", "id_prefix", "subject", "parent", "root", "error", "has_error")


@dataclass(frozen=True, slots=True)
class Page:
    """Some rows of a list. next, previous: cursors for what is older and newer; None where there is nothing."""

    rows: list[Execution]
    next: str | None
    previous: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is in a list."""

    created_at: datetime
    id: UUID

    @classmethod
    def of(cls, cursor: str) -> Place:
        """Raises InvalidOptionError."""
        try:
            at, _, digits = urlsafe_base64_decode(cursor).decode().partition(" ")
            place = cls(datetime.fromisoformat(at), UUID(digits))
        except (ValueError, TypeError, AttributeError, Error):
            raise InvalidOptionError(f"{cursor!r} is no cursor; give `next` or `previous` of a page.") from None
        if place.created_at.tzinfo is None:
            raise InvalidOptionError(f"{cursor!r} is no cursor; give `next` or `previous` of a page.")
        return place

    @staticmethod
    def cursor(row: Execution) -> str:
        return urlsafe_base64_encode(f"{row.created_at.isoformat()} {row.pk.hex}".encode())

    def behind(self, *, newer: bool, using: str) -> Q:
        """The rows on one side of it; first what a range of an index can tell."""
        at = self._at(using)
        if newer:
            return Q(created_at__gte=at) & (Q(created_at__gt=at) | Q(pk__lt=self.id))
        return Q(created_at__lte=at) & (Q(created_at__lt=at) | Q(pk__gt=self.id))

    def _at(self, using: str) -> object:
        if connections[using].vendor != "sqlite":
            return self.created_at
        # SQLite compares times as text, and the clock of the database writes them shorter than Django does.
        itself = Execution.objects.using(using).filter(pk=self.id).values("created_at")
        return Coalesce(Subquery(itself), Value(self.created_at))


def page(where: Filter, *, after: str | None, before: str | None, size: int, using: str) -> Page:
    """The rows behind or in front of a cursor, or the first; without payloads, their timers beside them. Two SELECTs.

    Raises InvalidOptionError.
    """
    if not 1 <= size <= LARGEST:
        raise InvalidOptionError(f"size={size!r}: give 1 to {LARGEST}.")
    if after is not None and before is not None:
        raise InvalidOptionError("Give after= or before=, not both.")
    cursor, newer = (after, False) if before is None else (before, True)
    found = where.select(using=using).without_payloads()
    if cursor is not None:
        found = found.filter(Place.of(cursor).behind(newer=newer, using=using))
    rows = _first(where, found.order_by(*(OLDEST_FIRST if newer else NEWEST_FIRST)), size + 1)
    has_more, rows = len(rows) > size, rows[:size]
    prefetch_related_objects(rows, "timer")  # a join would be made before the rest is cut off
    if newer:
        rows.reverse()
    older, newest = has_more or newer, has_more if newer else cursor is not None
    return Page(
        rows,
        next=Place.cursor(rows[-1]) if rows and older else None,
        previous=Place.cursor(rows[0]) if rows and newest else None,
    )


def _first(where: Filter, found: ExecutionQuerySet, count: int) -> list[Execution]:
    """The first of a sorted list.

    PostgreSQL reads an index in its order only for one status at a time: so each gives its first, and those are merged.
    An index of its own for lists of several would be written for every execution.
    """
    statuses = where.statuses
    is_narrow = any(getattr(where, name) for name in _NARROW)
    if connections[found.db].vendor != "postgresql" or is_narrow or len(statuses) <= 1:
        return list(found[:count])
    stored = sorted(statuses - {Status.RUNNING})
    parts = [found.filter(status=status)[:count] for status in stored]
    if Status.RUNNING in statuses:
        parts.append(found.running().exclude(status__in=stored)[:count])
    return list(parts[0].union(*parts[1:], all=True).order_by(*found.query.order_by)[:count])


def count(where: Filter, *, at_most: int, using: str) -> int:
    """How many there are, but no more than ``at_most`` are counted. Raises InvalidOptionError."""
    if at_most < 1:
        raise InvalidOptionError(f"at_most={at_most!r}: give 1 or more.")
    return where.select(using=using).values("pk")[:at_most].count()
