"""Signal: one message accepted for an execution."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models

from django_durable.clock import now
from django_durable.models.execution import Execution
from django_durable.models.identity import new_id
from django_durable.models.sparse import SparseUnique

if TYPE_CHECKING:
    from uuid import UUID


class SignalQuerySet(models.QuerySet["Signal"]):
    def pending(self, execution_id: UUID) -> Self:
        """Accepted and not consumed, in acceptance order."""
        return self.filter(execution_id=execution_id, consumed_by="").order_by("seq")

    def of_chain(self, execution_id: UUID) -> Self:
        """Of the execution, and of the others of its chain."""
        chain = Execution.objects.filter(pk=execution_id).values("chain")
        return self.filter(models.Q(execution_id=execution_id) | models.Q(execution__chain__in=chain))

    def accepted(self, execution_id: UUID, signal_id: str) -> Self:
        """Under that id, by the execution or by another one of its chain."""
        return self.of_chain(execution_id).filter(signal_id=signal_id)


class Signal(models.Model):
    """Kept whether or not the execution waits for it yet; consumed at most once, in ``seq`` order."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    execution = models.ForeignKey(Execution, on_delete=models.CASCADE, related_name="signals", db_index=False)
    seq = models.BigIntegerField()  # the timer's wake_seq after its bump, so row locks make it the commit order
    name = models.CharField(max_length=200)
    payload = models.TextField()  # codec text
    signal_id = models.CharField(max_length=200, null=True, blank=True)
    consumed_by = models.CharField(max_length=255, blank=True)  # step id; empty while pending
    consumed_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(default=now, editable=False)

    objects: ClassVar[models.Manager[Signal]] = SignalQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["execution", "seq"], name="durable_signal_seq"),
            SparseUnique(fields=["execution", "signal_id"], name="durable_signal_once"),
            models.CheckConstraint(
                condition=models.Q(consumed_by="", consumed_at__isnull=True)
                | (~models.Q(consumed_by="") & models.Q(consumed_at__isnull=False)),
                name="durable_signal_consumed_whole",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} #{self.seq}"
