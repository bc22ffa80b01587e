"""Pausing: nothing new begins, nothing is lost, and it goes on from where it was."""

from datetime import timedelta

import pytest

from django_durable import ExecutionConflict, client, workflow
from django_durable.engine import worker
from django_durable.models import AuditEntry, Execution, Status, Step, Timer

HOUR = timedelta(hours=1)


@pytest.fixture
def done():
    return []


def status_of(execution):
    return Execution.objects.get(pk=execution.id).status


def test_a_running_step_comes_to_its_end_and_the_next_does_not_begin(durable, done):
    @workflow("flow")
    def flow(ctx):
        ctx.step("one", lambda: [done.append("one"), client.pause(execution, reason="wait", actor="ada")])
        ctx.step("two", done.append, "two")

    execution = flow.start()
    durable.run_until_idle()
    assert (done, status_of(execution)) == (["one"], Status.PAUSED)
    assert Step.objects.history(execution.id).count() == 1
    client.resume(execution)
    assert durable.run(execution) is None
    assert done == ["one", "two"]
    kinds = [(entry.kind, entry.actor, entry.reason) for entry in AuditEntry.objects.about(execution.id)]
    assert kinds == [("paused", "ada", "wait"), ("resumed", "", "")]


def test_a_pause_before_a_sleep_is_seen_as_it_parks(durable, done):
    @workflow("flow")
    def flow(ctx):
        ctx.step("one", lambda: client.pause(execution))
        ctx.sleep(HOUR)

    execution = flow.start()
    durable.run_until_idle()
    assert status_of(execution) == Status.PAUSED
    assert Timer.objects.get(pk=execution.id).due_at is None


def test_a_signal_is_kept_during_a_pause_and_read_after_it(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.wait_for_signal("go")

    execution = flow.start()
    durable.run_until_idle()
    client.pause(execution)
    client.signal(execution, "go", 7)
    durable.run_until_idle()
    assert status_of(execution) == Status.PAUSED
    client.resume(execution)
    assert durable.run(execution) == 7


@pytest.mark.parametrize(("shifts", "sleeps_on"), [(False, False), (True, True)])
def test_timers_run_on_or_stand_still_as_who_resumes_says(durable, shifts, sleeps_on):
    @workflow("flow")
    def flow(ctx):
        ctx.sleep(HOUR)

    execution = flow.using(timeout=3 * HOUR).start()
    durable.run_until_idle()
    deadline = Execution.objects.get(pk=execution.id).deadline_at
    client.pause(execution)
    durable.advance(2 * HOUR)
    assert status_of(execution) == Status.PAUSED
    client.resume(execution, shift_timers=shifts)
    durable.run_until_idle()
    assert (status_of(execution) == Status.SLEEPING) is sleeps_on
    moved = Execution.objects.get(pk=execution.id).deadline_at - deadline
    assert moved == (2 * HOUR if shifts else timedelta())
    durable.advance(HOUR)
    assert status_of(execution) == Status.COMPLETED


def test_a_later_start_stays_where_it_was(durable, done):
    @workflow("flow")
    def flow(ctx):
        done.append("ran")

    execution = flow.using(delay=HOUR).start()
    client.pause(execution)
    durable.advance(HOUR / 2)
    client.resume(execution)
    durable.run_until_idle()
    assert (done, status_of(execution)) == ([], Status.PENDING)
    durable.advance(HOUR / 2)
    assert done == ["ran"]


def test_a_cancellation_ends_a_pause(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.wait_for_signal("go")

    execution = flow.start()
    durable.run_until_idle()
    client.pause(execution)
    client.cancel(execution)
    durable.run_until_idle()
    assert status_of(execution) == Status.CANCELLED


def test_to_pause_twice_is_a_conflict_also_before_the_worker_has_left(durable):
    seen = []

    @workflow("flow")
    def flow(ctx):
        ctx.step("one", twice)

    def twice():
        client.pause(execution)
        with pytest.raises(ExecutionConflict):
            client.pause(execution)
        seen.append(True)

    execution = flow.start()
    durable.run_until_idle()
    assert seen == [True]


def test_one_that_is_resumed_before_its_worker_has_left_goes_on(durable, done):
    @workflow("flow")
    def flow(ctx):
        ctx.step("one", lambda: [client.pause(execution), client.resume(execution)])
        ctx.step("two", done.append, "two")

    execution = flow.start()
    worker.advance_one(execution.id, using="default")
    assert (done, status_of(execution)) == (["two"], Status.COMPLETED)
