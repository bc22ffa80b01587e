"""Old ticks: deleted a batch at a time, and never while something may come of them."""

from datetime import timedelta

import pytest

from django_durable import client, workflow
from django_durable.engine import chores
from django_durable.engine.schedules import firing, pruning
from django_durable.models import Execution, ScheduleTick
from tests.schedules.making import HOUR, holding, make, outcomes


@pytest.fixture
def old(at_start):
    """One that has ended, one that runs, one that waits, one that was skipped; all long ago."""
    schedule = make(holding(), overlap="buffer_one", max_runs=3)
    at_start.advance(HOUR)
    at_start.signal(Execution.objects.get(), "go")
    at_start.advance(3 * HOUR)
    assert outcomes(schedule) == "ssb"
    at_start.clock.advance(pruning.KEPT - 4 * HOUR)
    return schedule


def outcomes_left():
    return sorted(ScheduleTick.objects.values_list("outcome", flat=True))


def test_only_what_is_over_and_old_is_deleted(at_start, old):
    found = outcomes(old)
    assert pruning.prune(using="default") == 0
    at_start.clock.advance(timedelta(days=1))
    assert pruning.prune(using="default") == len(found) - 2
    assert outcomes_left() == ["buffered", "started"]


def test_a_started_one_goes_once_its_execution_has_ended_though_nobody_has_counted_it(at_start, old):
    client.terminate(Execution.objects.get(status="waiting"))
    at_start.clock.advance(timedelta(days=1))
    pruning.prune(using="default")
    assert [tick.outcome for tick in ScheduleTick.objects.all()] == ["buffered"]


def test_one_whose_run_goes_on_in_what_it_was_continued_as_is_kept(at_start):
    @workflow("long")
    def long(ctx):
        ctx.wait_for_signal("go")
        ctx.continue_as_new()

    schedule = make(long)
    at_start.advance(HOUR)
    schedule.refresh_from_db()
    client.pause_schedule(schedule)
    at_start.clock.advance(pruning.KEPT + HOUR)
    at_start.signal(Execution.objects.get(), "go")
    pruning.prune(using="default")
    client.resume_schedule(schedule)
    at_start.advance(HOUR)
    assert ScheduleTick.objects.get(outcome="skipped", count=1).reason == "the one before is running"
    assert Execution.objects.filter(status="waiting").count() == 1


def test_a_batch_is_bounded(at_start, old):
    at_start.clock.advance(timedelta(days=1))
    assert pruning.prune(size=1, using="default") == 1


def test_whoever_fires_schedules_deletes_their_ticks(at_start, old, monkeypatch):
    [chore] = [chore for chore in chores._CHORES if chore.name == "schedule_ticks"]
    monkeypatch.setattr(firing, "_have_fired", set())
    assert not chore.is_wanted("default")
    monkeypatch.setattr(firing, "_have_fired", {"default"})
    assert chore.is_wanted("default")

    at_start.clock.advance(timedelta(days=1))
    has_more = chore.do("default")
    assert not has_more
    assert outcomes_left() == ["buffered", "started"]
