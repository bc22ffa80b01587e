"""Leases: taking an execution, keeping it, giving it back, and returning what the dead have held.

Every write here is one compare-and-set on the timer row; the loser changes nothing and learns it.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import F

from django_durable import clock, dispatch
from django_durable.clock import DatabaseNow
from django_durable.conf import get_settings
from django_durable.engine import holders, statements
from django_durable.models import LogLine, Timer

MOST_CONTENDED_TRIES = 10
REFUSED_LONG_SECONDS = 60  # no worker knew the code for so long: tell people
LONGEST_BACKOFF_SECONDS = 60


@dataclass(slots=True)
class Claim:
    """One lease on one execution, and the database's clock as this process knows it.

    lost: set by the heartbeat; from then on nothing new may begin.
    """

    execution_id: UUID
    using: str
    token: UUID
    queue: str
    wake_seq: int
    claims: int
    progress: int
    refused_since: datetime | None
    database_now: datetime
    taken_at: float = field(default_factory=clock.monotonic)
    lost: bool = False
    log_lines: list[LogLine] = field(default_factory=list)  # said and not yet stored
    log_number: int | None = None  # of the next one; None: not read yet

    def now(self) -> datetime:
        """The database's clock, carried forward by this process's monotonic one.

        ``taken_at`` is read after the database has answered, so this may run late by the answer's way but never ahead:
        no timer fires early, and no pass records an earlier time than one before it.
        """
        return self.database_now + timedelta(seconds=clock.monotonic() - self.taken_at)

    def timers(self) -> Any:
        """The timer row while this lease is the one that counts; update it and look at the count."""
        return Timer.objects.using(self.using).held_by(self.execution_id, self.token)


def take(execution_id: UUID, *, using: str) -> Claim | None:
    """Claim one execution if it is due; None: it is not, or somebody was faster."""
    return _claim(using, execution_id=execution_id, queue=None)


def take_next(queue: str, *, using: str) -> Claim | None:
    """Claim the most urgent due execution of a queue; None: nothing is due."""
    if connections[using].vendor == "postgresql":
        return _claim(using, execution_id=None, queue=queue)
    for _ in range(MOST_CONTENDED_TRIES):
        found = statements.find_due(using, queue)
        if found is None:
            return None
        claim = _claim(using, execution_id=found, queue=None)
        if claim is not None:
            return claim
    return None


def _claim(using: str, *, execution_id: UUID | None, queue: str | None) -> Claim | None:
    token = uuid.uuid4()
    lease = timedelta(seconds=get_settings().lease_seconds)
    holder = holders.this_process()
    if connections[using].vendor == "postgresql":
        row = statements.claim_returning(
            using, execution_id=execution_id, queue=queue, token=token, holder=holder, lease=lease
        )
    else:
        assert execution_id is not None
        row = claim_then_read(using, execution_id=execution_id, token=token, holder=holder, lease=lease)
    if row is None:
        return None
    found, on_queue, wake_seq, claims, progress, refused_since, database_now = row
    return Claim(
        found,
        using,
        token,
        on_queue,
        wake_seq,
        claims,
        progress,
        refused_since,
        database_now,
    )


def claim_then_read(
    using: str, *, execution_id: UUID, token: UUID, holder: str, lease: timedelta
) -> tuple[Any, ...] | None:
    """The claim in the ORM's words, two statements: for every database without UPDATE ... RETURNING."""
    timers = Timer.objects.using(using).filter(pk=execution_id)
    won = timers.due().update(token=token, holder=holder, claims=F("claims") + 1, due_at=DatabaseNow() + lease)
    if not won:
        return None
    return (
        timers.filter(token=token)
        .annotate(database_now=DatabaseNow())
        .values_list("execution_id", "queue", "wake_seq", "claims", "progress", "refused_since", "database_now")
        .first()
    )


def extend(claim: Claim) -> bool:
    """Move the end of the lease further into the future; False: it is no longer ours."""
    lease = timedelta(seconds=get_settings().lease_seconds)
    return bool(claim.timers().update(due_at=DatabaseNow() + lease))


def refuse(claim: Claim) -> bool:
    """Put back an execution whose code this worker does not have, for one that does; it is no failure of its own.

    The pause doubles with the time since the first refusal. Returns whether that was so long ago that people
    should be told.
    """
    since = claim.refused_since or claim.now()
    waited = (claim.now() - since).total_seconds()
    pause = timedelta(seconds=min(max(waited, 1.0), LONGEST_BACKOFF_SECONDS))
    given = claim.timers().update(
        token=None, holder="", due_at=DatabaseNow() + pause, claims=F("claims") - 1, refused_since=since
    )
    return bool(given) and waited >= REFUSED_LONG_SECONDS


def release_dead(*, using: str, is_starting: bool = False) -> int:
    """Return the leases of this machine's dead processes; how many.

    The first return is immediate. One that keeps killing its workers waits longer each time, so that it cannot
    take the fleet down while its claims are counted.

    is_starting: for a worker that starts; return also what workers of its node name held on other machines.
    """
    released = 0
    leased = Timer.objects.using(using).leased()
    for execution_id, queue, token, holder, claims in leased.values_list(
        "execution_id", "queue", "token", "holder", "claims"
    ):
        is_gone = holders.is_dead(holder) or (is_starting and holders.is_predecessor(holder))
        if token is None or not is_gone:
            continue
        pause = timedelta(seconds=0 if claims <= 2 else min(2 ** (claims - 2), LONGEST_BACKOFF_SECONDS))
        freed = (
            Timer.objects.using(using)
            .held_by(execution_id, token)
            .update(token=None, holder="", due_at=DatabaseNow() + pause if pause else DatabaseNow())
        )
        released += freed
        if freed and not pause:
            dispatch.wake(execution_id, queue=queue, using=using)
    return released
