"""What the tick does now and then: deleting what is expired, one batch at a time.

Each process asks once a minute at the most; where nothing is ever deleted that is one statement. Whoever then finds
the turn of a chore in the database does one batch of it. While there is more, each tick does one, whoever makes it.
Each chore has a turn of its own, so that one that fails keeps no other waiting.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from django.db import Error, connections

from django_durable import clock
from django_durable.conf import get_settings
from django_durable.engine import retention, slots
from django_durable.engine.schedules import firing, pruning
from django_durable.models import Turn

logger = logging.getLogger("django_durable.worker")

PAUSE_SECONDS = 60.0
BACKLOG_SECONDS = 0.5  # so that the next tick finds it due
LONGEST_SECONDS = 600.0  # a batch; who takes longer, or dies, is not waited for

_next_look: dict[str, float] = {}  # by alias, this process's monotonic clock


@dataclass(frozen=True, slots=True)
class _Chore:
    """name: of its turn. is_wanted, do: of a database; do one batch, and say whether there is more."""

    name: str
    is_wanted: Callable[[str], bool]
    do: Callable[[str], bool]


def _forgets_audit(using: str) -> bool:
    return get_settings().audit_retention is not None


_CHORES = (
    _Chore("retention", lambda using: retention.has_policy(), lambda using: not retention.prune(using=using).is_last),
    _Chore("audit", _forgets_audit, lambda using: retention.prune_audit(using=using) == retention.BATCH),
    _Chore("webhooks", _forgets_audit, lambda using: retention.prune_webhooks(using=using) == retention.BATCH),
    _Chore(  # keys come and go; which steps have limits is known only where they run
        "limit_keys",
        lambda using: slots.any_limit(using=using),
        lambda using: slots.prune(using=using) == slots.MOST_MENDED,
    ),
    _Chore("schedule_ticks", firing.has_fired, lambda using: pruning.prune(using=using) == pruning.BATCH),
)


def do_due(*, using: str) -> None:
    """One batch of each kind whose turn it is. Storages that fail are told in the log; they must not stop the tick."""
    now = clock.process_seconds()
    if now < _next_look.get(using, 0.0) or connections[using].in_atomic_block:
        return
    _next_look[using] = now + PAUSE_SECONDS
    wanted = {chore.name: chore for chore in _CHORES if chore.is_wanted(using)}
    if not wanted:
        return
    for name in Turn.objects.using(using).due(wanted):
        if _has_more(wanted[name], using=using):
            _next_look[using] = now + BACKLOG_SECONDS


def _has_more(chore: _Chore, *, using: str) -> bool:
    """Do one batch, if nobody else has taken the turn, and say when the next one is due."""
    turns = Turn.objects.using(using)
    if not turns.take(chore.name, seconds=LONGEST_SECONDS):
        return False
    has_more = False
    try:
        has_more = chore.do(using)
    except Error:
        raise
    except Exception:
        logger.warning("Chore %s failed; it is tried again in a minute.", chore.name, exc_info=True)
    turns.put(chore.name, seconds=BACKLOG_SECONDS if has_more else PAUSE_SECONDS)
    return has_more
