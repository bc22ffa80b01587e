"""Scenes of presence: two that speak under one name, which nobody should give to two workers."""

from __future__ import annotations

from collections.abc import Iterable

from django_durable.engine.presence import Presence
from django_durable.models import Node, NodeKind
from tests.concurrency.scenes import Outcomes, Scene
from tests.ledger_app import programs


def say_x_say() -> Scene:
    """Neither fails, and one row is left."""
    run = programs.atomic_once.start()
    Node.objects.all().delete()
    presence = Presence(kind=NodeKind.WORKER, name="w@here", source="test", using="default")

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if set(outcomes.values()) != {True}:
            yield f"was not noted: {outcomes}"
        if Node.objects.count() != 1:
            yield f"{Node.objects.count()} rows"

    return Scene({"one": presence.say, "other": presence.say}, {"completed"}, [run.id], agree)
