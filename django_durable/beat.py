"""The periodic entry a project adds to Celery beat, and its PeriodicTask for django-celery-beat.

With plain beat::

    app.conf.beat_schedule = {**beat_schedule(), ...}

With django-celery-beat nothing is to be done: ``migrate`` makes the entry and it shows in its admin.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db import connections, router
from django.db.models import Model

from django_durable.dispatch import EXPIRES_SECONDS, TICK_SECONDS

TASK = "django_durable.tick"
ENTRY = "django-durable tick"


def beat_schedule(using: str | None = None) -> dict[str, dict[str, Any]]:
    """Entries for ``beat_schedule``. Ticks that gather while no worker runs cost next to nothing.

    using: an alias; default ``DURABLE["DATABASE"]``, read by the worker, so that the settings module may call this.
    """
    return {
        ENTRY: {
            "task": TASK,
            "schedule": TICK_SECONDS,
            "args": [using] if using else [],
            "options": {"expires": EXPIRES_SECONDS, "ignore_result": True},
        }
    }


def ensure_periodic_task(*, using: str, **_: object) -> None:
    """Receiver of ``post_migrate``: make the entry once. What an operator changed in it stays."""
    if not apps.is_installed("django_celery_beat"):
        return
    task_model = apps.get_model("django_celery_beat", "PeriodicTask")
    interval_model = apps.get_model("django_celery_beat", "IntervalSchedule")
    if using != router.db_for_write(task_model):  # where beat looks for its entries; names are unique there
        return
    if not router.allow_migrate_model(using, task_model) or not _has_table(task_model, using):
        return
    if task_model.objects.using(using).filter(task=TASK).exists():
        return
    every_second = {"every": 1, "period": "seconds"}  # not unique there, so get_or_create could fail
    intervals = interval_model.objects.using(using)
    task_model.objects.using(using).create(
        name=ENTRY,
        task=TASK,
        interval=intervals.filter(**every_second).first() or intervals.create(**every_second),
        expire_seconds=EXPIRES_SECONDS,
        description="Wakes due executions. Without it nothing that waits goes on by itself.",
    )


def _has_table(model: type[Model], using: str) -> bool:
    """No: only some apps were migrated, or those of the other one come later."""
    return model._meta.db_table in connections[using].introspection.table_names()
