"""Which queues there are."""

from __future__ import annotations

from collections.abc import Iterable

from django_durable.conf import get_settings
from django_durable.definitions import registry
from django_durable.registry import OWN_CATEGORY


def known_queues() -> list[str]:
    """Every queue that may have work: those of the settings and of the registered workflows, sorted."""
    named: Iterable[str] = (definition.queue for definition in registry if definition.category != OWN_CATEGORY)
    webhooks = get_settings().webhook_queue
    return sorted({*get_settings().queues, *named, *([webhooks] if webhooks else [])})
