"""LimitKey and Slot: who holds a slot of a limit, and who waits for one.

A slot belongs to an execution, not to a process: a worker that dies leaks nothing, because whoever claims the
execution next finds its slot. How many are in use is how many rows there are, so there is no count to go wrong.
"""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models

from django_durable.models.execution import Execution, Priority
from django_durable.models.identity import new_id


class LimitKey(models.Model):
    """One limit, or one key of it. Its row is the lock under which its slots are counted and given."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=250)  # of the limit, with "workflow/", "queue/" or "rate/" if that made it
    key = models.CharField(max_length=200, blank=True)  # what the key function gave
    capacity = models.PositiveIntegerField()  # as last admitted by; of a rate: how many in a time
    turn = models.BigIntegerField(default=0)  # of those that have been admitted, the latest
    next_at = models.DateTimeField(null=True, blank=True)  # of a rate: when the next is due if they come evenly

    objects: ClassVar[models.Manager[LimitKey]] = models.Manager()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["name", "key"], name="durable_limit_once")]

    def __str__(self) -> str:
        return f"{self.name} {self.key}".rstrip()


class SlotQuerySet(models.QuerySet["Slot"]):
    def held(self) -> Self:
        return self.filter(granted=True)

    def waiting(self) -> Self:
        return self.filter(granted=False)

    def next_first(self) -> Self:
        return self.order_by("priority", "turn", "id")

    def given_back(self) -> Self:
        """By an execution that has ended; not handed on yet."""
        return self.filter(execution__isnull=True)


class Slot(models.Model):
    """What one execution holds of a limit, waits for, or has reserved of a rate."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    limit = models.ForeignKey(LimitKey, on_delete=models.CASCADE, related_name="slots", db_index=False)
    # NULL: given back. No foreign key in the database, as for steps.
    execution = models.ForeignKey(
        Execution, null=True, on_delete=models.SET_NULL, related_name="slots", db_index=False, db_constraint=False
    )
    granted = models.BooleanField()  # False: it waits
    priority = models.PositiveSmallIntegerField(default=Priority.NORMAL)
    fair = models.CharField(max_length=200, blank=True)  # whose turn this is
    turn = models.BigIntegerField(default=0)  # among all that wait; the smallest is next
    ready_at = models.DateTimeField(null=True, blank=True)  # of a rate: when it may begin

    objects: ClassVar[models.Manager[Slot]] = SlotQuerySet.as_manager()

    class Meta:
        constraints = [
            # Its index also finds those that were given back.
            models.UniqueConstraint(fields=["execution", "limit"], name="durable_slot_once"),
        ]
        indexes = [
            models.Index(fields=["limit", "granted", "priority", "turn", "id"], name="durable_slot_next"),
            models.Index(fields=["limit", "fair", "-turn"], name="durable_slot_fair"),
        ]

    def __str__(self) -> str:
        return f"{self.execution_id} {'holds' if self.granted else 'waits for'} {self.limit_id}"
