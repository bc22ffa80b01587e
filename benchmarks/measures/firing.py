"""Schedules that are all due in one second, fired by one process; nobody works on what they start."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

from benchmarks import database, workflows
from benchmarks.figures import Figure, Target
from benchmarks.measures.quiet import without_hints
from benchmarks.sizes import Size
from django_durable.cadence import Interval
from django_durable.engine import payloads
from django_durable.engine.schedules import firing
from django_durable.models import Execution, Schedule

PAGE = 1000


@without_hints
def fire(size: Size) -> list[Figure]:
    """As many ``fire_due`` as it takes, each bounded like that of a tick."""
    rates = []
    for _ in range(size.rounds):
        database.clear()
        _make(size.batch)
        began = time.perf_counter()
        while firing.fire_due(using="default"):
            pass
        rates.append(size.batch / (time.perf_counter() - began))
        assert Execution.objects.count() == size.batch
    database.clear()
    return [Figure(f"fire {size.batch:,} schedules", "/s", rates, target=Target(500, of="value"))]


def _make(number: int) -> None:
    """Hourly ones, due since a second ago."""
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    cadence = Interval(3600, anchor=at)
    given = {
        "workflow": workflows.idle.name,
        "input": payloads.dump({"args": [], "kwargs": {}}),
        "cadence": json.dumps(cadence.dump()),
        "cadence_hash": cadence.fingerprint(),
        "next_at": at,
        "due_at": at,
    }
    Schedule.objects.bulk_create([Schedule(name=f"hourly {n}", **given) for n in range(number)], batch_size=PAGE)
