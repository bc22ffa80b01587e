"""Schedules that are fired: every database call of the poller is a place to die, for each policy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F

from django_durable.cadence import Interval
from django_durable.clock import DatabaseNow
from django_durable.engine.schedules import firing
from django_durable.models import OPEN, Execution, Schedule, ScheduleTick, Turn
from tests.crash.sweep import USING, Play, Scenario, Sweep, work
from tests.crash.test_crash_sweep import least, pytestmark
from tests.ledger_app import programs
from tests.schedules.making import make

__all__ = ["pytestmark"]  # slow, and forks
HOUR = timedelta(hours=1)


def _named(act: Callable[[Play], None], name: str) -> Callable[[Play], None]:
    act.__name__ = name
    return act


def _own(play: Play) -> Any:
    return ScheduleTick.objects.filter(schedule__name=play.key)


def hourly(program: Any, *args: Any, late: int = 0, **options: Any) -> Callable[[Play], None]:
    """An hourly schedule that has a tick due, and so many before it."""

    def add(play: Play) -> None:
        if Schedule.objects.filter(name=play.key).exists():
            return
        now, _ = Turn.objects.update_or_create(name=play.key, defaults={"next_at": DatabaseNow()})
        now.refresh_from_db()
        first = now.next_at - HOUR / 2 - late * HOUR
        cadence = Interval(HOUR, anchor=first)
        given = {"name": play.key, "labels": {"play": play.key}, "next_at": first, **options}
        make(program, *args, cadence=cadence, **given)

    return _named(add, "hourly")


def fire(play: Play) -> None:
    """A poller; who died before it has left everything, or nothing."""
    while firing.fire_due(using=USING):
        pass


def ticks(number: int) -> Callable[[Play], None]:
    """An hour later, until there are so many: it is the past that moves, each column by itself (see MariaDB)."""

    def tick(play: Play) -> None:
        while _own(play).count() < number:
            mine = Schedule.objects.filter(name=play.key)
            if not mine.due().exists():
                with transaction.atomic():
                    mine.update(next_at=F("next_at") - HOUR, due_at=F("due_at") - HOUR, last_at=F("last_at") - HOUR)
                    for each in _own(play).order_by("nominal_at"):
                        _own(play).filter(pk=each.pk).update(nominal_at=each.nominal_at - HOUR)
            fire(play)

    return _named(tick, f"tick {number}")


def answer(play: Play) -> None:
    """The first one goes on."""
    play.send("answer", 1, "one")


def became(outcomes: dict[str, int], *, most_open: int) -> Callable[[Play], None]:
    def look(play: Play) -> None:
        play.finish()
        fire(play)
        found = Counter(_own(play).values_list("outcome", flat=True))
        assert dict(found) == outcomes, dict(found)
        still = Execution.objects.filter(pk__in=play.family(), status__in=sorted(OPEN)).count()
        assert still <= most_open, f"{still} are open"

    return _named(look, "look")


def story(overlap: str, outcomes: dict[str, int], *ends: tuple[str, Any], most_open: int = 1) -> Scenario:
    """Three ticks meet one that waits; then it may go on."""
    add = hourly(programs.signal, overlap=overlap)
    acts = (add, fire, work, ticks(2), work, ticks(3), work, answer, work, fire, work)
    return Scenario(
        name=f"overlap {overlap}",
        workflow=programs.signal,
        acts=(*acts, became(outcomes, most_open=most_open)),
        ends=ends,
        at_least=60,
    )


def late(catch_up: str, outcomes: dict[str, int]) -> Scenario:
    options = {"catch_up": catch_up, "catch_up_seconds": 3.9 * 3600, "overlap": "allow", "late": 5}
    return Scenario(
        name=f"catch up {catch_up}",
        workflow=programs.plain_item,
        acts=(hourly(programs.plain_item, 1, **options), ticks(7), work, became(outcomes, most_open=0)),
        ends=() if catch_up == "none" else (("completed", 1),),
        at_least=20,
    )


COMPLETED, CANCELLED, TERMINATED = ("completed", 1), ("cancelled", None), ("terminated", None)
STORIES = [
    story("skip", {"started": 1, "skipped": 2}, COMPLETED),
    story("buffer_one", {"started": 2, "skipped": 1}, COMPLETED),
    story("buffer_all", {"started": 2, "buffered": 1}, COMPLETED),
    story("cancel_other", {"started": 2, "skipped": 1}, CANCELLED),
    story("terminate_other", {"started": 3}, TERMINATED),
    story("allow", {"started": 3}, COMPLETED, most_open=2),
    late("none", {"missed": 7}),
    late("latest", {"missed": 5, "started": 2}),
    late("all", {"missed": 2, "started": 5}),
    Scenario(
        name="failures pause it",
        workflow=programs.item,
        acts=(hourly(programs.item, 0, pause_after_failures=1), fire, work, ticks(1), fire, work),
        ends=(("failed", None),),
        at_least=20,
    ),
]


@pytest.mark.parametrize("scenario", STORIES, ids=lambda scenario: scenario.name)
def test_every_crash_of_a_poller_is_recovered(sweep: Sweep, scenario: Scenario) -> None:
    assert sweep.run(scenario) >= least(scenario)
