"""Flows: declared lists of nodes run as ordinary workflows."""

from dataclasses import fields
from datetime import timedelta
from inspect import signature

import pytest

from django_durable import (
    ExecutionFailedError,
    Flow,
    FlowData,
    InvalidOptionError,
    Limit,
    Part,
    Rate,
    Retry,
    SignalType,
    client,
    clock,
    on_event,
    registry,
    step,
    workflow,
)

approved = SignalType("flow.approved", payload=str)


def double(data: FlowData) -> int:
    return data.input * 2


def test_nodes_run_in_order_and_see_what_came_before(durable):
    flow = Flow("flow").step("doubled", double).step("added", lambda data: data.results["doubled"] + 1).register()
    assert durable.run(flow.start(4)) == {"doubled": 8, "added": 9}


def test_the_result_can_be_said(durable):
    flow = Flow("flow").step("doubled", double).returns(lambda data: data.results["doubled"] + data.input).register()
    assert durable.run(flow.start(4)) == 12


def test_it_is_registered_like_any_workflow(durable):
    Flow("flow", 3, queue="slow", priority="high").step("doubled", double).register()
    found = client.get_workflow("flow")
    assert (found.version, found.queue, found.priority) == (3, "slow", "high")
    assert durable.run(client.start("flow", 1)) == {"doubled": 2}


def test_a_step_keeps_its_options_and_takes_its_own_arguments(durable):
    tries = []

    @step(retry=Retry(max_attempts=2, initial_seconds=0))
    def add(left: int, right: int) -> int:
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionError
        return left + right

    flow = Flow("flow").step("sum", add, given=lambda data: (data.input, 1)).register()
    assert durable.run(flow.start(4)) == {"sum": 5}
    assert len(tries) == 2


def test_what_was_done_is_undone_in_reverse_order(durable):
    undone = []

    def fail(data: FlowData) -> None:
        raise ValueError("no")

    flow = (
        Flow("flow")
        .step("first", lambda data: 1, compensate=undone.append)
        .step("second", lambda data: 2, compensate=undone.append)
        .step("third", fail)
        .register()
    )
    execution = flow.start()
    durable.run_until_idle()
    found = client.get(execution)
    assert (found.status, found.compensated, undone) == ("failed", True, [2, 1])


def test_it_waits_for_time_and_for_signals(durable):
    flow = (
        Flow("flow")
        .sleep("rest", timedelta(hours=1))
        .sleep("rest_more", lambda data: data.input)
        .sleep_until("moment", lambda data: clock.now() + timedelta(hours=1))
        .wait_for_signal("answer", approved, timeout=timedelta(days=1), default="nobody")
        .register()
    )
    execution = flow.start(60)
    durable.run_until_idle()
    for by in (timedelta(hours=1), timedelta(minutes=1), timedelta(hours=1)):
        assert client.get(execution).status == "sleeping"
        durable.advance(by)
    assert client.get(execution).waiting_for == "signal flow.approved"
    durable.advance(timedelta(days=1))
    assert client.result(execution)["answer"] == "nobody"
    assert [found.name for found in execution.steps.order_by("position")] == ["rest", "rest_more", "moment", "answer"]


def test_branches_run_side_by_side(durable):
    flow = (
        Flow("flow")
        .step("before", double)
        .parallel(
            "both",
            {
                "one": lambda data: data.results["before"] + 1,
                "two": Part().sleep("rest", 60).step("last", lambda data: data.results["before"] + 2),
            },
        )
        .register()
    )
    execution = flow.start(1)
    durable.run_until_idle()
    durable.advance(timedelta(minutes=1))
    assert client.result(execution)["both"] == {"one": 3, "two": {"rest": None, "last": 4}}


def test_a_route_is_chosen_once(durable):
    asked = []

    def select(data: FlowData) -> str:
        asked.append(data.input)
        return data.input

    flow = (
        Flow("flow")
        .route("kind", select, {"slow": Part().sleep("rest", 60).step("end", double)}, default=lambda data: "other")
        .register()
    )
    assert durable.run(flow.start("quick")) == {"kind": "other"}
    execution = flow.start("slow")
    durable.run_until_idle()
    durable.advance(timedelta(minutes=1))
    assert client.result(execution) == {"kind": {"rest": None, "end": "slowslow"}}


def test_a_child_is_called_with_the_input_or_what_is_given(durable):
    @workflow("child")
    def child(ctx, number):
        return number + 1

    flow = Flow("flow").child("one", child).child("two", child, given=lambda data: [data.results["one"]]).register()
    assert durable.run(flow.start(1)) == {"one": 2, "two": 3}


def test_a_result_that_is_not_there_is_named(durable):
    flow = Flow("flow").step("one", double).step("two", lambda data: data.results["oen"]).register()
    execution = flow.start(1)
    durable.run_until_idle()
    with pytest.raises(ExecutionFailedError, match="'oen'; there are 'one'"):
        client.result(execution)


def test_its_shape_is_what_was_declared():
    flow = (
        Flow("flow")
        .step("charge", double, compensate=print)
        .route("kind", double, {"a": Part().sleep("rest", 60)}, default=double)
        .parallel("both", {"a": double})
        .wait_for_signal("answer", approved)
        .register()
    )
    assert flow.describe().outline().splitlines() == [
        "step charge body=double compensate=print",
        "switch kind value=double:",
        "    a:",
        "        sleep rest duration=60",
        "    default:",
        "        step default body=double",
        "parallel both:",
        "    a:",
        "        step a body=double",
        "waitForSignal answer signal=flow.approved",
    ]


def test_a_loop_repeats_while_its_condition_holds(durable):
    flow = (
        Flow("flow")
        .loop(
            "rounds",
            lambda data: data.iteration < data.input,
            Part().sleep("rest", 60).step("square", lambda data: data.iteration**2),
        )
        .step("sum", lambda data: sum(each["square"] for each in data.results["rounds"]))
        .register()
    )
    execution = flow.start(3)
    durable.run_until_idle()
    for _ in range(3):
        durable.advance(timedelta(minutes=1))
    assert client.result(execution)["sum"] == 5
    assert durable.run(flow.start(0)) == {"rounds": [], "sum": 0}


def test_it_tells_of_events(durable):
    heard = []
    on_event("flow.done", name="flow.heard")(lambda event: heard.append(event.payload))
    flow = Flow("flow").step("doubled", double).emit("told", "flow.done", lambda data: data.results["doubled"])
    durable.run(flow.register().start(2))
    assert heard == [4]


# -- changing it under live executions -------------------------------------------------------------------


def test_nodes_may_be_put_in_and_taken_out_under_live_executions(durable):
    ran = []

    def tell(name):
        return lambda data: ran.append(name)

    old = Flow("flow").step("one", tell("one")).sleep("rest", 60).step("two", tell("two")).register()
    execution = old.start()
    durable.run_until_idle()
    registry._versions.clear()  # a deploy
    (
        Flow("flow")
        .step("zero", tell("zero"))
        .sleep("first_rest", 0)
        .sleep("rest", 60)
        .step("one_and_a_half", tell("one and a half"))
        .step("two", tell("two"))
        .register()
    )
    durable.advance(timedelta(minutes=1))
    assert client.get(execution).status == "completed"
    assert ran == ["one", "zero", "one and a half", "two"]


# -- bad input -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: Flow("flow").register(), "has no nodes"),
        (lambda: Flow("flow").step("one", double).sleep("one", 1), "Two nodes are called 'one'"),
        (lambda: Flow("flow").step("a/b", double), "a/b"),
        (lambda: Flow("flow").step("one", None), "'one': handler=None"),
        (lambda: Flow("flow").step("one", double, given=1), "given=1"),
        (lambda: Flow("flow").sleep("one", -1), "one"),
        (lambda: Flow("flow").sleep_until("one", 7), "at=7"),
        (lambda: Flow("flow").parallel("both", {}), "no branches"),
        (lambda: Flow("flow").parallel("both", {"a": Part()}), "'a' has no nodes"),
        (lambda: Flow("flow").route("kind", None, {"a": double}), "select=None"),
        (lambda: Flow("flow").child("one", double), "no workflow"),
        (lambda: Flow("flow").returns(3), "result=3"),
    ],
)
def test_a_flow_that_makes_no_sense_is_refused_where_it_is_written(build, told):
    with pytest.raises(InvalidOptionError, match=told):
        build()


def test_building_changes_nothing_that_was_built():
    base = Flow("flow").step("one", double)
    base.step("two", double)
    assert [node.name for node in base.nodes] == ["one"]


def test_it_takes_every_option_of_a_workflow():
    week, one, rate = timedelta(days=7), Limit(1, key=lambda input: input["tenant"]), Rate(5, per=60)
    options = {"key_scope": "shop", "key_retention": week, "retention": week, "concurrency": one, "rate": rate}
    definition = Flow("kept", **options).step("one", lambda data: None).register()

    assert definition.limits == (one, rate)
    assert definition.retention.after("completed") == week
    assert (definition.key_scope, definition.key_retention_seconds) == ("shop", week.total_seconds())
    assert {each.key for each in definition.wanted(({"tenant": "acme"},), {})} == {"acme", ""}
    ours = {each.name for each in fields(Flow)} - {"nodes", "result"}
    assert ours == set(signature(workflow).parameters) - {"on_change"}  # which a flow has always by name
