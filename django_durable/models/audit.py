"""AuditEntry: one thing that happened to an execution or that a person did. Append-only."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models

from django_durable.clock import now
from django_durable.models.identity import new_id


class AuditQuerySet(models.QuerySet["AuditEntry"]):
    def about(self, execution_id: object) -> Self:
        return self.filter(execution_id=execution_id).order_by("created_at", "id")


class AuditEntry(models.Model):
    """Written in the same transaction as the change that it tells.

    No foreign key on purpose: it outlives the execution, and nobody's cascade may delete it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    execution_id = models.UUIDField(null=True, blank=True)
    kind = models.CharField(max_length=60)  # past tense: completed, failed, cancel_requested, terminated
    actor = models.CharField(max_length=200, blank=True)  # "auth.user:7 ada"; empty: the engine
    reason = models.TextField(blank=True)
    before = models.JSONField(default=dict, blank=True)
    after = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    objects: ClassVar[models.Manager[AuditEntry]] = AuditQuerySet.as_manager()

    class Meta:
        indexes = [
            models.Index(fields=["execution_id", "created_at"], name="durable_audit_by_execution"),
            models.Index(fields=["-created_at"], name="durable_audit_latest"),
        ]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.kind} {self.execution_id or ''}".strip()
