"""OutboxEvent and Delivery: what workflows have emitted, and how far each receiver's delivery is.

An event is recorded with its checkpoint, and with it one delivery for each receiver that was registered there and then.
"""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from django_durable.clock import now
from django_durable.models.attempts import Attempted, AttemptedQuerySet
from django_durable.models.execution import Execution
from django_durable.models.feed import Fed, FedQuerySet
from django_durable.models.identity import new_id
from django_durable.models.sparse import SparseIndex


class OutboxEvent(Fed):
    """One emitted event; never changed but for its position. Its id is that of the checkpoint that recorded it."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    # No constraint in the database, as in Step.
    execution = models.ForeignKey(
        Execution, on_delete=models.CASCADE, related_name="events", db_index=False, db_constraint=False
    )
    name = models.CharField(max_length=200)
    payload = models.TextField()  # codec text
    created_at = models.DateTimeField(default=now, editable=False)

    objects: ClassVar[models.Manager[OutboxEvent]] = FedQuerySet.as_manager()

    class Meta(Fed.Meta):
        indexes = [*Fed.Meta.indexes, models.Index(fields=["execution"], name="durable_event_by_execution")]

    def __str__(self) -> str:
        return f"{self.name} {self.id}"


class Delivery(Attempted):
    """One event on its way to one receiver."""

    event = models.ForeignKey(OutboxEvent, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    receiver = models.CharField(max_length=200)  # registered name
    queue = models.CharField(max_length=100)  # of the execution: whoever works on that delivers

    objects: ClassVar[models.Manager[Delivery]] = AttemptedQuerySet.as_manager()

    class Meta(Attempted.Meta):
        constraints = [
            models.UniqueConstraint(fields=["event", "receiver"], name="durable_delivery_once"),
            *Attempted.Meta.constraints,
        ]
        indexes = [
            SparseIndex(fields=["queue", "due_at"], name="durable_delivery_due", kept=models.Q(due_at__isnull=False)),
            SparseIndex(fields=["status", "id"], name="durable_delivery_failed", kept=models.Q(status="failed")),
        ]
        verbose_name_plural = "deliveries"

    def __str__(self) -> str:
        return f"{self.event_id} to {self.receiver}: {self.status}"
