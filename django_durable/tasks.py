"""Celery: three tasks that name what to look at, and the dispatcher that sends them.

A message is a hint. It carries an id and an alias, is acknowledged early, is never retried by Celery and has no
result; whatever happens to it, the tick finds the row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from celery import shared_task
from django.db import connections

from django_durable import (
    celery_worker,  # noqa: F401 - workers that find these tasks get its signal receivers
    dispatch,
)
from django_durable.conf import get_settings
from django_durable.engine import shutdown, worker
from django_durable.engine.reconnect import TRANSIENT
from django_durable.engine.tick import tick as run_tick
from django_durable.publishing import Publisher

T = TypeVar("T")
DEFAULT_QUEUE = "default"

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
    if shutdown.is_stopping():  # a worker may still receive the very hint that it sent when it handed over
        dispatch.wake(UUID(execution_id), queue=queue, using=using)
    elif _connected(using, lambda: worker.advance_one(UUID(execution_id), using=using)):
        worker.drain(queue, using=using)


@shared_task(name="django_durable.drain", **_options)
def drain(queue: str, using: str) -> None:
    """Take forward what is due on a queue."""
    _connected(using, lambda: worker.drain(queue, using=using))


@shared_task(name="django_durable.tick", **_options)
def tick(using: str | None = None) -> None:
    """Once a second, by beat. using: an alias; default ``DURABLE["DATABASE"]``."""
    alias = using or get_settings().database
    _connected(alias, lambda: run_tick(using=alias))


def _connected(using: str, work: Callable[[], T]) -> T:
    """Do it again on a new connection if the one that was kept since an earlier task has died meanwhile.

    Only with CELERY_DB_REUSE_MAX, which never closes a broken connection. Repeating is safe: nothing is claimed twice.
    """
    try:
        return work()
    except TRANSIENT:
        if connections[using].in_atomic_block:
            raise
        connections[using].close()
        return work()


class CeleryDispatcher:
    """Publishes hints. Answers within a second and never raises, whatever the broker does."""

    def __init__(self) -> None:
        self._publisher = Publisher()

    def wake(self, execution_id: UUID, *, queue: str, using: str) -> None:
        self._publisher.send(advance, [str(execution_id), queue, using], **_route(queue))

    def drain(self, queue: str, *, using: str) -> None:
        self._publisher.send(drain, [queue, using], **_route(queue))


def _route(queue: str) -> dict[str, str]:
    return {} if queue == DEFAULT_QUEUE else {"queue": queue}
