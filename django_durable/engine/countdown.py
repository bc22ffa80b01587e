"""Counting down what is left of a map: whoever ends last, or fails first, wakes the parent; nobody else does.

The count is taken in the child's last transaction, under the lock of a row of the map's own, which is kept to the
commit. So two children that end at once are one after the other here, and exactly one of them is the last. Locks:
``FanOut``, then the parent's ``Timer``, then the child's own, then that of the child which may begin next.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import connections
from django.db.models import F, Subquery

from django_durable import dispatch
from django_durable.clock import DatabaseNow
from django_durable.engine import compound
from django_durable.models import FanOut, Status, Timer


@dataclass(frozen=True, slots=True)
class Turn:
    """What the end of a child of a map leads to.

    last: of a map with a limit, its last child: one that waits for its turn may begin. None: nobody does.
    """

    fan_out: UUID
    is_news: bool
    last: UUID | None = None


def count(fan_out: UUID, execution_id: UUID, *, has_failed: bool, using: str) -> Turn:
    """Count one child's end. Before its own rows are locked, in the transaction that closes it."""
    counted = compound.count_down(fan_out, execution_id, has_failed=has_failed, using=using)
    if counted is None:  # somebody deleted it: then every end is news, and the parent looks at the children
        return Turn(fan_out, is_news=True)
    if not counted.remaining:
        FanOut.objects.using(using).filter(pk=fan_out)._raw_delete(using=using)
    is_news = not counted.remaining or counted.failed == execution_id
    # One that was cancelled before its turn had none to hand on.
    return Turn(fan_out, is_news, None if counted.held or not counted.remaining else counted.last)


def take_back(fan_out: UUID | None, *, using: str) -> None:
    """The end of one that goes on does not count any more: that which it comes to will. Under ``lock``.

    Once all have ended there is no count left, and each further end is news.
    """
    if fan_out is not None:
        FanOut.objects.using(using).filter(pk=fan_out).update(remaining=F("remaining") + 1)


def lock(fan_out: UUID | None, *, using: str) -> None:
    """Keep the order of locks where it is decided later whether the child ends."""
    if fan_out is not None:
        list(FanOut.objects.using(using).filter(pk=fan_out).select_for_update().values_list("pk"))


def hand_on(turn: Turn, *, queue: str, using: str) -> None:
    """Let the next child begin that waits for its turn; after the row of the one that ended.

    Whoever hands on holds the lock of the fan-out, so no two of them find the same.
    """
    if turn.last is None:
        return
    timers = Timer.objects.using(using)
    held = timers.filter(pk__gte=turn.fan_out, pk__lte=turn.last, execution__fan_out=turn.fan_out)
    held = held.filter(held=True, due_at__isnull=True, execution__status=Status.PENDING)  # not paused, nor stuck
    following = held.order_by("pk").values("pk")[:1]
    turned = {"held": False, "due_at": DatabaseNow()}
    begun = 0
    if connections[using].vendor != "mysql":
        begun = timers.filter(pk=Subquery(following)).update(**turned)
    else:  # there an UPDATE locks what its sub-query reads: executions before timers, against the order of locks
        while not begun and (found := following.first()) is not None:
            begun = timers.filter(pk=found["pk"]).update(**turned)
    if begun:
        dispatch.drain_after_commit(queue, using=using, delay_seconds=0.0)
