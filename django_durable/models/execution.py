"""Execution: one durable run of a workflow."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Self

from django.db import connections, models

from django_durable.clock import DatabaseNow, now
from django_durable.models.identity import new_id
from django_durable.models.labels import LabelIndex, carrying
from django_durable.models.sparse import SparseIndex, SparseUnique
from django_durable.options import Disposition

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime
    from uuid import UUID


class Status(models.TextChoices):
    """Where an execution stands. ``running`` is never stored: a live lease on the timer says it."""

    PENDING = "pending"
    RUNNING = "running"
    SLEEPING = "sleeping"
    WAITING = "waiting"
    RETRYING = "retrying"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    COMPENSATING = "compensating"
    STUCK = "stuck"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    TERMINATED = "terminated"
    COMPENSATION_FAILED = "compensation_failed"
    CONTINUED = "continued"


CLOSED = frozenset(
    {
        Status.COMPLETED,
        Status.FAILED,
        Status.CANCELLED,
        Status.TIMED_OUT,
        Status.TERMINATED,
        Status.COMPENSATION_FAILED,
        Status.CONTINUED,
    }
)
UNSUCCESSFUL = CLOSED - {Status.COMPLETED, Status.CONTINUED}
STORED = frozenset(Status) - {Status.RUNNING}
OPEN = STORED - CLOSED
MAX_CHARACTER = 0x10FFFF


class StuckReason(models.TextChoices):
    """Why an execution cannot go on until the cause is gone or an operator acts."""

    NONDETERMINISM = "nondeterminism"
    NO_WORKER = "no_worker_for"
    POISON = "poison"
    COMPENSATION = "compensation"
    HISTORY = "history_limit"


class OnParentClose(models.TextChoices):
    """What becomes of a child that is still open when its parent ends."""

    CANCEL = "cancel"
    ABANDON = "abandon"  # it goes on
    WAIT = "wait"  # the parent ends after it


class Priority(models.IntegerChoices):
    """Order among what is due on one queue; small is first, so that the index reads forward."""

    HIGH = 1
    NORMAL = 2
    LOW = 3


class ExecutionQuerySet(models.QuerySet["Execution"]):
    def open(self) -> Self:
        return self.exclude(status__in=CLOSED)

    def closed(self) -> Self:
        return self.filter(status__in=CLOSED)

    def stuck(self) -> Self:
        return self.filter(status=Status.STUCK)

    def last_of(self, chain: UUID | None) -> Self:
        """The one that the executions of a chain were continued as; none if it is deleted."""
        # All the others are named, so that each is one range of the index.
        return self.filter(chain=chain, status__in=sorted(STORED - {Status.CONTINUED}))

    def ended(self, workflow: str, status: str, *, before: object) -> Self:
        """With that status, the oldest first."""
        ended = self.filter(workflow=workflow, status=status, finished_at__lt=before)
        return ended.order_by("finished_at")

    def running(self) -> Self:
        """A worker holds a live lease on it, by the database's clock."""
        return self.filter(self._is_running())

    def with_status(self, statuses: Collection[str]) -> Self:
        """One of these, as stored, or running."""
        stored = models.Q(status__in=sorted(set(statuses) - {Status.RUNNING}))
        if Status.RUNNING not in statuses:
            return self.filter(stored)
        return self.filter(stored | self._is_running()) if len(statuses) > 1 else self.running()

    @staticmethod
    def _is_running() -> models.Q:
        return models.Q(timer__token__isnull=False, timer__due_at__gt=DatabaseNow())

    def about(self, label: str, pk: str) -> Self:
        """Of one subject, by its address."""
        return self.filter(subject_type=label, subject_id=pk)

    def labelled(self, labels: Mapping[str, str]) -> Self:
        """Those that have all of these labels."""
        return self.filter(*carrying(labels, self._vendor))

    def beginning(self, field: str, text: str) -> Self:
        """Those whose text begins so, by its characters, on every database."""
        if self._vendor == "sqlite":  # whose LIKE takes "A" and "a" for the same
            return self.filter(**{f"{field}__gte": text, f"{field}__lt": text + chr(MAX_CHARACTER)})
        return self.filter(**{f"{field}__startswith": text})

    @property
    def _vendor(self) -> str:
        return connections[self.db].vendor

    def without_payloads(self) -> Self:
        """For lists: leave the wide columns in the table."""
        return self.defer("input", "result", "error")


class Execution(models.Model):
    """One durable run: written at start, at each park and at the end, never in between."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    workflow = models.CharField(max_length=200)  # registered name
    version = models.PositiveIntegerField(default=1)  # of the code that started it; only that code replays it
    status = models.CharField(max_length=20, default=Status.PENDING)
    stuck_reason = models.CharField(max_length=20, blank=True)  # set iff stuck
    key = models.CharField(max_length=200, null=True, blank=True)
    key_scope = models.CharField(max_length=200, null=True, blank=True)  # where it holds the key; NULL: given up
    coalesce_key = models.CharField(max_length=200, null=True, blank=True)  # of the last one started under it
    queue = models.CharField(max_length=100, default="default")

    input = models.TextField()  # codec text of {"args": [...], "kwargs": {...}}
    input_hash = models.CharField(max_length=64, blank=True)  # with a key: tells "other input" without reading payloads
    result = models.TextField(null=True, blank=True)
    error = models.TextField(null=True, blank=True)
    error_type = models.CharField(max_length=200, blank=True)

    waiting_for = models.CharField(max_length=255, blank=True)  # at the last park, for people
    waiting_until = models.DateTimeField(null=True, blank=True)
    cancel_requested_at = models.DateTimeField(null=True, blank=True)
    cancel_reason = models.TextField(blank=True)  # the first one is kept
    paused_at = models.DateTimeField(null=True, blank=True)  # asked for; status follows when no worker is on it
    compensated = models.BooleanField(default=False)  # its compensable steps were undone, none was skipped

    progress_current = models.BigIntegerField(null=True, blank=True)
    progress_total = models.BigIntegerField(null=True, blank=True)
    progress_message = models.CharField(max_length=255, blank=True)
    labels = models.JSONField(default=dict, blank=True)  # the searchable part; not read by the engine

    created_at = models.DateTimeField(default=now, editable=False)
    started_at = models.DateTimeField(null=True, blank=True)  # first pass; written at its park or end
    finished_at = models.DateTimeField(null=True, blank=True)  # set iff closed
    deadline_at = models.DateTimeField(null=True, blank=True)
    next_start_at = models.DateTimeField(null=True, blank=True)  # throttled: none of its coalesce_key begins before

    subject_type = models.CharField(max_length=200, blank=True)  # "app_label.model" of the row it is about
    subject_id = models.CharField(max_length=255, blank=True)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="children", db_index=False
    )
    on_parent_close = models.CharField(max_length=10, blank=True, choices=OnParentClose.choices)  # of a child
    chain = models.UUIDField(null=True, blank=True)  # first of those that were continued as one another; set on all
    depth = models.PositiveSmallIntegerField(default=0)  # how many parents it has above it
    fan_out = models.UUIDField(null=True, blank=True)  # of a child of a map: the `FanOut` that it counts down
    origin = models.UUIDField(null=True, blank=True)  # what it is a restart or a fork of, which may be deleted
    retried_at = models.DateTimeField(null=True, blank=True)  # last: some of its steps may run a second time
    random_seed = models.UUIDField(null=True, blank=True)  # of a fork: whose random numbers its history was made with

    disposition: Disposition = "new"  # not stored: what a start has made of it
    limited = models.BooleanField(null=True)  # it holds slots of limits or waits for some; NULL: it never did

    objects: ClassVar[models.Manager[Execution]] = ExecutionQuerySet.as_manager()

    class Meta:
        constraints = [
            SparseUnique(fields=["key", "key_scope"], kept="key", name="durable_execution_key"),
            SparseUnique(fields=["workflow", "coalesce_key"], name="durable_execution_coalesce"),
            models.CheckConstraint(
                condition=models.Q(key_scope__isnull=True) | models.Q(key__isnull=False),
                name="durable_execution_scope_of_key",
            ),
            models.CheckConstraint(condition=models.Q(status__in=sorted(STORED)), name="durable_execution_status"),
            models.CheckConstraint(
                condition=models.Q(status__in=sorted(CLOSED), finished_at__isnull=False)
                | (~models.Q(status__in=sorted(CLOSED)) & models.Q(finished_at__isnull=True)),
                name="durable_execution_finished_iff_closed",
            ),
            models.CheckConstraint(
                condition=(models.Q(status="stuck") & ~models.Q(stuck_reason=""))
                | (~models.Q(status="stuck") & models.Q(stuck_reason="")),
                name="durable_execution_reason_iff_stuck",
            ),
        ]
        indexes = [
            models.Index(fields=["status", "-created_at"], name="durable_execution_by_status"),
            models.Index(fields=["workflow", "-created_at"], name="durable_execution_by_workflow"),
            SparseIndex(
                fields=["subject_type", "subject_id"],
                name="durable_execution_by_subject",
                kept=models.Q(subject_type__gt=""),
            ),
            SparseIndex(
                fields=["chain", "status"], name="durable_execution_by_chain", kept=models.Q(chain__isnull=False)
            ),
            SparseIndex(fields=["parent"], name="durable_execution_by_parent", kept=models.Q(parent__isnull=False)),
            # The operator class is for PostgreSQL, where prefixes are no ranges of other indexes on text.
            SparseIndex(
                fields=["key"],
                name="durable_execution_by_key",
                opclasses=["varchar_pattern_ops"],
                kept=models.Q(key__isnull=False),
            ),
            SparseIndex(
                fields=["error_type", "-created_at"],
                name="durable_execution_by_error",
                kept=models.Q(error_type__gt=""),
            ),
            LabelIndex(name="durable_execution_by_label"),
            SparseIndex(fields=["origin"], name="durable_execution_by_origin", kept=models.Q(origin__isnull=False)),
            # Entries of those that have ended only, so that neither a start nor a park pays for it.
            SparseIndex(
                fields=["workflow", "status", "finished_at"],
                name="durable_execution_ended",
                kept=models.Q(finished_at__isnull=False),
            ),
        ]
        permissions = [
            ("start_execution", "Can start executions"),
            ("signal_execution", "Can signal executions"),
            ("cancel_execution", "Can cancel executions"),
            ("terminate_execution", "Can terminate executions"),
            ("view_payload", "Can see inputs, results and signal payloads"),
        ]

    def __str__(self) -> str:
        return f"{self.workflow} {self.key or self.id}"

    @property
    def is_closed(self) -> bool:
        return self.status in CLOSED

    def live_status(self, now: datetime) -> str:
        """The stored status, or ``running`` while a worker's lease on the timer is live."""
        timer = getattr(self, "timer", None)
        if self.is_closed or timer is None or not timer.is_leased(now):
            return self.status
        return Status.RUNNING
