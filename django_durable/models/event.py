"""OutboxEvent and Delivery: what workflows have emitted, and how far each receiver's delivery is.

An event is recorded with its checkpoint, and with it one delivery for each receiver that was registered there and then.
"""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models

from django_durable.clock import DatabaseNow, now
from django_durable.models.execution import Execution
from django_durable.models.identity import new_id
from django_durable.models.sparse import SparseIndex


class OutboxEvent(models.Model):
    """One emitted event; never changed. Its id is that of the checkpoint that recorded it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    execution = models.ForeignKey(Execution, on_delete=models.CASCADE, related_name="events", db_index=False)
    name = models.CharField(max_length=200)
    payload = models.TextField()  # codec text
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        indexes = [models.Index(fields=["execution"], name="durable_event_by_execution")]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class DeliveryStatus(models.TextChoices):
    PENDING = "pending"  # due, being tried, or waiting for its next attempt
    DELIVERED = "delivered"
    FAILED = "failed"  # its attempts are used; kept until a person retries it


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def due(self) -> Self:
        """To be tried now, by the database's clock: new, after its back-off, or its lease has run out."""
        return self.filter(due_at__lte=DatabaseNow())

    def held_by(self, token: object) -> Self:
        return self.filter(token=token)


class Delivery(models.Model):
    """One event on its way to one receiver."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    receiver = models.CharField(max_length=200)  # registered name
    queue = models.CharField(max_length=100)  # of the execution: whoever works on that delivers
    status = models.CharField(max_length=20, default=DeliveryStatus.PENDING)
    attempts = models.PositiveIntegerField(default=0)  # begun; set back to 0 by a person's retry
    error = models.TextField(null=True, blank=True)  # codec text: of the last attempt that failed
    due_at = models.DateTimeField(null=True, blank=True)  # next attempt, or end of the lease; set iff pending
    token = models.UUIDField(null=True, blank=True)  # random per attempt, the fence; NULL: nobody tries it
    delivered_at = models.DateTimeField(null=True, blank=True)  # set iff delivered

    objects: ClassVar[models.Manager[Delivery]] = DeliveryQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["event", "receiver"], name="durable_delivery_once"),
            models.CheckConstraint(
                condition=models.Q(status="pending", due_at__isnull=False, delivered_at__isnull=True)
                | models.Q(status="delivered", due_at__isnull=True, delivered_at__isnull=False, token__isnull=True)
                | models.Q(status="failed", due_at__isnull=True, delivered_at__isnull=True, token__isnull=True),
                name="durable_delivery_whole",
            ),
        ]
        indexes = [
            SparseIndex(fields=["queue", "due_at"], name="durable_delivery_due", kept=models.Q(due_at__isnull=False)),
            SparseIndex(fields=["status", "id"], name="durable_delivery_failed", kept=models.Q(status="failed")),
        ]
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"{self.event_id} to {self.receiver}: {self.status}"
