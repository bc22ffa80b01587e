"""wait_any and wait_all: signals, times, children and branches."""

from datetime import UTC, datetime, timedelta

import pytest

from django_durable import ChildFailed, SignalType, client
from django_durable.exceptions import ExecutionFailedError
from django_durable.models import Execution, Signal, Step
from tests.authoring import Deployed, no_op

HOUR = timedelta(hours=1)
PAID = SignalType("paid", payload=int)


@pytest.fixture
def flow():
    """A workflow whose code a test replaces."""
    return Deployed("flow", no_op)


@pytest.fixture
def child():
    return Deployed("child", lambda ctx: ctx.wait_for_signal("go"))


def all_kinds(ctx, child):
    return {
        "signal": PAID,
        "named": "named",
        "time": 2 * HOUR,
        "date": datetime(2999, 1, 1, tzinfo=UTC),
        "child": ctx.start_child(child.workflow),
        "branch": lambda ctx: ctx.sleep(3 * HOUR) or "branch",
    }


def only_child():
    return Execution.objects.get(workflow="child")


def run_for(durable, hours):
    durable.run_until_idle()
    for _ in range(hours):
        durable.advance(HOUR)
        durable.run_until_idle()


# -- any -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("come", "answer"),
    [
        (lambda durable, run: durable.signal(run, PAID, 7), ("signal", 7)),
        (lambda durable, run: durable.signal(run, "named", "x"), ("named", "x")),
        (lambda durable, run: run_for(durable, 2), ("time", None)),
        (lambda durable, run: durable.signal(only_child(), "go", "done"), ("child", "done")),
    ],
)
def test_any_gives_the_first_that_comes(durable, flow, child, come, answer):
    flow.code = lambda ctx: ctx.wait_any(all_kinds(ctx, child))
    run = flow.workflow.start()
    durable.run_until_idle()
    assert client.get(run).status == "waiting"
    come(durable, run)
    assert durable.run(run) == answer


def test_any_withdraws_the_others(durable, flow, child):
    flow.code = lambda ctx: ctx.wait_any(all_kinds(ctx, child)) and ctx.wait_for_signal("named")
    run = flow.workflow.start()
    durable.run_until_idle()
    durable.signal(run, PAID, 7)
    open_ = Step.objects.filter(execution=run.id, status="waiting")
    assert [step.name for step in open_] == ["signal:named"]
    assert durable.signal(run, "named", "for the next wait") is None
    assert durable.run(run) == "for the next wait"


def test_of_two_that_have_come_the_first_in_order_counts_and_the_other_is_kept(durable, flow):
    flow.code = lambda ctx: [ctx.wait_any({"b": "b", "a": "a"}), ctx.wait_for_signal("a")]
    run = flow.workflow.start()
    client.signal(run, "a", 1)
    client.signal(run, "b", 2)
    assert durable.run(run) == [("b", 2), 1]


def test_any_gives_none_when_the_time_is_up(durable, flow):
    flow.code = lambda ctx: ctx.wait_any({"a": "a", "b": "b"}, timeout=HOUR)
    run = flow.workflow.start()
    run_for(durable, 1)
    assert durable.run(run) is None


def test_a_signal_beats_a_timeout_that_has_passed_by_the_same_look(durable, flow):
    flow.code = lambda ctx: ctx.wait_any({"a": "a"}, timeout=HOUR)
    run = flow.workflow.start()
    durable.run_until_idle()
    client.signal(run, "a", 1)
    durable.advance(HOUR)
    assert durable.run(run) == ("a", 1)


def test_a_child_that_fails_is_raised(durable, flow, child):
    def code(ctx):
        try:
            ctx.wait_any({"child": ctx.start_child(child.workflow), "never": "never"})
        except ChildFailed as failed:
            return failed.message

    child.code = lambda ctx: 1 / 0
    flow.code = code
    assert durable.run(flow.workflow.start()) == "division by zero"


def test_any_names_its_checkpoints(durable, flow):
    flow.code = lambda ctx: [ctx.wait_any({"a": "a"}), ctx.wait_any({"a": "a"}), ctx.wait_any({"a": "a"}, id="mine")]
    run = flow.workflow.start()
    for number in range(3):
        client.signal(run, "a", number)
    assert durable.run(run) == [("a", 0), ("a", 1), ("a", 2)]
    names = [step.name for step in Step.objects.history(run.id) if step.kind == "race"]
    assert names == ["wait_any", "wait_any#2", "mine"]


# -- all -----------------------------------------------------------------------------------------------


def test_all_gives_every_value(durable, flow, child):
    def code(ctx):
        awaited = all_kinds(ctx, child)
        del awaited["date"]
        return ctx.wait_all(awaited)

    flow.code = code
    run = flow.workflow.start()
    durable.run_until_idle()
    durable.signal(run, PAID, 7)
    durable.signal(run, "named", "x")
    durable.signal(only_child(), "go", "done")
    run_for(durable, 2)
    assert client.get(run).status == "sleeping"
    run_for(durable, 1)
    expected = {"signal": 7, "named": "x", "time": None, "child": "done", "branch": "branch"}
    assert durable.run(run) == expected


def test_all_with_a_timeout_gives_what_came_in_time(durable, flow):
    flow.code = lambda ctx: ctx.wait_all({"a": "a", "b": "b", "c": "c"}, timeout=HOUR)
    run = flow.workflow.start()
    client.signal(run, "b", None)
    durable.run_until_idle()
    durable.signal(run, "a", 1)
    run_for(durable, 1)
    assert durable.run(run) == {"a": 1, "b": None}
    assert Signal.objects.filter(consumed_by="").count() == 0


def test_all_within_the_timeout_waits_no_longer(durable, flow):
    flow.code = lambda ctx: ctx.wait_all({"a": "a", "b": "b"}, timeout=HOUR)
    run = flow.workflow.start()
    client.signal(run, "a", 1)
    client.signal(run, "b", 2)
    assert durable.run(run) == {"a": 1, "b": 2}


def test_a_cancel_reaches_all(durable, flow, child):
    flow.code = lambda ctx: ctx.wait_all(all_kinds(ctx, child), timeout=9 * HOUR)
    run = flow.workflow.start()
    durable.run_until_idle()
    client.cancel(run)
    durable.run_until_idle()
    assert client.get(run).status == "cancelled"
    assert [step.name for step in Step.objects.filter(execution=run.id, status="waiting")] == []


def test_inside_a_branch(durable, flow):
    flow.code = lambda ctx: ctx.gather(lambda ctx: ctx.wait_any({"a": "a", "t": HOUR}), lambda ctx: ctx.step(no_op))
    run = flow.workflow.start()
    run_for(durable, 1)
    assert durable.run(run) == [("t", None), None]


# -- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["wait_any", "wait_all"])
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, "nothing to wait for"),
        (["a"], "nothing to wait for"),
        ({"a": 5}, "'a' is 5; give a signal"),
        ({"a": datetime(2999, 1, 1)}, "aware"),
        ({"a": timedelta(-1)}, "a="),
        ({"a": "not a name"}, "cannot be used"),
        ({"__a": "a"}, "reserved"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_recorded(durable, flow, call, given, told):
    flow.code = lambda ctx: getattr(ctx, call)(given)
    run = flow.workflow.start()
    with pytest.raises(ExecutionFailedError, match=told):
        durable.run(run)
    assert not Step.objects.filter(execution=run.id).exists()
