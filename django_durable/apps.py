"""App configuration: finds ``workflows.py`` in every installed app, as Django finds ``admin.py``."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.models.signals import post_migrate
from django.utils.module_loading import autodiscover_modules


class DjangoDurableConfig(AppConfig):
    name = "django_durable"
    verbose_name = "Durable workflows"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        # Models are importable only now.
        from django_durable import beat, checks, client  # noqa: F401

        post_migrate.connect(beat.ensure_periodic_task, sender=self, dispatch_uid="django_durable.beat")
        autodiscover_modules("workflows")
