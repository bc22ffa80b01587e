"""Timer: when a live execution must next be looked at. The queue, the sleeps and the leases in one narrow table.

Ready work, sleeps, retries, timeouts and crash recovery are one question, "what is due?", so they are one column
and one index. A claim pushes ``due_at`` to the end of its lease; a crash needs no bookkeeping, the lease just
runs out and the row is due again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self

from django.db import models
from django.db.models import Case, F, When

from django_durable.clock import DatabaseNow
from django_durable.models.execution import Execution, Priority
from django_durable.models.sparse import SparseIndex

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID


class TimerQuerySet(models.QuerySet["Timer"]):
    def due(self) -> Self:
        """Ready by the database's clock: never started, woken, slept out, or its lease has run out."""
        return self.filter(due_at__lte=DatabaseNow())

    def on_queue(self, queue: str) -> Self:
        # All priorities are named, so that each is one range of the index and sleepers are never read.
        return self.filter(queue=queue, priority__in=list(Priority))

    def held_by(self, execution_id: UUID, token: UUID) -> Self:
        """The row, if this lease is still the one that counts: the fence of every write."""
        return self.filter(execution_id=execution_id, token=token)

    def leased(self) -> Self:
        return self.filter(token__isnull=False)

    def bump(self) -> int:
        """Record that news has come: whoever parks on an older ``wake_seq`` loses and looks again.

        Makes the execution due, unless a worker has it (it will look before it parks) or it is set aside.
        """
        return self.update(**self.news())

    @staticmethod
    def news() -> dict[str, Any]:
        """The changes of ``bump``."""
        return {"wake_seq": F("wake_seq") + 1, "due_at": TimerQuerySet.due_with_news()}

    @staticmethod
    def due_with_news() -> Case:
        """``due_at`` of one that has news to look at."""
        later = models.Q(due_at__isnull=True) | models.Q(due_at__gt=DatabaseNow())  # what is due keeps its place
        resting = models.Q(token__isnull=True, held=False) & later
        return Case(When(resting, then=DatabaseNow()), default=F("due_at"))


class Timer(models.Model):
    """One narrow row per live execution; inserted at its start, deleted at its end."""

    execution = models.OneToOneField(Execution, on_delete=models.CASCADE, primary_key=True, related_name="timer")
    queue = models.CharField(max_length=100)
    priority = models.PositiveSmallIntegerField(default=Priority.NORMAL)
    due_at = models.DateTimeField(null=True)  # NULL: only news can make it due
    token = models.UUIDField(null=True)  # random per claim, the fence; NULL: nobody has it
    holder = models.CharField(max_length=120, blank=True)  # which process; see engine/holders.py
    wake_seq = models.BigIntegerField(default=0)  # +1 with every signal, cancel or order
    claims = models.PositiveIntegerField(default=0)  # since the last progress
    progress = models.PositiveIntegerField(default=0)  # history length when `claims` was last counted from 1
    held = models.BooleanField(default=False)  # set aside or not to start yet: news does not make it due
    refused_since = models.DateTimeField(null=True)  # first worker that did not know its code

    objects: ClassVar[models.Manager[Timer]] = TimerQuerySet.as_manager()

    class Meta:
        constraints = [
            # A lease without an end would never be given to another worker.
            models.CheckConstraint(
                condition=models.Q(token__isnull=True, holder="")
                | (models.Q(token__isnull=False, due_at__isnull=False) & ~models.Q(holder="")),
                name="durable_timer_lease_whole",
            ),
        ]
        indexes = [
            models.Index(fields=["queue", "priority", "due_at"], name="durable_timer_due"),
            # The few leases, for finding those of dead processes. Not the holder: a prefix search on text needs the
            # right collation.
            SparseIndex(fields=["token"], name="durable_timer_leased", kept=models.Q(token__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.execution_id} due {self.due_at or 'on news'}"

    def is_leased(self, now: datetime) -> bool:
        return self.token is not None and self.due_at is not None and self.due_at > now
