"""The loop of every worker, Celery's and the embedded one's: claim, advance, repeat for a bounded time."""

from __future__ import annotations

import logging
from uuid import UUID

from django.db import Error, connections

from django_durable import clock, dispatch
from django_durable.conf import get_settings
from django_durable.engine import claims, deliveries, shutdown, statements
from django_durable.engine.advance import advance
from django_durable.engine.webhooks import delivering as webhooks

logger = logging.getLogger("django_durable.worker")

DRAIN_SECONDS = 5.0  # fewer, fuller tasks: Celery opens a database connection for each
DELIVERY_SECONDS = 1.0  # for deliveries at the least: a backlog of executions must not hold them up


def advance_one(execution_id: UUID, *, using: str) -> bool:
    """Claim one execution and take it forward; False: it is not due, somebody has it, or this worker is stopping."""
    claim = None if shutdown.is_stopping() else claims.take(execution_id, using=using)
    if claim is None:
        return False
    advance(claim)
    return True


def drain(queue: str, *, using: str, first: UUID | None = None, seconds: float = DRAIN_SECONDS) -> int:
    """Take forward whatever is due on a queue, then deliver its events and webhooks; how much of all that was done.

    first: begin with this one, and do nothing if it is not due or taken. seconds: no further one is begun after that.
    Stops early when this worker is stopping.
    """
    ends_at = clock.monotonic() + seconds
    passes = 0
    while not shutdown.is_stopping():
        claim = claims.take(first, using=using) if first and not passes else claims.take_next(queue, using=using)
        if claim is None:
            break
        if not passes and not first:
            _call_another(queue, using)
        advance(claim)
        passes += 1
        if clock.monotonic() >= ends_at:
            break
    if first and not passes:
        return 0
    delivering_until = max(ends_at, clock.monotonic() + DELIVERY_SECONDS)
    delivered = deliveries.drain(queue, using=using, ends_at=delivering_until)
    if queue == get_settings().webhook_queue:
        sending_until = max(ends_at, clock.monotonic() + DELIVERY_SECONDS)
        delivered += webhooks.drain(using=using, ends_at=sending_until)
    return passes + delivered


def _call_another(queue: str, using: str) -> None:
    """Whoever finds more than it can begin calls one more worker, so that one hint is enough for any backlog.

    Once per drain, so that the number of hints on their way does not grow; and not for a single execution that was
    hinted at, because those that follow it are hinted at as a queue.
    """
    try:
        is_more_due = statements.any_due(using, [queue])
    except Error:  # the claim that was just made must not wait for its lease because of a question
        connections[using].close()
        return
    if is_more_due:
        dispatch.drain(queue, using=using)


def release_dead(*, using: str, is_starting: bool = False) -> None:
    """``claims.release_dead`` for whoever watches processes: closes its connection; a failure is the tick's to mend."""
    try:
        released = claims.release_dead(using=using, is_starting=is_starting)
        if released:
            logger.warning("Returned %s executions of processes that died.", released)
    except Error:
        logger.warning("Could not return the executions of dead processes; the tick will.", exc_info=True)
    finally:
        connections[using].close()
