"""Each overlap policy: what becomes of ticks that meet an open execution, and when that has ended."""

import pytest

from django_durable import Cancelled, client, workflow
from django_durable.engine import worker
from django_durable.engine.schedules import firing, overlapping, writing
from django_durable.engine.schedules.overlapping import Place
from django_durable.models import Execution, Schedule, ScheduleTick, Status
from tests.schedules.making import HOUR, MINUTE, START, holding, make, outcomes

POLICIES = {
    # policy: outcomes while the first runs, executions by status; the same once the first was let go
    "skip": ("sss", ["waiting"], "sss", ["completed"]),
    "buffer_one": ("sbs", ["waiting"], "sss", ["completed", "waiting"]),
    "buffer_all": ("sbb", ["waiting"], "ssb", ["completed", "waiting"]),
    "cancel_other": ("sss", ["cancelled", "cancelled", "waiting"], "sss", None),
    "terminate_other": ("sss", ["terminated", "terminated", "waiting"], "sss", None),
    "allow": ("sss", ["waiting", "waiting", "waiting"], "sss", ["completed", "waiting", "waiting"]),
}


def statuses():
    return list(Execution.objects.order_by("created_at").values_list("status", flat=True))


@pytest.mark.parametrize("policy", POLICIES)
def test_what_each_policy_makes_of_three_ticks_and_of_the_first_one_s_end(at_start, policy):
    schedule = make(holding(), overlap=policy)
    during, running, after, left = POLICIES[policy]
    at_start.advance(3 * HOUR + MINUTE)
    started = {"skip": 1, "buffer_one": 1, "buffer_all": 1}.get(policy, 3)
    assert outcomes(schedule) == during
    assert statuses() == running
    assert ScheduleTick.objects.filter(outcome="started").count() == started
    if left is None:
        return
    at_start.signal(Execution.objects.earliest("created_at"), "go")
    at_start.run_until_idle()
    assert outcomes(schedule) == after
    assert statuses() == left


def test_what_waits_starts_with_its_own_nominal_time(at_start):
    times = []

    @workflow("noting")
    def noting(ctx, at):
        times.append(at)
        ctx.wait_for_signal("go")

    make(noting, "{scheduled_at}", overlap="buffer_all")
    at_start.advance(3 * HOUR + MINUTE)
    for _ in range(2):
        at_start.signal(Execution.objects.get(status="waiting"), "go")
    assert list(dict.fromkeys(times)) == [f"2030-01-01T{hour}:00:00+00:00" for hour in (13, 14, 15)]
    assert Schedule.objects.get().buffered == 0


def test_a_cancelled_one_is_waited_for_until_it_has_really_ended(at_start):
    @workflow("slow")
    def slow(ctx):
        try:
            ctx.wait_for_signal("go")
        except Cancelled:
            ctx.sleep(3 * HOUR)
            raise

    schedule = make(slow, overlap="cancel_other")
    at_start.advance(2 * HOUR + MINUTE)
    assert outcomes(schedule) == "sb"
    assert statuses() == ["cancelling"]
    at_start.advance(HOUR)  # the third takes the place of the second
    assert outcomes(schedule) == "ssb"
    assert ScheduleTick.objects.get(outcome="skipped").reason == "a later tick took its place"
    at_start.advance(HOUR)
    at_start.advance(HOUR)
    assert [status for status in statuses() if status != "cancelling"] == ["cancelled", "waiting"]
    first, second = Execution.objects.order_by("created_at")
    assert second.created_at >= first.finished_at == START + 5 * HOUR


def test_a_tick_that_is_terminated_for_the_next_is_no_failure(at_start):
    schedule = make(holding(), overlap="terminate_other", pause_after_failures=1)
    at_start.advance(4 * HOUR)
    schedule.refresh_from_db()
    assert (schedule.status, schedule.failures) == ("active", 0)
    assert statuses() == ["terminated"] * 3 + ["waiting"]


def test_a_run_goes_on_in_what_it_was_continued_as(at_start):
    @workflow("chained")
    def chained(ctx, round=1):
        ctx.sleep(HOUR / 4)
        if round < 6:
            ctx.continue_as_new(round + 1)

    schedule = make(chained)
    at_start.advance(3 * HOUR - MINUTE)
    assert outcomes(schedule) == "ss"
    assert Schedule.objects.get().runs == 1
    at_start.advance(MINUTE)
    assert outcomes(schedule) == "sss"
    assert Schedule.objects.get().runs == 2


def test_no_more_wait_than_the_bound_says(at_start, monkeypatch):
    monkeypatch.setattr(overlapping, "MOST_BUFFERED", 2)
    schedule = make(holding(), overlap="buffer_all")
    at_start.advance(5 * HOUR)
    assert outcomes(schedule) == "sbbss"
    reasons = ScheduleTick.objects.filter(outcome="skipped").values_list("reason", flat=True)
    assert set(reasons) == {"one is running and 2 wait"}


def test_what_waits_does_not_start_while_the_schedule_is_paused(at_start):
    schedule = make(holding(), overlap="buffer_one")
    at_start.advance(2 * HOUR)
    Schedule.objects.update(status="paused", paused_at=START, due_at=None)
    at_start.signal(Execution.objects.get(), "go")
    assert outcomes(schedule) == "sb"
    schedule.refresh_from_db()
    Schedule.objects.update(status="active", paused_at=None, due_at=schedule.next_at)
    at_start.run_until_idle()
    assert outcomes(schedule) == "ss"


def test_what_waits_does_not_start_if_it_is_paused_between_a_look_and_the_lock(at_start, monkeypatch):
    schedule = make(holding(), overlap="buffer_one")
    at_start.advance(2 * HOUR)
    client.signal(Execution.objects.get(), "go")
    worker.drain("default", using="default")
    releasable = firing._releasable

    def paused_meanwhile(using):
        found = releasable(using)
        client.pause_schedule(schedule, actor="ada")
        return found

    monkeypatch.setattr(firing, "_releasable", paused_meanwhile)
    firing._fire_batch(lambda: firing._releasable("default"), "default")
    firing._fire_alone(schedule.pk, "default")
    schedule.refresh_from_db()
    assert (outcomes(schedule), schedule.status, schedule.paused_by) == ("sb", "paused", "ada")


@pytest.mark.parametrize("is_counted", [True, False])
def test_one_that_is_retried_after_its_end_is_open_again(at_start, is_counted):
    make(holding(), overlap="skip")
    at_start.advance(HOUR)
    first = Execution.objects.get()
    client.terminate(first)
    if is_counted:
        at_start.advance(HOUR)
        at_start.signal(Execution.objects.latest("created_at"), "go")
    client.retry(first, actor="ada")
    at_start.advance(HOUR)
    assert ScheduleTick.objects.latest("nominal_at").outcome == "skipped"
    assert statuses().count("waiting") == 1
    at_start.signal(first, "go")
    at_start.advance(HOUR)
    assert ScheduleTick.objects.latest("nominal_at").outcome == "started"


def test_one_that_is_retried_while_its_end_is_counted_is_open_again(at_start, monkeypatch):
    schedule = make(holding(), overlap="skip")
    at_start.advance(HOUR)
    first = Execution.objects.get()
    client.terminate(first)
    store = writing._store

    def retried_meanwhile(plans, using):
        store(plans, using)
        client.retry(first, actor="ada")

    at_start.clock.advance(HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_store", retried_meanwhile)
        firing.fire_due(using="default")
    assert schedule.ticks.started().filter(execution=first).exists()


def test_what_waits_starts_though_no_time_is_left(at_start):
    schedule = make(holding(), overlap="buffer_one", max_runs=2)
    at_start.advance(5 * HOUR)
    schedule.refresh_from_db()
    assert (schedule.status, schedule.runs, schedule.buffered) == ("ended", 2, 1)
    at_start.signal(Execution.objects.get(), "go")
    assert outcomes(schedule) == "ss"
    assert statuses() == ["completed", "waiting"]


def test_of_ticks_that_come_at_once_only_the_last_stops_others(at_start):
    schedule = make(holding(), overlap="terminate_other", catch_up="all", catch_up_seconds=86_400)
    at_start.advance(HOUR)
    at_start.clock.advance(3 * HOUR)
    firing.fire_due(using="default")
    assert [tick.outcome for tick in schedule.ticks.order_by("nominal_at")] == [
        "started",
        "skipped",
        "skipped",
        "started",
    ]
    assert statuses() == ["terminated", "pending"]


@pytest.mark.parametrize(
    ("policy", "is_running", "buffered", "place"),
    [
        ("skip", False, 0, Place.START),
        ("skip", True, 0, Place.SKIP),
        ("skip", False, 1, Place.SKIP),
        ("buffer_one", True, 0, Place.BUFFER),
        ("buffer_one", True, 1, Place.SKIP),
        ("buffer_all", True, 999, Place.BUFFER),
        ("buffer_all", True, 1000, Place.SKIP),
        ("buffer_all", False, 3, Place.BUFFER),
        ("cancel_other", False, 0, Place.START),
        ("cancel_other", True, 1, Place.BUFFER),
        ("terminate_other", True, 0, Place.START),
        ("allow", True, 5, Place.START),
    ],
)
def test_the_table_of_decisions(policy, is_running, buffered, place):
    decision = overlapping.decide(policy, is_running=is_running, buffered=buffered, is_last=True)
    assert decision.place is place
    assert decision.stops == (is_running and policy in ("cancel_other", "terminate_other"))


def test_cancelled_ones_are_asked_once(at_start):
    held = holding()
    make(held, overlap="cancel_other")
    at_start.advance(HOUR)
    at_start.clock.advance(HOUR)
    firing.fire_due(using="default")
    execution = client.get(Execution.objects.get())
    assert execution.status == Status.CANCELLING
    assert "schedule holding" in execution.cancel_reason
