"""Deleting old ticks, so that a schedule by the minute does not fill the disk. The next time never depends on them."""

from __future__ import annotations

from datetime import timedelta

from django.db.models import Q

from django_durable.clock import DatabaseNow
from django_durable.models import CLOSED, ScheduleTick, Status

KEPT = timedelta(days=90)
BATCH = 1000


def prune(*, size: int = BATCH, using: str) -> int:
    """Delete one batch of ticks of which nothing more will come, the oldest; how many."""
    ticks = ScheduleTick.objects.using(using)
    # Of a schedule that fires no more. A run that was continued is still open, or goes with the last of its chain.
    gone = Q(execution__isnull=True) | Q(execution__status__in=sorted(CLOSED - {Status.CONTINUED}))
    over = Q(live__isnull=True) | (Q(outcome="started") & gone)
    old = ticks.filter(over, created_at__lt=DatabaseNow() - KEPT).order_by("created_at")
    ids = list(old.values_list("pk", flat=True)[:size])
    return ticks.filter(pk__in=ids)._raw_delete(using=using) if ids else 0
