"""App configuration: finds ``workflows.py`` in every installed app, as Django finds ``admin.py``."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig, apps
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


def _sync_schedules(*, using: str, **migrated: Any) -> None:
    """Receiver of ``post_migrate``. Not after a flush, nor where only some of our migrations are applied."""
    from django_durable import client, conf

    settings = conf.get_settings()
    if "plan" not in migrated or using != settings.database or not settings.sync_schedules:
        return
    if _columns(migrated["apps"]) != _columns(apps):
        return
    report = client.sync_schedules(using=using)
    if migrated.get("verbosity", 1) >= 1 and (report.has_changes or report.unknown):
        print("\n".join(["Schedules:", *report.lines()]), file=migrated.get("stdout"))


def _columns(known: Any) -> set[str]:
    """Of a schedule, after the migrations that are applied or in the code."""
    try:
        return {field.name for field in known.get_model("django_durable", "Schedule")._meta.fields}
    except LookupError:
        return set()


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
