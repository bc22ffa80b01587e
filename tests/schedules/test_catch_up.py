"""Each catch-up policy: what becomes of ticks for which nobody was there, and what is never lost or early."""

from datetime import timedelta

import pytest

from django_durable import workflow
from django_durable.cadence import Excluded
from django_durable.engine.schedules import firing
from django_durable.models import Execution, Schedule, ScheduleTick
from tests.schedules.making import HOUR, MINUTE, SECOND, START, make, outcomes, seen


@pytest.fixture
def plain():
    @workflow("plain")
    def plain(ctx, *args):
        return list(args)

    return plain


def come_late(kit, by):
    """Nobody polls for so long; then somebody does until nothing is due."""
    kit.clock.advance(by)
    while firing.fire_due(using="default"):
        pass


LATE = {
    # policy, window in hours: what becomes of seven hourly ticks that are met half an hour after the last
    ("none", 24): "mmmmmmm",
    ("latest", 24): "mmmmmms",
    ("latest", 0.25): "mmmmmmm",
    ("all", 24): "sssssss",
    ("all", 3): "mmmmsss",
    ("all", 0): "mmmmmmm",
}


@pytest.mark.parametrize(("policy", "window"), LATE)
def test_what_each_policy_makes_of_ticks_that_are_late(at_start, plain, policy, window):
    schedule = make(plain, overlap="allow", catch_up=policy, catch_up_seconds=window * 3600)
    come_late(at_start, 7.5 * HOUR)
    assert outcomes(schedule) == LATE[policy, window]
    assert Execution.objects.count() == LATE[policy, window].count("s")
    assert all(tick.reason for tick in ScheduleTick.objects.filter(outcome="missed"))
    schedule.refresh_from_db()
    assert (schedule.next_at, schedule.last_at) == (START + 8 * HOUR, START + 7 * HOUR)


@pytest.mark.parametrize("policy", ["none", "latest", "all"])
def test_a_poller_that_is_a_minute_late_has_missed_nothing(at_start, plain, policy):
    schedule = make(plain, every=10 * SECOND, overlap="allow", catch_up=policy, catch_up_seconds=0)
    come_late(at_start, MINUTE)
    assert outcomes(schedule) == "ssssss"


def test_without_catching_up_those_of_the_last_minute_are_fired(at_start, plain):
    schedule = make(plain, every=30 * SECOND, overlap="allow", catch_up="none")
    come_late(at_start, 5 * MINUTE)
    assert outcomes(schedule) == "mmmmmmm" + "sss"


@pytest.mark.parametrize("late", [timedelta(0), SECOND, 59 * SECOND, 30 * MINUTE])
def test_the_next_time_follows_from_the_last_one_and_not_from_now(at_start, plain, late):
    schedule = make(plain)
    come_late(at_start, HOUR + late)
    schedule.refresh_from_db()
    assert schedule.next_at == schedule.due_at == START + 2 * HOUR


def test_a_year_of_minutes_is_one_row_and_a_bounded_rest(at_start, plain):
    schedule = make(plain, every=MINUTE, catch_up="all", catch_up_seconds=180, overlap="allow")
    come_late(at_start, timedelta(days=20))
    ticks = list(schedule.ticks.order_by("nominal_at"))
    assert len(ticks) <= 201
    assert sum(tick.count for tick in ticks) == 20 * 24 * 60
    many = ticks[0]
    assert (many.outcome, many.nominal_at) == ("missed", START + MINUTE)
    assert many.until_at == START + many.count * MINUTE
    assert ticks[1].nominal_at == many.until_at + MINUTE
    assert [tick.outcome for tick in ticks[-5:]] == ["missed", "started", "started", "started", "started"]


def test_the_latest_of_very_many_is_started_and_no_other(at_start, plain):
    schedule = make(plain, every=MINUTE, catch_up="latest")
    come_late(at_start, timedelta(hours=9))
    assert [tick.nominal_at for tick in schedule.ticks.filter(outcome="started")] == [START + 9 * HOUR]
    assert sum(schedule.ticks.values_list("count", flat=True)) == 9 * 60


def test_excluded_dates_are_skipped_and_do_not_hide_the_latest(at_start, plain):
    holiday = (START + timedelta(days=2)).date()
    calendar = Excluded({holiday: "inventory"})
    schedule = make(plain, every=timedelta(days=1), excluded=calendar.dump(), catch_up_seconds=90_000)
    come_late(at_start, timedelta(days=2))
    assert [(round(at), outcome) for at, outcome in seen(schedule)] == [(12, "missed"), (36, "skipped")]
    come_late(at_start, timedelta(days=1))
    reason = f"excluded date {holiday}: inventory"
    assert schedule.ticks.get(outcome="skipped").reason == reason
    assert Execution.objects.count() == 1


def test_a_day_without_a_start_is_skipped_and_not_missed_for_no_reason(at_start, plain):
    calendar = Excluded([START.date()])
    schedule = make(plain, every=MINUTE, catch_up="none", excluded=calendar.dump())
    come_late(at_start, timedelta(days=2))
    assert sum(schedule.ticks.values_list("count", flat=True)) == 2 * 24 * 60
    assert not ScheduleTick.objects.filter(outcome="missed", reason="").exists()
    assert ScheduleTick.objects.filter(outcome="skipped").count() > 600


def test_a_very_late_all_is_done_in_bounded_transactions(at_start, plain):
    schedule = make(plain, every=MINUTE, catch_up="all", catch_up_seconds=10 * 3600, overlap="allow")
    at_start.clock.advance(2 * HOUR)
    assert firing._fire_batch(lambda: Schedule.objects.due(), "default") == 1
    assert outcomes(schedule) == "s" * 20
    come_late(at_start, timedelta(0))
    assert outcomes(schedule) == "s" * 120
