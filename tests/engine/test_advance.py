"""A pass from end to end: how it ends, what interrupts it, and what is set aside until code or people change."""

from contextlib import suppress
from datetime import timedelta

import pytest

from django_durable import Cancelled, client, signals, step, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, worker
from django_durable.exceptions import (
    DeadlineExceeded,
    ExecutionCancelledError,
    ExecutionFailedError,
    ExecutionTerminatedError,
    ExecutionTimedOutError,
)
from django_durable.models import AuditEntry, Execution, Step, Timer
from tests.authoring import Killed, no_op


class Boom(Exception):
    pass


def crash(execution, durable):
    """A worker claims it and dies at once; its lease runs out."""
    assert claims.take(execution.id, using="default") is not None
    durable.clock.advance(timedelta(seconds=31))


# -- how it ends ---------------------------------------------------------------------------------------


def test_a_return_completes_and_takes_the_timer_away(durable):
    @workflow("flow")
    def flow(ctx, name):
        return {"hello": name}

    execution = flow.start("ada")
    assert durable.run(execution) == {"hello": "ada"}
    found = durable.inspect(execution)
    assert (found.status, found.timer) == ("completed", None)
    assert found.finished_at is not None
    assert not Timer.objects.exists()


def test_an_error_fails_the_execution_with_its_traceback(durable):
    @workflow("flow")
    def flow(ctx):
        raise Boom("no")

    with pytest.raises(ExecutionFailedError) as caught:
        durable.run(flow.start())
    assert (caught.value.type_name, caught.value.message) == (f"{__name__}.Boom", "no")
    assert "in flow" in caught.value.traceback_text


def test_a_result_that_cannot_be_stored_fails_the_execution(durable):
    @workflow("flow")
    def flow(ctx):
        return object()

    with pytest.raises(ExecutionFailedError, match="CodecError"):
        durable.run(flow.start())


@pytest.mark.parametrize(("error", "told"), [(None, []), (ValueError("no"), ["failed"])])
def test_an_end_that_is_no_success_is_in_the_audit_trail(durable, error, told):
    @workflow("flow")
    def flow(ctx):
        if error:
            raise error

    execution = flow.start()
    with suppress(ExecutionFailedError):
        durable.run(execution)
    assert [entry.kind for entry in AuditEntry.objects.filter(execution_id=execution.id)] == told


def test_the_attempt_tells_how_many_workers_were_lost(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.attempt

    assert durable.run(flow.start()) == 1
    execution = flow.start()
    crash(execution, durable)
    assert durable.run(execution) == 2


# -- deadlines -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wait",
    [
        lambda ctx: ctx.sleep(3600),
        lambda ctx: ctx.wait_for_signal("go"),
        lambda ctx: ctx.wait_for_signal("go", timeout=999),
    ],
    ids=["sleep", "wait", "wait with timeout"],
)
def test_the_deadline_fires_while_it_waits_and_lets_it_clean_up(durable, wait):
    cleaned = []

    @workflow("flow")
    def flow(ctx):
        try:
            wait(ctx)
        finally:
            ctx.step("clean", lambda: cleaned.append(1))

    execution = flow.using(timeout=60).start()
    durable.advance(timedelta(seconds=59))
    assert cleaned == []
    durable.advance(timedelta(seconds=1))
    with pytest.raises(ExecutionTimedOutError):
        client.result(execution)
    assert cleaned == [1]


def test_the_deadline_can_be_told_from_a_cancel(durable):
    caught = []

    @workflow("flow", timeout=60)
    def flow(ctx):
        try:
            ctx.sleep(3600)
        except DeadlineExceeded as error:
            caught.append(type(error))
            raise

    execution = flow.start()
    durable.advance(timedelta(minutes=2))
    assert caught == [DeadlineExceeded]
    assert client.get(execution).status == "timed_out"


def test_clean_up_after_the_deadline_may_wait(durable):
    @workflow("flow", timeout=60)
    def flow(ctx):
        try:
            ctx.sleep(3600)
        finally:
            ctx.sleep(120)
            ctx.step("clean", no_op)

    execution = flow.start()
    durable.advance(timedelta(minutes=2))
    assert client.get(execution).status == "sleeping"
    durable.advance(timedelta(minutes=2))
    assert client.get(execution).status == "timed_out"


def test_an_execution_whose_deadline_passed_before_its_first_pass_never_runs(durable):
    ran = []

    @workflow("flow")
    def flow(ctx):
        ran.append(1)

    execution = flow.using(timeout=10).start()
    durable.clock.advance(timedelta(seconds=10))
    durable.run_until_idle()
    assert ran == []
    assert client.get(execution).status == "timed_out"


def test_clean_up_in_finally_waits_while_the_execution_only_sleeps(durable):
    cleaned = []

    @workflow("flow")
    def flow(ctx):
        try:
            ctx.sleep(60)
        finally:
            try:
                raise ValueError
            except ValueError:  # another error on top does not hide that the function is being left
                ctx.step("clean", lambda: cleaned.append(1))

    execution = flow.start()
    durable.run_until_idle()
    assert (client.get(execution).status, cleaned) == ("sleeping", [])
    durable.advance(timedelta(minutes=1))
    assert (client.get(execution).status, cleaned) == ("completed", [1])


# -- cancel and terminate ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wait", [lambda ctx: ctx.sleep(3600), lambda ctx: ctx.wait_for_signal("go")], ids=["sleep", "wait"]
)
def test_a_cancel_wakes_it_and_lets_it_clean_up(durable, wait):
    cleaned = []

    @workflow("flow")
    def flow(ctx):
        try:
            wait(ctx)
        except Cancelled:
            ctx.step("clean", lambda: cleaned.append(1))
            raise

    execution = flow.start()
    durable.run_until_idle()
    client.cancel(execution, reason="changed my mind", actor="ada")
    assert client.get(execution).status == "cancelling"
    with pytest.raises(ExecutionCancelledError, match="changed my mind"):
        durable.run(execution)
    assert cleaned == [1]


def test_a_cancel_is_delivered_once_and_the_same_in_every_replay(durable):
    caught = []

    @workflow("flow")
    def flow(ctx):
        try:
            ctx.sleep(3600)
        except Cancelled:
            caught.append("cancelled")
        ctx.sleep(60)
        ctx.step("more", no_op)
        return "went on"

    execution = flow.start()
    durable.run_until_idle()
    client.cancel(execution)
    client.cancel(execution)
    durable.advance(timedelta(minutes=2))
    assert caught == ["cancelled", "cancelled"]  # once per replay, at the same place
    found = durable.inspect(execution)
    assert [row.status for row in found.history] == ["cancelled", "completed", "completed"]
    assert found.status == "cancelled"


def test_a_cancel_before_the_first_run_ends_it_without_running(durable):
    ran = []

    @workflow("flow")
    def flow(ctx):
        ran.append(1)

    execution = flow.start()
    client.cancel(execution)
    with pytest.raises(ExecutionCancelledError):
        durable.run(execution)
    assert ran == []


def test_a_cancel_during_a_step_takes_effect_at_the_next_call(durable):
    ran = []

    @workflow("flow")
    def flow(ctx):
        ctx.step("first", lambda: client.cancel(ctx.execution_id) or ran.append("first"))
        ctx.step("second", lambda: ran.append("second"))

    execution = flow.start()
    with pytest.raises(ExecutionCancelledError):
        durable.run(execution)
    assert ran == ["first"]


def test_an_error_while_cleaning_up_is_a_failure(durable):
    @workflow("flow")
    def flow(ctx):
        try:
            ctx.sleep(3600)
        except Cancelled:
            raise Boom("while cleaning up") from None

    execution = flow.start()
    durable.run_until_idle()
    client.cancel(execution)
    with pytest.raises(ExecutionFailedError, match="while cleaning up"):
        durable.run(execution)
    assert client.get(execution).status == "failed"


def test_a_terminate_ends_it_without_clean_up(durable):
    cleaned = []

    @workflow("flow")
    def flow(ctx):
        try:
            ctx.sleep(3600)
        finally:
            cleaned.append(1)

    execution = flow.start()
    durable.run_until_idle()
    cleaned.clear()  # leaving the function to wait runs plain finally blocks too
    client.terminate(execution, reason="enough")
    assert durable.run_until_idle() == 0
    with pytest.raises(ExecutionTerminatedError, match="enough"):
        client.result(execution)
    assert cleaned == []


def test_what_a_worker_still_does_after_a_terminate_is_not_recorded(durable):
    told = []

    @workflow("flow")
    def flow(ctx):
        ctx.step("first", lambda: client.terminate(ctx.execution_id))
        told.append("went on")

    def lost(**facts):
        told.append(facts["execution_id"])

    execution = flow.start()
    signals.lease_lost.connect(lost)
    try:
        durable.run_until_idle()
    finally:
        signals.lease_lost.disconnect(lost)
    found = durable.inspect(execution)
    assert (found.status, found.history) == ("terminated", ())
    assert told == []


# -- crashes -------------------------------------------------------------------------------------------


def test_a_pass_that_dies_is_taken_up_where_it_was(durable):
    ran, deaths = [], [Killed()]

    def second():
        ran.append("second")
        if deaths:
            raise deaths.pop()

    @workflow("flow")
    def flow(ctx):
        ctx.step("first", lambda: ran.append("first"))
        ctx.step(step(second))
        return "done"

    execution = flow.start()
    with pytest.raises(Killed):
        durable.run_until_idle()
    assert worker.drain("default", using="default") == 0  # the lease still holds
    durable.advance(timedelta(seconds=31))
    assert client.result(execution) == "done"
    assert ran == ["first", "second", "second"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_a_note_before_the_end_is_not_recorded_once_the_lease_is_lost(durable):
    """The next holder has recorded the same position; that must be told as a lost lease, not as a database error."""
    passes = []

    @workflow("flow")
    def flow(ctx):
        ctx.note("here")
        passes.append(len(passes))
        if passes == [0]:
            Timer.objects.update(due_at=DatabaseNow())  # the lease runs out
            worker.drain("default", using="default")

    run = flow.start()
    worker.advance_one(run.id, using="default")
    assert passes == [0, 1]
    assert Step.objects.history(run.id).count() == 1
    assert Execution.objects.get(pk=run.id).status == "completed"
