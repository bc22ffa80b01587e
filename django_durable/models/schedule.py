"""Schedule and its ticks: what starts executions by the clock. The behaviour comes with the scheduler."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models

from django_durable.clock import DatabaseNow, now
from django_durable.models.execution import Execution, Priority
from django_durable.models.identity import new_id


class ScheduleQuerySet(models.QuerySet["Schedule"]):
    def due(self) -> Self:
        return self.filter(next_at__lte=DatabaseNow())


class Schedule(models.Model):
    """One recurring or one-time start."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    name = models.CharField(max_length=200, unique=True)  # the caller's id for it
    workflow = models.CharField(max_length=200)
    input = models.TextField()  # codec text, may hold the template {scheduled_at}
    cron = models.CharField(max_length=200, blank=True)
    cron_parser = models.CharField(
        max_length=40, blank=True
    )  # name and major, so that a new one cannot re-interpret it
    interval_seconds = models.PositiveBigIntegerField(null=True, blank=True)
    timezone = models.CharField(max_length=64, default="UTC")
    options = models.JSONField(default=dict, blank=True)  # overlap, catch-up, jitter, limits
    queue = models.CharField(max_length=100, default="default")
    priority = models.PositiveSmallIntegerField(default=Priority.NORMAL)
    labels = models.JSONField(default=dict, blank=True)
    next_at = models.DateTimeField(null=True, blank=True)  # NULL while paused or used up
    starts_at = models.DateTimeField(null=True, blank=True)
    ends_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)
    pause_reason = models.TextField(blank=True)
    created_at = models.DateTimeField(default=now, editable=False)

    objects: ClassVar[models.Manager[Schedule]] = ScheduleQuerySet.as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(cron="") | models.Q(interval_seconds__isnull=True),
                name="durable_schedule_one_cadence",
            ),
        ]
        indexes = [models.Index(fields=["next_at"], name="durable_schedule_due")]

    def __str__(self) -> str:
        return self.name


class TickOutcome(models.TextChoices):
    STARTED = "started"
    SKIPPED = "skipped"
    MISSED = "missed"


class ScheduleTick(models.Model):
    """One nominal time of a schedule and what became of it; unique, so no poller can run it twice."""

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    schedule = models.ForeignKey(Schedule, on_delete=models.CASCADE, related_name="ticks", db_index=False)
    nominal_at = models.DateTimeField()
    outcome = models.CharField(max_length=20)
    reason = models.CharField(max_length=200, blank=True)
    execution = models.ForeignKey(Execution, null=True, blank=True, on_delete=models.SET_NULL, related_name="ticks")
    created_at = models.DateTimeField(default=now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["schedule", "nominal_at"], name="durable_tick_once"),
            models.CheckConstraint(condition=models.Q(outcome__in=sorted(TickOutcome)), name="durable_tick_outcome"),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.nominal_at:%Y-%m-%d %H:%M:%S}"
