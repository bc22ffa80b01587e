"""Telling workers that an execution is ready. A hint: losing, doubling or re-ordering it changes no result.

The row is the truth. Whoever makes an execution due calls ``wake`` in the same transaction; the dispatcher hears
of it after the commit, and the tick repairs whatever it drops.
"""

from __future__ import annotations

import logging
from functools import cache
from typing import Protocol, runtime_checkable
from uuid import UUID

from django.core.signals import setting_changed
from django.db import transaction
from django.utils.module_loading import import_string

from django_durable.conf import get_settings
from django_durable.exceptions import ConfigurationError

logger = logging.getLogger("django_durable.dispatch")

TICK_SECONDS = 1.0
AHEAD_SECONDS = 1.25  # what is due within a tick and its delay is announced
# Of ticks and drains, which must not pile up for ever while nobody works. Celery asks the worker's wall clock, so this
# is far more than clocks differ.
EXPIRES_SECONDS = 24 * 3600


@runtime_checkable
class Dispatcher(Protocol):
    """Named by ``DURABLE["DISPATCHER"]``. Must answer within a second and may forget anything."""

    def wake(self, execution_id: UUID, *, queue: str, using: str) -> None:
        """One execution is due now."""

    def drain(self, queue: str, *, using: str, delay_seconds: float = 0.0) -> None:
        """Something is due on a queue, or will be in so many seconds: less than two."""


class NullDispatcher:
    """Tells nobody: for ``manage.py durable_worker``, which polls."""

    def wake(self, execution_id: UUID, *, queue: str, using: str) -> None:
        pass

    def drain(self, queue: str, *, using: str, delay_seconds: float = 0.0) -> None:
        pass


@cache
def get_dispatcher() -> Dispatcher:
    """The project's dispatcher; one per process."""
    dispatcher = import_string(get_settings().dispatcher)()
    if not isinstance(dispatcher, Dispatcher):
        raise ConfigurationError(
            f'DURABLE["DISPATCHER"] = {get_settings().dispatcher!r} has no wake() and drain(); see Dispatcher.'
        )
    return dispatcher


def _forget(*, setting: str, **_: object) -> None:
    if setting == "DURABLE":
        get_dispatcher.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_durable.dispatch")


def wake(execution_id: UUID, *, queue: str, using: str) -> None:
    """Hint, once the surrounding transaction commits, that an execution is due. Never raises."""

    def hint() -> None:  # a plain function: robust=True needs __qualname__, which a partial has not
        try:
            get_dispatcher().wake(execution_id, queue=queue, using=using)
        except Exception:
            logger.warning("No hint for %s; the tick will find it.", execution_id, exc_info=True)

    transaction.on_commit(hint, using=using, robust=True)


def drain(queue: str, *, using: str, delay_seconds: float = 0.0) -> None:
    """Hint that a queue holds work that is due, or will be in a moment. Never raises."""
    try:
        get_dispatcher().drain(queue, using=using, delay_seconds=delay_seconds)
    except Exception:
        logger.warning("No hint for queue %s; the next tick tries again.", queue, exc_info=True)


def drain_after_commit(queue: str, *, using: str, delay_seconds: float) -> None:
    """``drain``, once the surrounding transaction commits."""

    def hint() -> None:
        drain(queue, using=using, delay_seconds=delay_seconds)

    transaction.on_commit(hint, using=using, robust=True)
