"""Periodic tasks of django-celery-beat, read as schedules: what carries over, and why some do not."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.apps import apps
from django.core.management.base import CommandError
from django.db import router, transaction

from django_durable import beat, client
from django_durable.cadence import Cadence, Cron, Interval
from django_durable.client.targets import alias_of
from django_durable.engine.queues import known_queues
from django_durable.exceptions import DurableError
from django_durable.schedule_spec import SpecOptions

APP = "django_celery_beat"


@dataclass(frozen=True, slots=True)
class Found:
    """One periodic task. name: of the schedule that it would be. refused: why it cannot be one; else its cadence."""

    task: Any
    name: str
    cadence: Cadence | None = None
    refused: str = ""

    @property
    def told(self) -> dict[str, Any]:
        return {
            "periodic_task": self.task.name,
            "task": self.task.task,
            "enabled": self.task.enabled,
            "schedule": self.name,
            "when": self.cadence.describe() if self.cadence is not None else "",
            "refused": self.refused,
        }


def periodic_tasks() -> list[Found]:
    """All of them, by name. Raises CommandError without django-celery-beat."""
    if not apps.is_installed(APP):
        raise CommandError(
            "django-celery-beat is not installed here: `pip install django-durable-workflows[beat]`, and put "
            f"{APP!r} into INSTALLED_APPS."
        )
    rows = apps.get_model(APP, "PeriodicTask").objects.select_related("crontab", "interval", "clocked", "solar")
    found: list[Found] = []
    for row in rows.order_by("name"):
        name = re.sub(r"[^A-Za-z0-9_.:-]+", "-", row.name).strip("-")[:200] or f"periodic-{row.pk}"
        found.append(_read(row, name, is_taken=name in {other.name for other in found}))
    return found


def _read(row: Any, name: str, *, is_taken: bool) -> Found:
    why = _refusal(row) or (f"another one would be {name!r} too: rename it" if is_taken else "")
    if why:
        return Found(row, name, refused=why)
    try:
        return Found(row, name, _cadence(row))
    except DurableError as error:
        return Found(row, name, refused=str(error))


def _refusal(row: Any) -> str:
    if row.task == beat.TASK:
        return "it is the tick of django_durable itself: keep it"
    if row.solar is not None:
        return "times of the sun are no times of a clock; keep it in django-celery-beat"
    if row.clocked is not None:
        return "it runs once: client.schedule(workflow, at=...) does that"
    crontab = row.crontab
    if crontab is not None and _is_restricted(crontab.day_of_month) and _is_restricted(crontab.day_of_week):
        return "Celery wants its day of month and its day of week to fit both, cron either of them: say what is meant"
    return "" if crontab is not None or row.interval is not None else "it has no time"


def _is_restricted(field: str) -> bool:
    return field.strip() not in ("*", "*/1")


def _cadence(row: Any) -> Cadence:
    if row.interval is not None:
        return Interval(timedelta(**{row.interval.period: row.interval.every}))
    crontab = row.crontab
    parts = (crontab.minute, crontab.hour, crontab.day_of_month, crontab.month_of_year, crontab.day_of_week)
    return Cron(" ".join(part.replace(" ", "") for part in parts), str(crontab.timezone))


def make(found: Found, workflow: str, *, disables: bool, actor: str, using: str | None) -> str:
    """Have a schedule of that workflow stand for it; what was done. Raises DurableError, TypeError, ValueError.

    Made of a disabled one it is paused. disables: the periodic task, in the same transaction.
    """
    row, alias = found.task, alias_of(using)
    if disables and router.db_for_write(type(row), instance=row) != alias:
        raise CommandError(f"Periodic task {row.name!r} is in another database: disable it by hand; nothing was done.")
    cron = found.cadence if isinstance(found.cadence, Cron) else None
    interval = found.cadence if isinstance(found.cadence, Interval) else None
    with transaction.atomic(using=alias):
        done = client.ensure_schedule(
            workflow, id=found.name, cron=cron, interval=interval, actor=actor, using=using, **_options(row)
        )
        if done.outcome == "created" and not row.enabled:
            client.pause_schedule(done.schedule, reason="disabled in django-celery-beat", actor=actor, using=using)
        if disables and row.enabled:
            row.enabled = False
            row.save(using=alias, update_fields=["enabled"])  # its signal tells beat
    return done.outcome


def _options(row: Any) -> SpecOptions:
    options: SpecOptions = {"args": json.loads(row.args or "[]"), "kwargs": json.loads(row.kwargs or "{}")}
    if row.one_off:
        options["max_runs"] = 1
    if row.queue in known_queues():
        options["queue"] = row.queue
    starts_at: datetime | None = row.start_time
    options["starts_at"], options["ends_at"] = starts_at, row.expires
    return options
