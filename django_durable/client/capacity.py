"""Reading limits: what is in use and who waits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q

from django_durable.client.targets import alias_of
from django_durable.clock import DatabaseNow
from django_durable.models import LimitKey


@dataclass(frozen=True, slots=True)
class LimitState:
    """One limit or rate, or one key of it.

    name: ``workflow/...``, ``queue/...``, ``rate/...`` or the ``name=`` that was given. key: "" if it has none.
    capacity: as it was last admitted by. used: executions that hold a slot. waiting: those that wait for one, or for
    their time. next_at: of a rate, when its next would be due if they came evenly.
    """

    name: str
    key: str
    capacity: int
    used: int
    waiting: int
    next_at: datetime | None


def limits(name: str | None = None, *, using: str | None = None) -> list[LimitState]:
    """The limits that have been used, by name and key; name: only that one's keys. One SELECT."""
    rows = LimitKey.objects.using(alias_of(using)).order_by("name", "key")
    if name is not None:
        rows = rows.filter(name=name)
    live = Q(slots__execution__isnull=False)
    is_early = Q(slots__ready_at__gt=DatabaseNow())
    used = Count("slots", filter=live & Q(slots__granted=True, slots__ready_at__isnull=True))
    waiting = Count("slots", filter=live & (Q(slots__granted=False) | is_early))
    counted = rows.annotate(used=used, waiting=waiting)
    return [LimitState(*row) for row in counted.values_list("name", "key", "capacity", "used", "waiting", "next_at")]
