"""The tick: what must happen though nobody sent a message. Idempotent; two, ten or late ones change nothing.

It finds work by what is due, never by row: a backlog of 100,000 gets one hint a queue, and workers call each other.
"""

from __future__ import annotations

from datetime import timedelta

from django_durable import dispatch
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, statements
from django_durable.engine.queues import known_queues
from django_durable.models import Priority, Timer

MOST_AHEAD = 2000  # more than workers could begin in that time; the rest is the next tick's


def tick(*, using: str) -> list[str]:
    """Return the leases of dead processes and hint at every queue that is overdue. Returns those queues.

    What is due before the next tick gets its hint now, to arrive then, so that sleeps end on time.
    Three statements and no commit when there is nothing to do.
    """
    claims.release_dead(using=using)
    overdue = statements.any_due(using, known_queues())
    for queue in overdue:
        dispatch.drain(queue, using=using)
    _announce_due_soon(using)
    return overdue


def _announce_due_soon(using: str) -> None:
    soon = DatabaseNow() + timedelta(seconds=dispatch.AHEAD_SECONDS)
    timers = Timer.objects.using(using).filter(queue__in=known_queues(), priority__in=list(Priority))
    found = timers.filter(due_at__gt=DatabaseNow(), due_at__lte=soon, token__isnull=True)
    rows = found.values_list("queue", "due_at", DatabaseNow())[:MOST_AHEAD]
    for queue, ahead in sorted({(queue, due_at - now) for queue, due_at, now in rows}):
        dispatch.drain(queue, using=using, delay_seconds=ahead.total_seconds())
