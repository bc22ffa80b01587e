"""Schedule and ScheduleTick: what starts executions by the clock, and what became of each of its times."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models
from django.db.models import F, Q

from django_durable.clock import DatabaseNow, now
from django_durable.models.execution import CLOSED, Execution, Priority
from django_durable.models.identity import new_id
from django_durable.models.sparse import SparseIndex


class ScheduleStatus(models.TextChoices):
    ACTIVE = "active"
    PAUSED = "paused"  # by a person, or by failures in a row; its times pass without a tick
    ENDED = "ended"  # no time is left: used up, or past its end


class Overlap(models.TextChoices):
    """What becomes of a tick while an execution of the same schedule is still open."""

    SKIP = "skip"  # it is skipped
    BUFFER_ONE = "buffer_one"  # it waits for that end, if none waits yet; else it is skipped
    BUFFER_ALL = "buffer_all"  # it waits behind those that wait, up to 1,000 of them; then one after the other
    CANCEL_OTHER = "cancel_other"  # the open one is asked to cancel; this one, or a later one, waits for that end
    TERMINATE_OTHER = "terminate_other"  # the open one is terminated and this one started, in one transaction
    ALLOW = "allow"  # both run


class CatchUp(models.TextChoices):
    """What becomes of ticks for which no poller was there within a minute; `catch_up_seconds` is the window."""

    NONE = "none"  # they are missed
    LATEST = "latest"  # the last one is started if it lies in the window, the others are missed
    ALL = "all"  # those in the window are started in order, subject to the overlap policy; older ones are missed


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def due(self) -> Self:
        """With a tick that is due, by the database's clock."""
        return self.filter(due_at__lte=DatabaseNow())

    def buffering(self) -> Self:
        """With ticks that wait for the end of an execution, and may be started."""
        return self.filter(buffered__gt=0).exclude(status=ScheduleStatus.PAUSED)


class Schedule(models.Model):
    """One recurring start. The poller locks this row for all it does, edits compare `version`."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=200, unique=True)  # the caller's id for it
    workflow = models.CharField(max_length=200)
    input = models.TextField()  # codec text of {"args": [...], "kwargs": {...}}; texts in it may hold {scheduled_at}
    cadence = models.TextField()  # JSON of `cadence.dump()`, the parser's name and version included
    cadence_hash = models.CharField(max_length=64)  # tells whether an `ensure` changes it
    timezone = models.CharField(max_length=64, default="UTC")  # of the cadence, for lists
    status = models.CharField(max_length=10, default=ScheduleStatus.ACTIVE, choices=ScheduleStatus.choices)
    paused_reason = models.TextField(blank=True)
    paused_by = models.CharField(max_length=200, blank=True)  # blank: the engine, after failures

    overlap = models.CharField(max_length=20, default=Overlap.SKIP, choices=Overlap.choices)
    catch_up = models.CharField(max_length=10, default=CatchUp.LATEST, choices=CatchUp.choices)
    catch_up_seconds = models.FloatField(default=86_400.0)
    jitter_seconds = models.FloatField(default=0.0)
    max_runs = models.PositiveIntegerField(null=True, blank=True)
    pause_after_failures = models.PositiveIntegerField(null=True, blank=True)
    excluded = models.JSONField(default=dict, blank=True)  # JSON of `Excluded.dump()`; empty: none
    labels = models.JSONField(default=dict, blank=True)  # of each execution
    queue = models.CharField(max_length=100, blank=True)  # blank: the workflow's
    priority = models.PositiveSmallIntegerField(null=True, blank=True, choices=Priority.choices)  # NULL: the workflow's
    key = models.CharField(max_length=200, blank=True)  # of each execution; may hold {scheduled_at}
    is_declared = models.BooleanField(default=False)  # by @workflow(schedule=...); kept in step with the code

    runs = models.PositiveIntegerField(default=0)  # ticks that were started or wait to be
    failures = models.PositiveIntegerField(default=0)  # unsuccessful ends in a row
    buffered = models.PositiveIntegerField(default=0)  # ticks that wait
    version = models.PositiveBigIntegerField(default=1)  # +1 with every change by anybody

    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    next_at = models.DateTimeField(null=True, blank=True)  # nominal time of the next tick; NULL: there is none
    due_at = models.DateTimeField(null=True, blank=True)  # when that is fired: with its jitter; NULL: not at all
    last_at = models.DateTimeField(null=True, blank=True)  # nominal time of the last tick, whatever became of it
    refused_since = models.DateTimeField(null=True, blank=True)  # first poller that did not know its workflow
    paused_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(default=now, editable=False)
    updated_at = models.DateTimeField(default=now, editable=False)  # last change by a person or by code, not by a tick

    objects: ClassVar[models.Manager[Schedule]] = ScheduleQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=Q(overlap__in=sorted(Overlap)), name="durable_schedule_overlap"),
            models.CheckConstraint(condition=Q(catch_up__in=sorted(CatchUp)), name="durable_schedule_catch_up"),
            # Due iff it is active; NULLs of an ended one too, so that none is left behind with a time.
            models.CheckConstraint(
                condition=Q(status="active", next_at__isnull=False, due_at__isnull=False)
                | Q(status="paused", due_at__isnull=True)
                | Q(status="ended", next_at__isnull=True, due_at__isnull=True),
                name="durable_schedule_due_iff_active",
            ),
            models.CheckConstraint(
                condition=Q(status="paused", paused_at__isnull=False)
                | (~Q(status="paused") & Q(paused_at__isnull=True)),
                name="durable_schedule_paused_whole",
            ),
            models.CheckConstraint(condition=Q(due_at__gte=F("next_at")), name="durable_schedule_not_early"),
        ]
        indexes = [
            SparseIndex(fields=["due_at"], name="durable_schedule_due", kept=Q(due_at__isnull=False)),
            SparseIndex(fields=["buffered"], name="durable_schedule_buffering", kept=Q(buffered__gt=0)),
        ]

    def __str__(self) -> str:
        return self.name


class TickOutcome(models.TextChoices):
    STARTED = "started"
    SKIPPED = "skipped"  # by the overlap policy or an excluded date
    MISSED = "missed"  # nobody was there in time
    BUFFERED = "buffered"  # waits for the end of an execution, and is started then
    FAILED = "failed"  # its start was refused


class TickKind(models.TextChoices):
    REGULAR = "regular"
    TRIGGERED = "triggered"  # by a person, now
    BACKFILLED = "backfilled"  # by a person, for a time that has passed


class ScheduleTickQuerySet(models.QuerySet["ScheduleTick"]):
    def buffered(self) -> Self:
        """Those that wait, in the order in which they start."""
        return self.filter(live=True, outcome=TickOutcome.BUFFERED).order_by("nominal_at")

    def started(self) -> Self:
        """Those whose execution has not been seen to end."""
        return self.filter(live=True, outcome=TickOutcome.STARTED)

    def over(self) -> Self:
        """Of ``started``: those whose execution is closed, or deleted."""
        return self.started().filter(Q(execution__isnull=True) | Q(execution__status__in=sorted(CLOSED)))

    def settled(self) -> Self:
        """Nothing will come of them any more."""
        return self.filter(live__isnull=True)


class ScheduleTick(models.Model):
    """One nominal time of a schedule and what became of it; unique, so no poller can run it twice."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="ticks", db_index=False)
    nominal_at = models.DateTimeField()
    until_at = models.DateTimeField(null=True, blank=True)  # of a row for many that were missed: the last of them
    count = models.PositiveIntegerField(default=1)  # how many it stands for
    kind = models.CharField(max_length=10, default=TickKind.REGULAR, choices=TickKind.choices)
    outcome = models.CharField(max_length=10, choices=TickOutcome.choices)
    reason = models.TextField(blank=True)  # unless started
    live = models.BooleanField(null=True, editable=False)  # it waits, or its end has not been counted; else NULL
    execution = models.ForeignKey(Execution, null=True, blank=True, on_delete=models.SET_NULL, related_name="ticks")
    created_at = models.DateTimeField(default=now, editable=False)

    objects: ClassVar[models.Manager[ScheduleTick]] = ScheduleTickQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["schedule", "nominal_at"], name="durable_tick_once"),
            models.CheckConstraint(condition=Q(outcome__in=sorted(TickOutcome)), name="durable_tick_outcome"),
            models.CheckConstraint(condition=Q(kind__in=sorted(TickKind)), name="durable_tick_kind"),
            models.CheckConstraint(
                condition=Q(outcome="started") | Q(execution__isnull=True), name="durable_tick_execution_iff_started"
            ),
            models.CheckConstraint(
                condition=Q(outcome="buffered", live__isnull=False)
                | Q(outcome__in=["failed", "missed", "skipped"], live__isnull=True)
                | ~Q(outcome__in=["buffered", "failed", "missed", "skipped"]),
                name="durable_tick_live_iff_open",
            ),
            models.CheckConstraint(
                condition=Q(count=1, until_at__isnull=True) | Q(count__gt=1, until_at__isnull=False),
                name="durable_tick_many_whole",
            ),
        ]
        indexes = [
            SparseIndex(
                fields=["schedule", "live", "nominal_at"], name="durable_tick_live", kept=Q(live__isnull=False)
            ),
            models.Index(fields=["created_at"], name="durable_tick_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.nominal_at:%Y-%m-%d %H:%M:%S}"
