"""Which queues there are."""

from __future__ import annotations

from collections.abc import Iterable

from django_durable.conf import get_settings
from django_durable.definitions import registry


def known_queues() -> list[str]:
    """Every queue an execution may be on: those of the settings and of the registered workflows, sorted."""
    named: Iterable[str] = (definition.queue for definition in registry)
    return sorted({*get_settings().queues, *named})
