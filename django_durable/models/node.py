"""Node: a process that works for us, as it last said itself. For people and the health report; the engine reads none.

An idle worker holds no lease, so nothing else would tell it from one that is not there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Self

from django.db import models

from django_durable.clock import DatabaseNow
from django_durable.models.identity import new_id


class NodeKind(models.TextChoices):
    WORKER = "worker"  # runs executions
    TICK = "tick"  # ticks; one row for each host


class NodeQuerySet(models.QuerySet["Node"]):
    def named(self, kind: str, name: str) -> Self:
        return self.filter(kind=kind, name=name)

    def heard_within(self, seconds: float) -> Self:
        """By the database's clock."""
        return self.filter(seen_at__gt=DatabaseNow() - timedelta(seconds=seconds))

    def silent_for(self, seconds: float) -> Self:
        return self.filter(seen_at__lte=DatabaseNow() - timedelta(seconds=seconds))


class Node(models.Model):
    """A few rows: one for each worker and each host that ticks; see ``engine/presence.py``."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    kind = models.CharField(max_length=10)
    name = models.CharField(max_length=200)  # a worker's node name, the host of a tick
    host = models.CharField(max_length=200)
    pid = models.PositiveBigIntegerField()
    source = models.CharField(max_length=40)  # "celery prefork", "durable_worker", "durable_tick"
    queues = models.JSONField(default=list)  # of a worker: those that it reads, by our names
    workflows = models.JSONField(default=dict)  # of a worker: {name: [versions]} that its code registers
    version = models.CharField(max_length=40)  # of this package
    started_at = models.DateTimeField()
    seen_at = models.DateTimeField()

    objects: ClassVar[models.Manager[Node]] = NodeQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["kind", "name"], name="durable_node_once"),
            models.CheckConstraint(condition=models.Q(kind__in=sorted(NodeKind)), name="durable_node_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    def knows(self, workflow: str, version: int) -> bool:
        known: dict[str, Any] = self.workflows
        return version in known.get(workflow, ())
