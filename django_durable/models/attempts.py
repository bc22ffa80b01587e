"""What deliveries of every kind share: they are tried under a lease until they succeed or are given up."""

from __future__ import annotations

from typing import Any, Self

from django.db import models

from django_durable.clock import DatabaseNow
from django_durable.models.identity import new_id


class DeliveryStatus(models.TextChoices):
    PENDING = "pending"  # due, being tried, or waiting for its next attempt
    DELIVERED = "delivered"
    FAILED = "failed"  # its attempts are used; kept until a person retries it


class AttemptedQuerySet(models.QuerySet[Any]):
    def due(self) -> Self:
        """To be tried now, by the database's clock: new, after its back-off, or its lease has run out."""
        return self.filter(due_at__lte=DatabaseNow())

    def held_by(self, token: object) -> Self:
        return self.filter(token=token)


class Attempted(models.Model):
    """Something that is delivered at least once."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    status = models.CharField(max_length=20, default=DeliveryStatus.PENDING)
    attempts = models.PositiveIntegerField(default=0)  # begun; set back to 0 by a person's retry
    error = models.TextField(null=True, blank=True)  # codec text: of the last attempt that failed
    due_at = models.DateTimeField(null=True, blank=True)  # next attempt, or end of the lease; set iff pending
    token = models.UUIDField(null=True, blank=True)  # random per attempt, the fence; NULL: nobody tries it
    delivered_at = models.DateTimeField(null=True, blank=True)  # set iff delivered

    class Meta:
        abstract = True
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status="pending", due_at__isnull=False, delivered_at__isnull=True)
                | models.Q(status="delivered", due_at__isnull=True, delivered_at__isnull=False, token__isnull=True)
                | models.Q(status="failed", due_at__isnull=True, delivered_at__isnull=True, token__isnull=True),
                name="durable_%(class)s_whole",
            ),
        ]
