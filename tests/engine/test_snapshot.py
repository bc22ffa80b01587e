"""Snapshots: everything about one execution as frozen, plain data."""

from dataclasses import FrozenInstanceError, asdict
from datetime import timedelta

import pytest

from django_durable import Retry, client, clock, step, workflow
from django_durable.engine import claims
from django_durable.models import Execution, Signal, Step
from tests.authoring import Deployed, no_op


def test_a_running_execution_says_so_and_waits_for_nothing(durable):
    execution = Deployed("flow", lambda ctx: ctx.sleep(60)).workflow.start()
    durable.run_until_idle()
    assert durable.inspect(execution).waiting_for == "timer"
    durable.clock.advance(timedelta(minutes=1))
    claims.take(execution.id, using="default")
    found = durable.inspect(execution)
    assert (found.status, found.waiting_for, found.waiting_until) == ("running", "", None)
    assert (found.timer.is_leased, found.timer.claims) == (True, 1)
    assert found.timer.due_at == clock.now() + timedelta(seconds=30)


def test_a_lease_that_ran_out_is_not_running(durable):
    execution = Deployed("flow", no_op).workflow.start()
    claims.take(execution.id, using="default")
    durable.clock.advance(timedelta(seconds=31))
    assert durable.inspect(execution).status == "pending"


def test_a_failing_step_tells_its_attempts_and_last_error(durable):
    def fails():
        raise ValueError("no")

    @workflow("flow")
    def flow(ctx):
        ctx.step(step(retry=Retry(initial_seconds=10, jitter=0))(fails))

    execution = flow.start()
    durable.run_until_idle()
    (row,) = durable.inspect(execution).history
    assert (row.status, row.attempts, row.error, row.result) == ("retrying", 1, "builtins.ValueError: no", None)
    assert row.due_at == clock.now() + timedelta(seconds=10)


def test_a_closed_execution_has_its_result_and_no_timer(durable):
    execution = Deployed("flow", lambda ctx: {"a": 1}).workflow.start()
    durable.run(execution)
    found = durable.inspect(execution)
    assert (found.result, found.timer, found.error) == ({"a": 1}, None, "")
    assert found.created_at <= found.started_at <= found.finished_at


def test_a_failed_execution_tells_the_error(durable):
    def code(ctx):
        raise ValueError("no")

    execution = Deployed("flow", code).workflow.start()
    durable.run_until_idle()
    found = durable.inspect(execution)
    assert (found.status, found.error, found.result) == ("failed", "builtins.ValueError: no", None)


def test_a_snapshot_is_plain_and_does_not_change(durable):
    execution = Deployed("flow", lambda ctx: ctx.wait_for_signal("go")).workflow.start()
    durable.run_until_idle()
    found = durable.inspect(execution)
    client.terminate(execution)
    assert found.status == "waiting"
    with pytest.raises(FrozenInstanceError):
        found.status = "other"
    assert not any(isinstance(value, Execution) for value in asdict(found).values())


def test_the_number_of_statements_does_not_grow_with_the_history(durable, django_assert_num_queries):
    def code(ctx, steps):
        for _ in range(steps):
            ctx.step("a", no_op)
        ctx.wait_for_signal("go")

    deployed = Deployed("flow", code)
    for steps in (1, 20):
        execution = deployed.workflow.start(steps)
        durable.run_until_idle()
        with django_assert_num_queries(5):
            durable.inspect(execution)


def test_what_cannot_be_decoded_is_shown_as_it_is_stored(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.step("one", lambda: 1)
        ctx.wait_for_signal("never")

    execution = flow.start()
    durable.run_until_idle()
    client.signal(execution, "later", 1)
    unknown = '[1, {"$gone": 1}]'
    Execution.objects.update(input=unknown, error="not an error")
    Step.objects.filter(name="one").update(result=unknown)
    Signal.objects.update(payload="sealed with another key")

    found = durable.inspect(execution)

    assert (found.input, found.error) == (unknown, "not an error")
    assert found.history[0].result == unknown
    assert found.pending_signals[0].payload == "sealed with another key"
