"""Durable sleeps: never early, by the recorded due time, without a worker."""

from datetime import timedelta

import pytest

from django_durable import client, clock, workflow
from django_durable.models import Execution, Timer
from tests.authoring import Deployed


def test_a_sleep_frees_the_worker_and_ends_on_time(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.sleep(timedelta(hours=1))
        return "rested"

    execution = flow.start()
    durable.run_until_idle()
    found = durable.inspect(execution)
    assert (found.status, found.waiting_for, found.timer.is_leased) == ("sleeping", "timer", False)
    assert found.waiting_until == clock.now() + timedelta(hours=1)
    assert durable.advance(timedelta(minutes=59)) == 0
    durable.advance(timedelta(minutes=1))
    assert client.result(execution) == "rested"


def test_a_sleep_is_not_a_millisecond_early(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.sleep(0.005)

    execution = flow.start()
    assert durable.run_until_idle() == 1
    durable.clock.advance(timedelta(milliseconds=4))
    client.signal(execution, "look")  # makes it due now
    assert durable.run_until_idle() == 1
    assert durable.inspect(execution).status == "sleeping"
    durable.advance(timedelta(milliseconds=1))
    assert client.get(execution).status == "completed"


@pytest.mark.parametrize("seconds", [0, 0.0, timedelta(0)], ids=repr)
def test_a_sleep_of_nothing_ends_at_once(durable, seconds):
    @workflow("flow")
    def flow(ctx):
        ctx.sleep(seconds)
        return "rested"

    assert durable.run(flow.start()) == "rested"


def test_sleep_until_the_past_ends_at_once(durable):
    at = clock.now() - timedelta(days=1)

    @workflow("flow")
    def flow(ctx):
        ctx.sleep_until(at)
        return "rested"

    assert durable.run(flow.start()) == "rested"


def test_sleep_until_waits_for_that_point(durable):
    at = clock.now() + timedelta(days=3)

    @workflow("flow")
    def flow(ctx):
        ctx.sleep_until(at)
        return ctx.now()

    execution = flow.start()
    durable.advance(timedelta(days=4))
    assert client.result(execution) == at


def test_the_recorded_due_time_counts_after_a_deploy(durable):
    deployed = Deployed("flow", lambda ctx: ctx.sleep(3600))
    execution = deployed.workflow.start()
    durable.run_until_idle()
    deployed.code = lambda ctx: ctx.sleep(1)
    client.signal(execution, "look")  # makes it due now
    durable.run_until_idle()
    assert durable.inspect(execution).status == "sleeping"
    durable.advance(timedelta(hours=1))
    assert client.get(execution).status == "completed"


def test_a_sleeper_costs_one_row_and_no_pass(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.sleep(3600)

    for _ in range(5):
        flow.start()
    assert durable.run_until_idle() == 5
    assert durable.run_until_idle() == 0
    assert Timer.objects.leased().count() == 0
    assert Execution.objects.open().count() == 5


def test_waits_may_have_names_of_their_own(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.sleep(0, id="first")
        ctx.sleep_until(clock.now(), id="second")
        return ctx.wait_for_signal("paid", id="third")

    execution = flow.start()
    durable.run_until_idle()
    client.signal(execution, "paid", 3)
    durable.run_until_idle()
    assert client.result(execution) == 3
    assert [step.name for step in execution.steps.order_by("position")] == ["first", "second", "third"]


@pytest.mark.parametrize("name", ["", "a/b", "__rollback"])
def test_a_name_that_cannot_be_stored_is_refused(durable, name):
    @workflow("flow")
    def flow(ctx):
        ctx.sleep(60, id=name)

    execution = flow.start()
    durable.run_until_idle()
    assert (execution.steps.count(), client.get(execution).error_type) == (
        0,
        "django_durable.exceptions.InvalidOptionError",
    )
