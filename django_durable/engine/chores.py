"""What the tick does now and then: deleting what is expired, one batch at a time.

Each process asks once a minute at the most, and not at all where nothing is ever deleted. Whoever then finds its turn
in the database does one batch. While there is more, each tick does one, whoever makes it.
"""

from __future__ import annotations

import logging

from django.db import Error, connections

from django_durable import clock
from django_durable.conf import get_settings
from django_durable.definitions import registry
from django_durable.engine import retention, slots
from django_durable.engine.schedules import firing, pruning
from django_durable.models import Turn

logger = logging.getLogger("django_durable.worker")

TURN = "retention"
PAUSE_SECONDS = 60.0
BACKLOG_SECONDS = 0.5  # so that the next tick finds it due
LONGEST_SECONDS = 600.0  # a batch; who takes longer, or dies, is not waited for

_next_look: dict[str, float] = {}  # by alias, this process's monotonic clock


def do_due(*, using: str) -> None:
    """One batch of each kind, if it is time. Storages that fail are told in the log; they must not stop the tick."""
    now = clock.process_seconds()
    if now < _next_look.get(using, 0.0) or not _has_chores(using) or connections[using].in_atomic_block:
        return
    _next_look[using] = now + PAUSE_SECONDS
    turns = Turn.objects.using(using)
    if not turns.is_due(TURN) or not turns.take(TURN, seconds=LONGEST_SECONDS):
        return
    pause = PAUSE_SECONDS
    try:
        if _delete(using):
            pause = BACKLOG_SECONDS
            _next_look[using] = now + pause
    except Error:
        raise
    except Exception:
        logger.warning("Retention failed; it is tried again in a minute.", exc_info=True)
    turns.put(TURN, seconds=pause)


def _has_chores(using: str) -> bool:
    has_limits = any(definition.limits for definition in registry)  # whose keys come and go
    return has_limits or firing.has_fired(using) or get_settings().audit_retention is not None or retention.has_policy()


def _delete(using: str) -> bool:
    """Whether there is more."""
    batch = retention.prune(using=using)
    entries = retention.prune_audit(using=using)
    webhooks = retention.prune_webhooks(using=using)
    keys = slots.prune(using=using)
    ticks = pruning.prune(using=using)
    return (
        not batch.is_last
        or ticks == pruning.BATCH
        or retention.BATCH in (entries, webhooks)
        or keys == slots.MOST_MENDED
    )
