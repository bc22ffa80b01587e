"""App configuration: finds ``workflows.py`` in every installed app, as Django finds ``admin.py``."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


def _sync_schedules(*, using: str, **migrated: Any) -> None:
    """Receiver of ``post_migrate``. Not after a flush, nor where only some of our migrations are applied."""
    from django_durable import client, conf, models

    settings = conf.get_settings()
    if "plan" not in migrated or using != settings.database or not settings.sync_schedules:
        return
    try:
        stored = migrated["apps"].get_model("django_durable", "Schedule")
    except LookupError:
        return
    if {field.name for field in stored._meta.fields} != {field.name for field in models.Schedule._meta.fields}:
        return
    report = client.sync_schedules(using=using)
    if migrated.get("verbosity", 1) >= 1 and (report.has_changes or report.unknown):
        print("\n".join(["Schedules:", *report.lines()]), file=migrated.get("stdout"))


class DjangoDurableConfig(AppConfig):
    name = "django_durable"
    verbose_name = "Durable workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Models are importable only now.
        from django_durable import beat, checks, client  # noqa: F401

        post_migrate.connect(_sync_schedules, sender=self, dispatch_uid="django_durable.schedules")
        post_migrate.connect(beat.ensure_periodic_task, sender=self, dispatch_uid="django_durable.beat")
        autodiscover_modules("workflows")
