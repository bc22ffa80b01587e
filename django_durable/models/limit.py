"""LimitKey and Slot: who holds a slot of a limit, and who waits for one.

A slot belongs to an execution, not to a process: a worker that dies leaks nothing, because whoever claims the
execution next finds its slot. How many are in use is how many rows there are, so there is no count to go wrong.

That of a step is held by one body, under the lease of the pass that runs it: it lapses with the lease.
"""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import Exists, F, OuterRef, Q

from django_durable.clock import DatabaseNow
from django_durable.models.execution import Execution, Priority
from django_durable.models.identity import new_id
from django_durable.models.sparse import SparseIndex
from django_durable.models.timer import Timer


class LimitKey(models.Model):
    """One limit, or one key of it. Its row is the lock under which its slots are counted and given."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=250)  # of the limit, with "workflow/", "queue/", "rate/" or "step/" before it
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
        """By an execution that has ended, or a body; not handed on yet."""
        return self.filter(execution__isnull=True)

    def of_workflow(self) -> Self:
        """As opposed to those of steps."""
        return self.filter(step="")

    def to_be_taken(self) -> Self:
        """Given to a step whose pass has yet to learn it."""
        return self.filter(token=F("id"))

    def lapsed(self) -> Self:
        """Of steps: the pass that ran the body has no lease any more, or a pass has ended that could have taken it."""
        timers = Timer.objects.using(self.db).filter(pk=OuterRef("execution_id"))
        runs = timers.filter(token=OuterRef("token"), due_at__gt=DatabaseNow())
        will_look = timers.filter(Q(token__isnull=False) | Q(due_at__lte=DatabaseNow()))
        taken = self.filter(token__isnull=False, execution__isnull=False)
        return taken.exclude(Exists(runs)).exclude(Q(token=F("id")) & Exists(will_look))


class Slot(models.Model):
    """What one execution, or one step of it, holds of a limit, waits for, or has reserved of a rate."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    limit = models.ForeignKey(LimitKey, on_delete=models.CASCADE, related_name="slots", db_index=False)
    # NULL: given back. No foreign key in the database, as for steps.
    execution = models.ForeignKey(
        Execution, null=True, on_delete=models.SET_NULL, related_name="slots", db_index=False, db_constraint=False
    )
    step = models.CharField(max_length=255, blank=True)  # name of the checkpoint; "": of the execution as a whole
    granted = models.BooleanField()  # False: it waits
    # Of a step: that of the lease under which the body runs; the slot's own id until a pass has taken it up.
    token = models.UUIDField(null=True, blank=True)
    priority = models.PositiveSmallIntegerField(default=Priority.NORMAL)
    fair = models.CharField(max_length=200, blank=True)  # whose turn this is
    turn = models.BigIntegerField(default=0)  # among all that wait; the smallest is next
    ready_at = models.DateTimeField(null=True, blank=True)  # of a rate: when it may begin

    objects: ClassVar[models.Manager[Slot]] = SlotQuerySet.as_manager()

    class Meta:
        constraints = [
            # Its index also finds those that were given back.
            models.UniqueConstraint(fields=["execution", "limit", "step"], name="durable_slot_once_each"),
        ]
        indexes = [
            models.Index(fields=["limit", "granted", "priority", "turn", "id"], name="durable_slot_next"),
            models.Index(fields=["limit", "fair", "-turn"], name="durable_slot_fair"),
            SparseIndex(fields=["token"], name="durable_slot_of_body", kept=Q(token__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"{self.execution_id} {'holds' if self.granted else 'waits for'} {self.limit_id}"
