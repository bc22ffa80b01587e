"""The tick: what must happen though nobody sent a message. Idempotent; two, ten or late ones change nothing.

It finds work by what is due, never by row: a backlog of 100,000 gets a handful of hints, not one each.
"""

from __future__ import annotations

from django_durable import dispatch
from django_durable.engine import claims, statements
from django_durable.engine.worker import known_queues

HINTS_PER_QUEUE = 4


def tick(*, using: str) -> list[str]:
    """Return the leases of dead processes and hint at every queue that is overdue. Returns those queues.

    Two statements and no commit when there is nothing to do.
    """
    claims.release_dead(using=using)
    overdue = statements.any_due(using, known_queues())
    for queue in overdue:
        for _ in range(HINTS_PER_QUEUE):
            dispatch.drain(queue, using=using)
    return overdue
