"""loop: each time a scope of its own, and the decision to go round once more is made once."""

from datetime import timedelta

import pytest

from django_durable import LoopLimitError, client
from django_durable.exceptions import ExecutionFailedError, InvalidOptionError
from django_durable.models import Step
from tests.authoring import Deployed, no_op

HOUR = timedelta(hours=1)


@pytest.fixture
def flow():
    """A workflow whose code a test replaces."""
    return Deployed("flow", no_op)


def names(run):
    return [step.name for step in Step.objects.history(run.pk)]


def test_it_goes_round_while_the_condition_holds(durable, flow):
    flow.code = lambda ctx: ctx.loop("sum", lambda n: n < 3, lambda ctx, n: ctx.step("add", lambda: n + 1), initial=0)
    run = flow.workflow.start()
    assert durable.run(run) == 3
    assert names(run) == ["sum", "sum/0/add", "sum#2", "sum/1/add", "sum#3", "sum/2/add", "sum#4"]


def test_the_first_time_the_value_is_none(durable, flow):
    flow.code = lambda ctx: ctx.loop("once", lambda value: value is None, lambda ctx, value: "ended")
    assert durable.run(flow.workflow.start()) == "ended"


def test_a_condition_that_never_held_gives_the_initial_value(durable, flow):
    flow.code = lambda ctx: ctx.loop("never", lambda value: False, lambda ctx, value: 1 / 0, initial="as it was")
    assert durable.run(flow.workflow.start()) == "as it was"


def test_the_condition_is_asked_once_and_never_at_a_replay(durable, flow):
    asked = []

    def condition(number):
        asked.append(number)
        return number < 2

    def body(ctx, number):
        ctx.sleep(HOUR)
        return number + 1

    flow.code = lambda ctx: ctx.loop("hours", condition, body, initial=0)
    run = flow.workflow.start()
    for _ in range(3):
        durable.run_until_idle()
        durable.advance(HOUR)
    assert (durable.run(run), asked) == (2, [0, 1, 2])


def test_a_changed_condition_does_not_change_rounds_that_were_begun(durable, flow):
    def code(limit):
        def body(ctx, number):
            ctx.sleep(HOUR)
            return number + 1

        return lambda ctx: ctx.loop("hours", lambda number: number < limit, body, initial=0)

    flow.code = code(2)
    run = flow.workflow.start()
    durable.run_until_idle()
    flow.code = code(0)
    durable.advance(HOUR)
    assert durable.run(run) == 1


def test_two_loops_of_one_name_do_not_meet(durable, flow):
    def once(ctx):
        return ctx.loop("x", lambda value: value is None, lambda ctx, value: ctx.step("do", lambda: "done"))

    flow.code = lambda ctx: [once(ctx), once(ctx)]
    run = flow.workflow.start()
    assert durable.run(run) == ["done", "done"]
    assert names(run) == ["x", "x/0/do", "x#2", "x#3", "x#3/0/do", "x#4"]


def test_loops_in_loops_and_branches(durable, flow):
    def inner(ctx, total):
        return ctx.loop("inner", lambda n: n < 2, lambda ctx, n: ctx.step("add", lambda: n + 1), initial=0) + total

    def outer(ctx):
        return ctx.loop("outer", lambda total: total < 4, inner, initial=0)

    flow.code = lambda ctx: ctx.parallel({"left": outer, "right": outer})
    run = flow.workflow.start()
    assert durable.run(run) == {"left": 4, "right": 4}
    assert "parallel/left/outer/1/inner/0/add" in names(run)


def test_the_limit_is_a_clear_error_that_may_be_caught(durable, flow):
    def code(ctx, most):
        try:
            ctx.loop("poll", lambda value: True, lambda ctx, value: ctx.step("look", no_op), max_iterations=most)
        except LoopLimitError as error:
            return ctx.sleep(HOUR) or str(error)

    flow.code = code
    run = flow.workflow.start(2)
    durable.run_until_idle()
    assert names(run).count("poll/1/look") == 1
    flow.code = lambda ctx, most: code(ctx, 2)
    durable.advance(HOUR)
    assert "'poll' has run 2 times" in durable.run(run)


def test_a_limit_that_was_just_enough_is_no_error(durable, flow):
    flow.code = lambda ctx: ctx.loop("n", lambda n: n < 2, lambda ctx, n: n + 1, initial=0, max_iterations=2)
    assert durable.run(flow.workflow.start()) == 2


def test_a_condition_that_fails_is_recorded_and_may_be_caught(durable, flow):
    def code(ctx):
        try:
            ctx.loop("x", lambda value: 1 / 0, no_op)
        except InvalidOptionError as error:
            ctx.sleep(HOUR)
            return str(error)

    flow.code = code
    run = flow.workflow.start()
    durable.run_until_idle()
    durable.advance(HOUR)
    assert "Mend the condition" in durable.run(run)


def test_what_the_rounds_did_is_undone_in_reverse_order(durable, flow):
    done = []

    def body(ctx, number):
        ctx.step("pack", lambda: number, compensate=lambda result: done.append(f"undo {result}"))
        ctx.sleep(HOUR)
        if number == 2:
            raise ValueError("third")
        return number + 1

    flow.code = lambda ctx: ctx.loop("x", lambda number: True, body, initial=0)
    run = flow.workflow.start()
    for _ in range(3):
        durable.run_until_idle()
        durable.advance(HOUR)
    with pytest.raises(ExecutionFailedError, match="third"):
        durable.run(run)
    assert done == ["undo 2", "undo 1", "undo 0"]


def test_a_cancel_reaches_the_round_that_waits(durable, flow):
    flow.code = lambda ctx: ctx.loop("x", lambda value: True, lambda ctx, value: ctx.sleep(HOUR))
    run = flow.workflow.start()
    durable.run_until_idle()
    durable.advance(HOUR)
    durable.run_until_idle()
    client.cancel(run)
    durable.run_until_idle()
    assert client.get(run).status == "cancelled"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda ctx: ctx.loop("x", None, no_op), "no function"),
        (lambda ctx: ctx.loop("x", no_op, 7), "no function"),
        (lambda ctx: ctx.loop("x", no_op, no_op, max_iterations=0), "whole number from 1"),
        (lambda ctx: ctx.loop("x", no_op, no_op, max_iterations=True), "whole number from 1"),
        (lambda ctx: ctx.loop("__x", no_op, no_op), "reserved"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_recorded(durable, flow, call, told):
    flow.code = call
    run = flow.workflow.start()
    with pytest.raises(ExecutionFailedError, match=told):
        durable.run(run)
    assert names(run) == []


def test_each_round_sees_the_state_of_the_one_before_and_so_does_the_code_behind(durable, flow):
    def body(ctx, number):
        ctx.state.set(**{f"round{number}": ctx.state.get("count", 0)}, count=ctx.state.get("count", 0) + 1)
        ctx.sleep(HOUR)
        return number + 1

    def code(ctx):
        ctx.loop("hours", lambda number: number < 3, body, initial=0)
        return dict(ctx.state)

    flow.code = code
    run = flow.workflow.start()
    for _ in range(3):
        durable.run_until_idle()
        durable.advance(HOUR)
    assert durable.run(run) == {"round0": 0, "round1": 1, "round2": 2, "count": 3}


def test_an_update_during_a_loop_is_seen_behind_the_wait(durable, flow):
    @flow.workflow.update("put")
    def put(state, value):
        state["put"] = value

    def body(ctx, value):
        ctx.wait_for_signal("go")
        return ctx.state.get("put")

    flow.code = lambda ctx: ctx.loop("until", lambda value: value is None, body)
    run = flow.workflow.start()
    durable.run_until_idle()
    client.send_update(run, "put", "yes")
    durable.run_until_idle()
    durable.signal(run, "go")
    assert durable.run(run) == "yes"
