"""SetAsideStep: a checkpoint that a person has taken out of a history, as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.db import models

from django_durable.models.execution import Execution
from django_durable.models.identity import new_id

if TYPE_CHECKING:
    from uuid import UUID


class SetAsideQuerySet(models.QuerySet["SetAsideStep"]):
    def of(self, execution_id: UUID) -> Self:
        """In the order in which they were set aside; those of one order as they stood in the history."""
        return self.filter(execution_id=execution_id).order_by("set_aside_at", "position", "id")


class SetAsideStep(models.Model):
    """No replay sees it, people do: what was recorded stays known when the execution goes on from before it.

    A table of its own, so that neither the keys of the history nor its one SELECT have to know of it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    execution = models.ForeignKey(Execution, on_delete=models.CASCADE, related_name="set_aside_steps", db_index=False)
    set_aside_at = models.DateTimeField()
    set_aside_by = models.CharField(max_length=60)  # kind of the audit entry that tells who did it and why
    checkpoint_id = models.UUIDField()  # the id that it had, or has: a result that was replaced keeps its row

    # As ``Step`` has them.
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=255)
    kind = models.CharField(max_length=20)
    status = models.CharField(max_length=20)
    target = models.CharField(max_length=255, blank=True)
    result = models.TextField(null=True, blank=True)
    error = models.TextField(null=True, blank=True)
    attempts = models.PositiveIntegerField(default=0)
    started_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager[SetAsideStep]] = SetAsideQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["execution", "set_aside_at"], name="durable_set_aside")]
        verbose_name = "step set aside"
        verbose_name_plural = "steps set aside"

    def __str__(self) -> str:
        return f"{self.position} {self.kind} {self.name}, {self.set_aside_by}"
