"""The loop of every worker, Celery's and the embedded one's: claim, advance, repeat for a bounded time."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

from django_durable import clock
from django_durable.conf import get_settings
from django_durable.definitions import registry
from django_durable.engine import claims, shutdown
from django_durable.engine.advance import advance

DRAIN_SECONDS = 5.0  # fewer, fuller tasks: Celery opens a database connection for each


def advance_one(execution_id: UUID, *, using: str) -> bool:
    """Claim one execution and take it forward; False: it is not due, somebody has it, or this worker is stopping."""
    claim = None if shutdown.is_stopping() else claims.take(execution_id, using=using)
    if claim is None:
        return False
    advance(claim)
    return True


def drain(queue: str, *, using: str, seconds: float = DRAIN_SECONDS) -> int:
    """Take forward whatever is due on a queue, one after the other; how many passes were made.

    seconds: no further one is begun after that. Stops early when this worker is stopping.
    """
    ends_at = clock.monotonic() + seconds
    passes = 0
    while not shutdown.is_stopping():
        claim = claims.take_next(queue, using=using)
        if claim is None:
            break
        advance(claim)
        passes += 1
        if clock.monotonic() >= ends_at:
            break
    return passes


def known_queues() -> list[str]:
    """Every queue an execution may be on: those of the settings and of the registered workflows, sorted."""
    named: Iterable[str] = (definition.queue for definition in registry)
    return sorted({*get_settings().queues, *named})
