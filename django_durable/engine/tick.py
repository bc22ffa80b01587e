"""The tick: what must happen though nobody sent a message. Idempotent; two, ten or late ones change nothing.

It finds work by what is due, never by row: a backlog of 100,000 gets one hint a queue, and workers call each other.
"""

from __future__ import annotations

from datetime import timedelta

from django_durable import dispatch
from django_durable.clock import DatabaseNow
from django_durable.conf import get_settings
from django_durable.engine import chores, claims, slots, statements
from django_durable.engine.queues import known_queues
from django_durable.engine.schedules import firing
from django_durable.engine.webhooks import delivering as webhooks
from django_durable.models import Priority, Timer

_GIVEN_BACK, _SCHEDULES = "/slots", "/schedules"  # no queue has a slash
MOST_AHEAD = 2000  # more than workers could begin in that time; the rest is the next tick's


def tick(*, using: str) -> list[str]:
    """Return the leases of dead processes and hint at every queue that is overdue. Returns those queues.

    What is due before the next tick gets its hint now, to arrive then, so that sleeps end on time. Schedules are fired
    behind all hints, for a bounded time.
    Three statements and no commit when there is nothing to do, one more where webhooks are sent.
    """
    claims.release_dead(using=using)
    further = {_GIVEN_BACK: statements.any_given_back(using), _SCHEDULES: statements.any_schedule(using)}
    found = statements.any_due(using, known_queues(), also=further)
    overdue = [queue for queue in found if queue not in further]
    if _GIVEN_BACK in found:
        slots.mend(using=using)
    webhook_queue = get_settings().webhook_queue
    if webhook_queue is not None and webhook_queue not in overdue and webhooks.has_work(using=using):
        overdue.append(webhook_queue)
    for queue in overdue:
        dispatch.drain(queue, using=using)
    _announce_due_soon(using)
    if _SCHEDULES in found:
        firing.fire_due(using=using)
    chores.do_due(using=using)
    return overdue


def _announce_due_soon(using: str) -> None:
    soon = DatabaseNow() + timedelta(seconds=dispatch.AHEAD_SECONDS)
    timers = Timer.objects.using(using).filter(queue__in=known_queues(), priority__in=list(Priority))
    found = timers.filter(due_at__gt=DatabaseNow(), due_at__lte=soon, token__isnull=True)
    rows = found.values_list("queue", "due_at", DatabaseNow())[:MOST_AHEAD]
    for queue, ahead in sorted({(queue, due_at - now) for queue, due_at, now in rows}):
        dispatch.drain(queue, using=using, delay_seconds=ahead.total_seconds())
