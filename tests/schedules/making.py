"""Schedules as the client makes them, and a workflow that runs until it is let go."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django_durable import workflow
from django_durable.cadence import Cadence, Interval
from django_durable.engine import payloads
from django_durable.engine.schedules import times
from django_durable.models import Schedule, ScheduleTick

START = datetime(2030, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)


def make(
    of: Any, *args: Any, every: timedelta = HOUR, cadence: Cadence | None = None, after: datetime = START, **values: Any
) -> Schedule:
    """after: its first tick is the first one behind that."""
    cadence = cadence or Interval(every)
    name = of if isinstance(of, str) else of.name
    schedule = Schedule(
        workflow=name,
        input=payloads.dump({"args": list(args), "kwargs": {}}),
        cadence=json.dumps(cadence.dump()),
        cadence_hash=cadence.fingerprint(),
        timezone=getattr(cadence, "timezone", "UTC"),
        **{"name": name, **values},
    )
    if schedule.next_at is None:
        schedule.next_at = times.first(schedule, after + timedelta(microseconds=1))
    schedule.due_at = times.due_at(schedule, schedule.next_at)
    schedule.updated_at = schedule.created_at
    schedule.save(force_insert=True)
    return schedule


def holding(name: str = "holding") -> Any:
    """A workflow whose executions wait for the signal "go", whose payload may make them fail."""

    @workflow(name)
    def held(ctx, *args):
        if ctx.wait_for_signal("go") == "fail":
            raise ValueError(args)

    return held


def seen(schedule: Schedule) -> list[tuple[float, str]]:
    """Its ticks in order: hours since ``START``, and what became of them."""
    ticks = ScheduleTick.objects.filter(schedule=schedule).order_by("nominal_at")
    return [((tick.nominal_at - START) / HOUR, tick.outcome) for tick in ticks]


def outcomes(schedule: Schedule) -> str:
    """The first letters of the outcomes, in order."""
    return "".join(outcome[0] for _, outcome in seen(schedule))
