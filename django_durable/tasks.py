"""Celery: three tasks that name what to look at, and the dispatcher that sends them.

A message is a hint. It carries an id and an alias, is acknowledged early, is never retried by Celery and has no
result; whatever happens to it, the tick finds the row.
"""

from __future__ import annotations

from uuid import UUID

from celery import Task, shared_task

from django_durable import clock
from django_durable.engine import worker
from django_durable.engine.tick import tick as run_tick

DEFAULT_QUEUE = "default"
BROKER_REST_SECONDS = 5.0

_options = {
    "ignore_result": True,
    "acks_late": False,
    "reject_on_worker_lost": False,
    "max_retries": 0,
    "serializer": "json",
}


@shared_task(name="django_durable.advance", **_options)
def advance(execution_id: str, queue: str, using: str) -> None:
    """Take one execution forward, then whatever else is due on its queue."""
    if worker.advance_one(UUID(execution_id), using=using):
        worker.drain(queue, using=using)


@shared_task(name="django_durable.drain", **_options)
def drain(queue: str, using: str) -> None:
    """Take forward what is due on a queue."""
    worker.drain(queue, using=using)


@shared_task(name="django_durable.tick", **_options)
def tick(using: str) -> None:
    """Once a second, by beat."""
    run_tick(using=using)


class CeleryDispatcher:
    """Publishes hints. A broker that is down is left alone for a while, so that callers do not wait for it."""

    def __init__(self) -> None:
        self._rests_until = 0.0

    def wake(self, execution_id: UUID, *, queue: str, using: str) -> None:
        self._send(advance, [str(execution_id), queue, using], queue)

    def drain(self, queue: str, *, using: str) -> None:
        self._send(drain, [queue, using], queue)

    def _send(self, task: Task, args: list[str], queue: str) -> None:
        if clock.monotonic() < self._rests_until:
            return
        route = {} if queue == DEFAULT_QUEUE else {"queue": queue}
        try:
            task.apply_async(args, retry=False, **route)
        except Exception:
            self._rests_until = clock.monotonic() + BROKER_REST_SECONDS
            raise
