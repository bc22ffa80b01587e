"""A claim and a tick in the measured database and in an empty twin of it, in turn, so that both see the same machine.

A floor that was measured minutes before the figure tells more of the machine than of the figure.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from benchmarks import database, workflows
from django_durable import client
from django_durable.engine import claims
from django_durable.engine.tick import tick
from django_durable.models import Execution, Timer

ALIASES = ("default", "empty")
WARM_UP = 20  # statements that are prepared, pages that are read, on each side


def prepare() -> None:
    """Make the twin."""
    database.create("empty")


def probe(count: int) -> dict[str, tuple[list[float], list[float]]]:
    """Microseconds per claim of the next due execution, and per tick that finds nothing due; the twin's beside them."""
    due = {using: _due(count + WARM_UP, using) for using in ALIASES}
    found = {"claim": _in_turn(count, lambda using: claims.take_next("default", using=using))}
    for using, ids in due.items():
        Timer.objects.using(using).filter(pk__in=ids).delete()
        Execution.objects.using(using).filter(pk__in=ids).delete()
    found["tick"] = _in_turn(count, lambda using: tick(using=using))
    return found


def _due(count: int, using: str) -> list[object]:
    outcomes = client.start_many([workflows.steps.prepare(1)] * count, using=using)
    return [outcome.execution.pk for outcome in outcomes if outcome.execution is not None]


def _in_turn(count: int, act: Callable[[str], object]) -> tuple[list[float], list[float]]:
    samples: dict[str, list[float]] = {using: [] for using in ALIASES}
    for _ in range(count + WARM_UP):
        for using in ALIASES:
            samples[using].append(timed(lambda using=using: act(using)))
    return samples["default"][WARM_UP:], samples["empty"][WARM_UP:]


def timed(act: Callable[[], object]) -> float:
    """Microseconds."""
    began = time.perf_counter()
    act()
    return (time.perf_counter() - began) * 1e6
