"""Whoever makes, edits or starts a schedule dies at any call: it was done whole, or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest

from django_durable import client
from django_durable.engine.schedules import times
from django_durable.exceptions import ScheduleConflict
from django_durable.models import AuditEntry, Schedule, ScheduleTick
from tests.crash.sweep import Play, Scenario, Sweep, work
from tests.crash.test_crash_sweep import least, pytestmark
from tests.ledger_app import programs

__all__ = ["pytestmark"]  # slow, and forks
HOUR = timedelta(hours=1)
Act = Callable[[Play], None]


def _row(play: Play) -> Schedule:
    return Schedule.objects.get(name=play.key)


def _ticks(play: Play) -> Counter[tuple[str, str]]:
    return Counter(ScheduleTick.objects.filter(schedule__name=play.key).values_list("kind", "outcome"))


def ensure(play: Play) -> None:
    """At each boot; after a death once more."""
    client.ensure_schedule(
        programs.plain_item, id=play.key, interval=HOUR, args=(1,), labels={"play": play.key}, overlap="allow"
    )


def due(play: Play) -> None:
    """With one tick whose time came in the last hour."""
    ensure(play)
    row = _row(play)
    nominal = times.first(row, row.created_at - HOUR)
    Schedule.objects.filter(pk=row.pk).update(next_at=nominal, due_at=nominal)


def update(play: Play) -> None:
    client.update_schedule(play.key, cron="30 3 * * *", timezone="Europe/Berlin")


def pause(play: Play) -> None:
    with suppress(ScheduleConflict):  # the reply was lost
        client.pause_schedule(play.key, reason="month end")


def resume(play: Play) -> None:
    with suppress(ScheduleConflict):
        client.resume_schedule(play.key)


def trigger(play: Play) -> None:
    if not ScheduleTick.objects.filter(schedule__name=play.key, kind="triggered").exists():
        client.trigger_schedule(play.key)


def backfill(play: Play) -> None:
    """Twice the same: what was started is refused."""
    end = _row(play).created_at
    client.backfill_schedule(play.key, end - 3 * HOUR, end)


def remove(play: Play) -> None:
    if Schedule.objects.filter(name=play.key).exists():
        client.remove_schedule(play.key)


def told(ticks: dict[tuple[str, str], int], *kinds: str) -> Act:
    """What is there in the end: ticks by kind and outcome, and one entry of each kind."""

    def look(play: Play) -> None:
        play.finish()
        assert dict(_ticks(play)) == ticks, _ticks(play)
        entries = AuditEntry.objects.filter(before__schedule=play.key, kind__startswith="schedule_")
        assert Counter(entries.values_list("kind", flat=True)) == Counter(kinds), entries

    return look


STARTED = ("completed", 1)
STORIES = [
    Scenario(
        name="made, triggered and removed",
        workflow=programs.plain_item,
        acts=(
            ensure,
            ensure,
            trigger,
            work,
            told({("triggered", "started"): 1}, "schedule_added", "schedule_triggered"),
            remove,
            told({}, "schedule_added", "schedule_triggered", "schedule_removed"),
        ),
        ends=(STARTED,),
        at_least=15,
    ),
    Scenario(
        name="paused over a tick and resumed",
        workflow=programs.plain_item,
        acts=(
            due,
            pause,
            resume,
            trigger,
            work,
            told(
                {("regular", "skipped"): 1, ("triggered", "started"): 1},
                "schedule_added",
                "schedule_paused",
                "schedule_resumed",
                "schedule_triggered",
            ),
        ),
        ends=(STARTED,),
        at_least=15,
    ),
    Scenario(
        name="another cadence over a tick that is due",
        workflow=programs.plain_item,
        acts=(due, update, work, told({("regular", "started"): 1}, "schedule_added", "schedule_updated")),
        ends=(STARTED,),
        at_least=10,
    ),
    Scenario(
        name="backfilled",
        workflow=programs.plain_item,
        acts=(ensure, backfill, work, lambda play: _backfilled_once(play)),
        ends=(STARTED,),
        at_least=10,
    ),
]


def _backfilled_once(play: Play) -> None:
    play.finish()
    assert dict(_ticks(play)) == {("backfilled", "started"): 3}, _ticks(play)


@pytest.mark.parametrize("scenario", STORIES, ids=lambda scenario: scenario.name)
def test_every_crash_of_an_edit_is_recovered(sweep: Sweep, scenario: Scenario) -> None:
    assert sweep.run(scenario) >= least(scenario)
