"""Firing: what a tick starts, what it refuses, and that one bad schedule is nobody else's problem."""

import logging
from contextlib import contextmanager

import pytest
from django.db import IntegrityError, OperationalError, transaction

from django_durable import client, clock, dispatch, workflow
from django_durable.cadence import Cron
from django_durable.engine import worker
from django_durable.engine.schedules import firing, inputs, planning, times, writing
from django_durable.engine.tick import tick
from django_durable.models import AuditEntry, Execution, Schedule, ScheduleTick, Timer
from django_durable.registry import Registry
from tests.schedules.making import HOUR, MINUTE, SECOND, START, holding, make, outcomes


@pytest.fixture
def plain():
    @workflow("plain")
    def plain(ctx, *args):
        return list(args)

    return plain


def reasons():
    return list(ScheduleTick.objects.order_by("nominal_at").values_list("outcome", "reason"))


# -- what is started ------------------------------------------------------------------------------------


def test_a_tick_knows_its_execution_and_the_other_way_round(at_start, plain):
    schedule = make(plain, 7)
    at_start.advance(HOUR)
    execution = Execution.objects.get()
    tick = execution.ticks.select_related("schedule").get()
    assert (tick.schedule, tick.nominal_at, tick.kind) == (schedule, START + HOUR, "regular")
    assert client.result(execution) == [7]


def test_the_nominal_time_is_filled_into_every_text_of_the_input(at_start, plain):
    given = ["{scheduled_at}", {"day": "until {scheduled_at}!"}, ("{scheduled_at}",), "{other} {0.__class__}", "%s"]
    make(plain, *given, jitter_seconds=600)
    at_start.advance(2 * HOUR)
    at = "2030-01-01T13:00:00+00:00"
    filled = [at, {"day": f"until {at}!"}, (at,), "{other} {0.__class__}", "%s"]
    assert client.result(Execution.objects.get()) == filled


def test_labels_queue_priority_and_key_are_those_of_the_schedule(at_start, plain, settings):
    settings.DURABLE = {**settings.DURABLE, "QUEUES": ["default", "night"]}
    make(plain, labels={"team": "x"}, queue="night", priority=3, key="report:{scheduled_at}")
    at_start.clock.advance(HOUR)
    firing.fire_due(using="default")
    execution = Execution.objects.get()
    assert (execution.labels, execution.queue) == ({"team": "x"}, "night")
    assert execution.key == "report:2030-01-01T13:00:00+00:00"
    assert Timer.objects.get().priority == 3


def test_a_cron_ticks_by_the_wall_clock_of_its_zone(at_start, plain):
    make(plain, "{scheduled_at}", cadence=Cron("30 7 * * *", "Asia/Kolkata"))
    at_start.advance(24 * HOUR)
    assert client.result(Execution.objects.get()) == ["2030-01-02T02:00:00+00:00"]


# -- when -------------------------------------------------------------------------------------------------


def test_nothing_is_fired_a_moment_before_its_time(at_start, plain):
    make(plain)
    at_start.clock.advance(HOUR - SECOND / 1000)
    assert firing.fire_due(using="default") == 0
    at_start.clock.advance(SECOND / 1000)
    assert firing.fire_due(using="default") == 1


def test_jitter_is_the_same_for_everybody_and_never_early(at_start, plain):
    schedule = make(plain, jitter_seconds=1800)
    found = {times.due_at(schedule, START + n * HOUR) - (START + n * HOUR) for n in range(200)}
    assert len(found) == 200
    assert min(found) >= 0 * HOUR
    assert max(found) < HOUR / 2
    assert max(found) - min(found) > HOUR / 3
    for n in range(1, 4):
        schedule.refresh_from_db()
        assert schedule.next_at == START + n * HOUR
        at_start.clock.move_to(schedule.due_at - SECOND / 1000)
        assert firing.fire_due(using="default") == 0
        at_start.clock.move_to(schedule.due_at)
        assert firing.fire_due(using="default") == 1
        at_start.run_until_idle()
    assert outcomes(schedule) == "sss"


def test_jitter_beyond_the_next_tick_makes_none_late(at_start, plain):
    schedule = make(plain, jitter_seconds=86_400, overlap="allow")
    for n in range(1, 9):
        nominal_at = START + n * HOUR
        assert nominal_at <= times.due_at(schedule, nominal_at) < nominal_at + HOUR
    at_start.advance(9 * HOUR)
    assert set(outcomes(schedule)) == {"s"}


def test_the_end_is_included_and_nothing_comes_behind_it(at_start, plain):
    schedule = make(plain, ends_at=START + 2 * HOUR)
    at_start.advance(9 * HOUR)
    schedule.refresh_from_db()
    assert outcomes(schedule) == "ss"
    assert (schedule.status, schedule.next_at, schedule.due_at) == ("ended", None, None)


def test_the_start_is_included(plain):
    schedule = Schedule(cadence='{"kind": "cron", "expression": "0 * * * *", "timezone": "UTC"}', starts_at=START)
    assert times.first(schedule, START - 5 * HOUR) == START
    assert times.first(schedule, START + MINUTE) == START + HOUR


@pytest.mark.parametrize("late", [False, True])
def test_no_more_are_started_than_the_most(at_start, plain, late):
    schedule = make(plain, max_runs=3, catch_up="all")
    if late:
        at_start.clock.advance(9 * HOUR)
    at_start.advance(9 * HOUR)
    schedule.refresh_from_db()
    assert Execution.objects.count() == schedule.runs == 3
    assert (schedule.status, schedule.next_at) == ("ended", None)


# -- failures in a row ------------------------------------------------------------------------------------


def end_last(kit, how):
    execution = Execution.objects.latest("created_at")
    {
        "failed": lambda: kit.signal(execution, "go", "fail"),
        "completed": lambda: kit.signal(execution, "go"),
        "terminated": lambda: client.terminate(execution),
        "cancelled": lambda: client.cancel(execution),
    }[how]()
    kit.run_until_idle()
    assert client.get(execution).status == how


@pytest.mark.parametrize(
    ("ends", "failures"),
    [
        (["failed"], 1),
        (["failed", "completed"], 0),
        (["failed", "cancelled"], 1),
        (["completed", "terminated"], 1),
        (["cancelled"], 0),
    ],
)
def test_failures_in_a_row_are_counted(at_start, ends, failures):
    schedule = make(holding(), pause_after_failures=9)
    for end in ends:
        at_start.advance(HOUR)
        end_last(at_start, end)
    at_start.advance(HOUR)
    schedule.refresh_from_db()
    assert (schedule.failures, schedule.status) == (failures, "active")


def test_so_many_failures_in_a_row_pause_it(at_start, caplog, django_capture_on_commit_callbacks):
    schedule = make(holding(), pause_after_failures=2)
    for _ in range(2):
        at_start.advance(HOUR)
        end_last(at_start, "failed")
    with django_capture_on_commit_callbacks(execute=True):
        at_start.advance(5 * HOUR)
    schedule.refresh_from_db()
    assert outcomes(schedule) == "ss"
    assert (schedule.status, schedule.due_at, schedule.paused_at) == ("paused", None, START + 3 * HOUR)
    assert schedule.paused_reason == "2 executions in a row have ended without success"
    assert schedule.next_at == START + 3 * HOUR
    told = AuditEntry.objects.get(kind="schedule_failed")
    assert (told.actor, told.reason, told.after["status"]) == ("", schedule.paused_reason, "paused")
    warnings = [record for record in caplog.records if "Schedule holding is paused" in record.message]
    assert [record.levelname for record in warnings] == ["WARNING"]


def test_executions_that_were_deleted_are_over(at_start):
    schedule = make(holding())
    at_start.advance(HOUR)
    client.terminate(Execution.objects.get())
    client.delete(Execution.objects.get())
    at_start.advance(HOUR)
    assert outcomes(schedule) == "ss"


def test_a_crowd_that_is_due_keeps_no_other_work_waiting(at_start, plain, monkeypatch):
    """Each tick hints at the queues first, and fires for a bounded time: here one look and two batches of 0.6 s."""
    hints, passed, fire = [], [0.0], firing._fire_batch

    def slowly(*args):
        passed[0] += 0.6
        return fire(*args)

    monkeypatch.setattr(dispatch, "drain", lambda queue, **_: hints.append((queue, ScheduleTick.objects.count())))
    monkeypatch.setattr(clock, "process_seconds", lambda: passed[0])
    monkeypatch.setattr(firing, "_fire_batch", slowly)
    monkeypatch.setattr(firing, "BATCH", 10)
    for number in range(50):
        make(plain, name=f"of a crowd {number}")
    plain.start()
    at_start.clock.advance(HOUR)
    for _ in range(3):
        tick(using="default")
    assert hints == [("default", 0), ("default", 20), ("default", 40)]
    assert ScheduleTick.objects.filter(outcome="started").count() == 50


# -- refused ----------------------------------------------------------------------------------------------


def test_a_key_that_is_taken_fails_the_tick_and_the_schedule_goes_on(at_start):
    held = holding()
    other = held.using(key="one").start()
    schedule = make(held, key="one", overlap="allow")
    at_start.advance(2 * HOUR)
    assert reasons() == [("failed", f"its key is taken by execution {other.id}")] * 2
    schedule.refresh_from_db()
    assert (schedule.status, schedule.runs, schedule.next_at) == ("active", 0, START + 3 * HOUR)


def test_input_that_no_longer_fits_fails_the_tick(at_start):
    @workflow("strict")
    def strict(ctx, one):
        return one

    schedule = make("strict", 1, 2)
    at_start.advance(HOUR)
    assert outcomes(schedule) == "f"
    assert "TypeError" in reasons()[0][1]


def test_a_queue_that_is_gone_fails_the_tick(at_start, plain):
    schedule = make(plain, queue="gone")
    at_start.advance(HOUR)
    assert outcomes(schedule) == "f"
    assert "'gone'" in reasons()[0][1]


def test_a_workflow_that_nobody_here_knows_is_left_to_others_for_a_minute(at_start, plain):
    schedule = make("elsewhere")
    make(plain)
    at_start.advance(HOUR + 50 * SECOND)
    assert outcomes(schedule) == ""
    workflow("elsewhere")(lambda ctx: None)
    at_start.advance(MINUTE)
    assert outcomes(schedule) == "s"
    schedule.refresh_from_db()
    assert schedule.refused_since is None
    assert outcomes(Schedule.objects.get(name="plain")) == "s"


def test_a_workflow_that_nobody_knows_fails_its_ticks(at_start):
    schedule = make("nowhere")
    at_start.advance(3 * HOUR)
    assert outcomes(schedule) == "fff"
    assert "nowhere" in reasons()[0][1]


@pytest.fixture
def elsewhere(monkeypatch):
    """Inside of it, whoever fires schedules has not got their workflows; workers have."""

    @contextmanager
    def enter():
        with monkeypatch.context() as patch:
            for module in (planning, inputs):
                patch.setattr(module, "registry", Registry())
            yield

    return enter


@pytest.mark.parametrize("max_runs", [None, 2], ids=["goes on", "has ended"])
def test_what_waits_is_left_to_others_who_know_its_workflow(at_start, elsewhere, caplog, max_runs):
    schedule = make(holding(), overlap="buffer_one", max_runs=max_runs)
    at_start.advance(2 * HOUR)
    due_at = Schedule.objects.get().due_at
    client.signal(Execution.objects.get(), "go")
    worker.drain("default", using="default")
    with elsewhere():
        for _ in range(3):
            at_start.clock.advance(10 * SECOND)
            firing.fire_due(using="default")
    schedule.refresh_from_db()
    assert (outcomes(schedule), caplog.text) == ("sb", "")
    assert (schedule.due_at, schedule.refused_since) == (due_at, START + 2 * HOUR + 10 * SECOND)
    at_start.run_until_idle()
    assert outcomes(schedule) == "ss"


def test_what_waits_for_a_workflow_that_nobody_knows_fails_in_the_end(at_start, elsewhere):
    schedule = make(holding(), overlap="buffer_one")
    at_start.advance(2 * HOUR)
    client.signal(Execution.objects.get(), "go")
    worker.drain("default", using="default")
    with elsewhere():
        firing.fire_due(using="default")
        at_start.clock.advance(MINUTE)
        firing.fire_due(using="default")
    assert outcomes(schedule) == "sf"


def test_a_schedule_that_cannot_be_read_is_put_off_and_told_in_the_log(at_start, plain, caplog):
    make(plain)
    Schedule.objects.update(cadence='{"kind": "cron", "expression": "61 * * * *", "timezone": "UTC"}')
    good = make(plain, name="good")
    with caplog.at_level(logging.ERROR, "django_durable"):
        at_start.clock.advance(HOUR)
        assert firing.fire_due(using="default") == 2
    assert "Schedule plain cannot be planned" in caplog.text
    assert outcomes(good) == "s"
    put_off = Schedule.objects.get(name="plain")
    assert (put_off.next_at, put_off.due_at) == (START + HOUR, START + HOUR + MINUTE)


def test_a_time_that_has_a_tick_already_is_passed_over(at_start, plain):
    odd, good = make(plain), make(plain, name="good")
    at_start.clock.advance(HOUR)
    ScheduleTick.objects.create(schedule=odd, nominal_at=START + HOUR, outcome="skipped")  # by whom, who knows
    at_start.advance(HOUR)
    assert (outcomes(odd), outcomes(good)) == ("ss", "ss")
    assert Execution.objects.count() == 3
    odd.refresh_from_db()
    assert (odd.runs, odd.next_at) == (1, START + 3 * HOUR)


def test_a_schedule_that_cannot_be_written_is_put_off_and_the_others_are_not(at_start, plain, caplog, monkeypatch):
    bad, good = make(plain), make(plain, name="good")
    real = writing._store

    def store(plans, using):
        for plan in plans:
            if plan.schedule.pk == bad.pk:
                plan.schedule.status = "x" * 10  # refused by every database
        real(plans, using)

    monkeypatch.setattr(writing, "_store", store)
    at_start.clock.advance(HOUR)
    assert firing.fire_due(using="default") == 2
    assert "cannot be fired" in caplog.text
    assert (outcomes(bad), outcomes(good)) == ("", "s")
    bad.refresh_from_db()
    assert (bad.next_at, bad.due_at) == (START + HOUR, START + HOUR + MINUTE)


def test_one_that_meets_a_lock_is_put_off_a_little_and_the_others_are_not(at_start, monkeypatch, caplog):
    held = holding()
    bad, good = (make(held, name=name, overlap="terminate_other", catch_up="none") for name in ("bad", "good"))
    at_start.advance(HOUR)
    stop = writing._stop

    def meets(plan, using):
        if plan.schedule.pk == bad.pk:
            raise OperationalError("canceling statement due to lock timeout")
        stop(plan, using)

    at_start.clock.advance(HOUR)
    with monkeypatch.context() as patch:
        patch.setattr(writing, "_stop", meets)
        firing.fire_due(using="default")
    assert (outcomes(bad), outcomes(good)) == ("s", "ss")
    assert f"Schedule {bad.pk} met a lock for too long" in caplog.text
    at_start.advance(10 * SECOND)
    assert outcomes(bad) == "ss"


def test_code_of_the_project_that_raises_is_one_schedule_s_problem(at_start, plain, monkeypatch):
    bad, good = make(plain, "bad"), make(plain, name="good")
    real = type(plain).wanted

    def wanted(self, args, kwargs):
        if "bad" in args:
            raise ZeroDivisionError("no such tenant")
        return real(self, args, kwargs)

    monkeypatch.setattr(type(plain), "wanted", wanted)
    at_start.clock.advance(HOUR)
    firing.fire_due(using="default")
    assert (outcomes(bad), outcomes(good)) == ("f", "s")
    assert ("failed", "ZeroDivisionError: no such tenant") in reasons()


def test_the_database_refuses_a_second_tick_of_a_time(at_start, plain):
    schedule = make(plain)
    at_start.advance(HOUR)
    with pytest.raises(IntegrityError), transaction.atomic():
        ScheduleTick.objects.create(schedule=schedule, nominal_at=START + HOUR, outcome="skipped")


def test_who_plans_what_was_edited_meanwhile_writes_nothing(at_start, plain, monkeypatch):
    schedule = make(plain)
    at_start.clock.advance(HOUR)
    real = planning.make

    def edited(schedule, *given, **more):
        Schedule.objects.filter(pk=schedule.pk).update(version=99)
        return real(schedule, *given, **more)

    monkeypatch.setattr(planning, "make", edited)
    firing.fire_due(using="default")
    assert (outcomes(schedule), Execution.objects.count()) == ("", 0)
