"""Celery: three tasks that name what to look at, and the dispatcher that sends them.

A message is a hint. It carries an id and an alias, is acknowledged early, is never retried by Celery and has no
result; whatever happens to it, the tick finds the row.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

from celery import shared_task, signals
from django.db import connections

from django_durable import (
    celery_worker,  # noqa: F401 - workers that find these tasks get its signal receivers
    clock,
    dispatch,
)
from django_durable.conf import get_settings
from django_durable.engine import presence, shutdown, worker
from django_durable.engine.reconnect import TRANSIENT
from django_durable.engine.tick import tick as run_tick
from django_durable.publishing import FOLD_SECONDS, Hint, Publisher, flush

logger = logging.getLogger("django_durable.worker")

DEFAULT_QUEUE = "default"
EARLIEST_SECONDS = 0.005  # a hint that comes a moment too early would find nothing due

_ticked_at: dict[str, float] = {}  # by alias, this process's monotonic clock

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
    else:
        _connected(using, lambda: worker.drain(queue, using=using, first=UUID(execution_id)))


@shared_task(name="django_durable.drain", **_options)
def drain(queue: str, using: str) -> None:
    """Take forward what is due on a queue."""
    if shutdown.is_stopping():
        dispatch.drain(queue, using=using)
    else:
        _connected(using, lambda: worker.drain(queue, using=using))


@shared_task(name="django_durable.tick", **_options)
def tick(using: str | None = None) -> None:
    """Once a second, by beat. using: an alias; default ``DURABLE["DATABASE"]``.

    Those that gathered while no worker ran come all at once; one of them is enough.
    """
    alias = using or get_settings().database
    now = clock.process_seconds()
    if now - _ticked_at.get(alias, float("-inf")) < dispatch.TICK_SECONDS / 2:
        return
    _ticked_at[alias] = now
    _connected(alias, lambda: run_tick(using=alias))
    presence.ticked("celery", using=alias)


def _connected(using: str, work: Callable[[], object]) -> None:
    """Do it again on a new connection if the one that was kept since an earlier task has died meanwhile.

    Only with CELERY_DB_REUSE_MAX, which never closes a broken connection. Repeating is safe: nothing is claimed twice.
    A database that stays away is one line in the log, not a failed task: the message was only a hint.
    """
    try:
        work()
    except TRANSIENT:
        if connections[using].in_atomic_block:
            raise
        connections[using].close()
        try:
            work()
        except TRANSIENT as error:
            connections[using].close()
            logger.warning("The database does not answer; the tick will find the work. %s", str(error).strip())


class CeleryDispatcher:
    """Publishes hints from a thread of its own: costs the caller nothing and never raises, whatever the broker does."""

    def __init__(self) -> None:
        self._publisher = Publisher()

    def wake(self, execution_id: UUID, *, queue: str, using: str) -> None:
        hint = Hint(
            (queue, using),
            _task(advance),
            [str(execution_id), queue, using],
            _route(queue),
            again=_drain(queue, using),
        )
        self._publisher.send(hint)

    def drain(self, queue: str, *, using: str, delay_seconds: float = 0.0) -> None:
        hint = _drain(queue, using)
        if delay_seconds:
            # One message for what is due in the same moment, at its end: none of it may be told too early.
            now = clock.process_seconds()
            slot = int((now + delay_seconds) / FOLD_SECONDS) + 1
            hint = replace(
                hint, subject=(queue, using, slot), delay_seconds=slot * FOLD_SECONDS - now + EARLIEST_SECONDS
            )
        else:
            hint = replace(hint, again=hint)
        self._publisher.send(hint)


def _drain(queue: str, using: str) -> Hint:
    return Hint((queue, using), _task(drain), [queue, using], {**_route(queue), "expires": dispatch.EXPIRES_SECONDS})


def _task(shared: Any) -> Any:
    """The real task of a shared one, looked up here: the thread that publishes may have another current app."""
    return shared.app.tasks[shared.name]


def _route(queue: str) -> dict[str, Any]:
    return {} if queue == DEFAULT_QUEUE else {"queue": queue}


def _flush(**_: object) -> None:
    """Receiver of ``worker_process_shutdown``: a pool process ends without the interpreter's own exit."""
    flush()


signals.worker_process_shutdown.connect(_flush, dispatch_uid="django_durable.flush")
