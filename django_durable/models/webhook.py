"""WebhookEndpoint and WebhookDelivery: who outside is told of the feed, and how far each message to them is."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import Exists, OuterRef, Q

from django_durable.clock import DatabaseNow, now
from django_durable.models.attempts import Attempted, AttemptedQuerySet
from django_durable.models.audit import AuditEntry
from django_durable.models.event import OutboxEvent
from django_durable.models.feed import FeedHead
from django_durable.models.identity import new_id
from django_durable.models.sparse import SparseIndex


class WebhookEndpointQuerySet(models.QuerySet["WebhookEndpoint"]):
    def active(self) -> Self:
        return self.filter(active=True)

    def ready(self) -> Self:
        """To be sent to now: active, and not left alone after a failure."""
        return self.active().filter(Q(paused_until__isnull=True) | Q(paused_until__lte=DatabaseNow()))

    def with_work(self) -> Self:
        """Ready and with a delivery that is due, or active and behind the feed."""
        due = WebhookDelivery.objects.filter(endpoint=OuterRef("pk"), due_at__lte=DatabaseNow())
        numbered = FeedHead.objects.filter(position__gt=OuterRef("position"))
        news = [table.objects.filter(position__isnull=True) for table in (AuditEntry, OutboxEvent)]
        behind = Exists(numbered) | Exists(news[0]) | Exists(news[1])
        is_ready = Q(paused_until__isnull=True) | Q(paused_until__lte=DatabaseNow())
        return self.active().filter((is_ready & Exists(due)) | behind)


class WebhookEndpoint(models.Model):
    """An address outside that is told of what the feed holds."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    url = models.TextField()
    kinds = models.JSONField(default=list, blank=True)  # of feed entries; empty: all
    workflows = models.JSONField(default=list, blank=True)  # names; empty: all
    include_payload = models.BooleanField(default=False)  # of emitted events; else only ids and kinds leave
    position = models.BigIntegerField()  # of the feed: up to here its deliveries have been made
    secret = models.TextField()  # sealed by the payload cipher if there is one; never shown again
    previous_secret = models.TextField(null=True, blank=True)  # signs beside the new one while that is introduced
    previous_until = models.DateTimeField(null=True, blank=True)
    active = models.BooleanField(default=True)
    disabled_reason = models.TextField(blank=True)  # set by the engine iff it was that who made it inactive
    failures = models.PositiveIntegerField(default=0)  # in a row
    failing_since = models.DateTimeField(null=True, blank=True)  # first of them
    paused_until = models.DateTimeField(null=True, blank=True)  # after a failure nothing is sent to it for a while
    created_at = models.DateTimeField(default=now, editable=False)

    objects: ClassVar[models.Manager[WebhookEndpoint]] = WebhookEndpointQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(failures=0, failing_since__isnull=True, paused_until__isnull=True)
                | models.Q(failures__gt=0, failing_since__isnull=False, paused_until__isnull=False),
                name="durable_webhook_failing_whole",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class WebhookDelivery(Attempted):
    """One entry of the feed on its way to one endpoint. Its id is the ``webhook-id``, the same at every attempt."""

    endpoint = models.ForeignKey(WebhookEndpoint, on_delete=models.CASCADE, related_name="deliveries", db_index=False)
    entry_id = models.UUIDField()  # of the AuditEntry or OutboxEvent; no foreign key: it may be pruned before
    kind = models.CharField(max_length=210)  # of the entry
    execution_id = models.UUIDField(null=True, blank=True)
    body = models.TextField()  # JSON, without payloads
    created_at = models.DateTimeField(default=now, editable=False)

    objects: ClassVar[models.Manager[WebhookDelivery]] = AttemptedQuerySet.as_manager()

    class Meta(Attempted.Meta):
        constraints = [
            models.UniqueConstraint(fields=["endpoint", "entry_id"], name="durable_webhook_once"),
            *Attempted.Meta.constraints,
        ]
        indexes = [
            SparseIndex(fields=["endpoint", "due_at"], name="durable_webhook_due", kept=Q(due_at__isnull=False)),
            SparseIndex(fields=["status", "id"], name="durable_webhook_failed", kept=Q(status="failed")),
        ]
        verbose_name_plural = "webhook deliveries"

    def __str__(self) -> str:
        return f"{self.kind} to {self.endpoint_id}: {self.status}"
