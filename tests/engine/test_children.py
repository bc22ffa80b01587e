"""Children: begun with their parent's record of it, awaited without polling, taken along when the parent ends."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_durable import ChildFailed, ChildNotEndedError, client, clock, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import children, transitions, worker
from django_durable.engine.claims import Claim
from django_durable.engine.outcomes import Park
from django_durable.exceptions import (
    CodecError,
    ExecutionCancelledError,
    ExecutionConflict,
    ExecutionFailedError,
    InvalidOptionError,
)
from django_durable.models import Execution, Status, Step, Timer
from tests.authoring import Deployed, Killed, no_op

HOUR = timedelta(hours=1)


@pytest.fixture
def child():
    """A workflow whose code a test replaces; it waits for a signal and returns it."""
    return Deployed("child", lambda ctx, *args: ctx.wait_for_signal("go"))


@pytest.fixture
def parent():
    return Deployed("parent", no_op)


def only_child():
    return Execution.objects.get(workflow="child")


def status_of(run):
    return Execution.objects.get(pk=run.pk).status


# -- starting and waiting ------------------------------------------------------------------------------


def test_a_call_gives_the_result_of_the_child(durable, child, parent):
    child.code = lambda ctx, number: ctx.step("double", lambda: 2 * number)
    parent.code = lambda ctx: ctx.call(child.workflow, 21) + 1
    run = parent.workflow.start()
    assert durable.run(run) == 43
    row = only_child()
    assert (row.parent_id, row.depth, row.on_parent_close) == (run.id, 1, "cancel")
    kinds = [(step.kind, step.name) for step in Step.objects.history(run.id)]
    assert kinds == [("child", "child:child"), ("join", "join:child:child")]


def test_children_run_beside_each_other(durable, child, parent):
    child.code = lambda ctx, hours: ctx.sleep(hours * HOUR) or hours

    def code(ctx):
        begun = [ctx.start_child(child.workflow, hours) for hours in (2, 1)]
        return [ctx.wait_for_execution(each) for each in begun]

    parent.code = code
    run = parent.workflow.start()
    durable.run_until_idle()
    assert Execution.objects.filter(workflow="child", status="sleeping").count() == 2
    durable.advance(2 * HOUR)
    assert durable.run(run) == [2, 1]


def test_a_parent_that_waits_is_woken_by_the_end_of_the_child(durable, child, parent):
    parent.code = lambda ctx: ctx.call(child.workflow)
    run = parent.workflow.start()
    durable.run_until_idle()
    row = Execution.objects.get(pk=run.id)
    assert (row.status, row.waiting_for) == ("waiting", f"child {only_child().pk}")
    assert Timer.objects.get(pk=run.id).due_at is None
    durable.signal(only_child(), "go", "done")
    assert durable.run(run) == "done"


def test_a_child_started_in_a_branch_is_awaited_outside(durable, child, parent):
    def code(ctx):
        begun = ctx.gather(lambda ctx: ctx.start_child("first", child.workflow))[0]
        return ctx.wait_for_execution(begun)

    parent.code = code
    run = parent.workflow.start()
    durable.run_until_idle()
    durable.signal(only_child(), "go", 7)
    assert durable.run(run) == 7


def test_a_wait_gives_up_and_the_child_goes_on(durable, child, parent):
    def code(ctx):
        begun = ctx.start_child(child.workflow)
        try:
            ctx.wait_for_execution(begun, timeout=HOUR)
        except ChildNotEndedError as late:
            ctx.note(str(late))
        return ctx.wait_for_execution(begun)

    parent.code = code
    run = parent.workflow.start()
    durable.run_until_idle()
    durable.advance(HOUR)
    durable.run_until_idle()
    assert status_of(run) == "waiting"
    durable.signal(only_child(), "go", "late")
    assert durable.run(run) == "late"


# -- a child that does not succeed ---------------------------------------------------------------------


def boom(ctx):
    ctx.wait_for_signal("go")
    raise ValueError("child failed")


ENDS = {
    "failed": lambda durable, run: durable.signal(run, "go"),
    "cancelled": lambda durable, run: client.cancel(run),
    "terminated": lambda durable, run: client.terminate(run),
    "timed_out": lambda durable, run: durable.advance(HOUR),
}


@pytest.mark.parametrize("status", ENDS)
def test_every_end_of_a_child_wakes_the_parent_and_is_told(durable, child, parent, status):
    child.code = boom

    def code(ctx):
        try:
            ctx.call(child.workflow.using(timeout=HOUR))
        except ChildFailed as error:
            return [error.status, error.message]

    parent.code = code
    run = parent.workflow.start()
    durable.run_until_idle()
    ENDS[status](durable, only_child())
    message = "child failed" if status == "failed" else ""
    assert durable.run(run) == [status, message]


def test_what_the_parent_does_not_catch_fails_it(durable, child, parent):
    child.code = boom
    parent.code = lambda ctx: ctx.call(child.workflow)
    run = parent.workflow.start()
    durable.run_until_idle()
    durable.signal(only_child(), "go")
    with pytest.raises(ExecutionFailedError, match=r"Child .* ended as failed: builtins.ValueError: child failed"):
        durable.run(run)


# -- the end of the parent -----------------------------------------------------------------------------


@pytest.mark.parametrize(("policy", "status"), [("cancel", "cancelled"), ("abandon", "waiting")])
def test_what_becomes_of_an_open_child_is_as_its_start_said(durable, child, parent, policy, status):
    parent.code = lambda ctx: ctx.start_child(child.workflow.using(on_parent_close=policy)) and None
    run = parent.workflow.start()
    durable.run_until_idle()
    assert status_of(run) == "completed"
    assert only_child().status == status


def test_a_parent_that_is_to_wait_ends_after_its_children(durable, child, parent):
    parent.code = lambda ctx: ctx.start_child(child.workflow.using(on_parent_close="wait")) and "early"
    run = parent.workflow.start()
    durable.run_until_idle()
    row = Execution.objects.get(pk=run.id)
    assert (row.status, row.waiting_for) == ("waiting", "1 children to end")
    durable.signal(only_child(), "go")
    assert durable.run(run) == "early"


@pytest.mark.parametrize("is_deadline", [False, True])
def test_a_parent_that_is_to_wait_asks_its_children_when_it_is_cancelled(durable, child, parent, is_deadline):
    def code(ctx):
        ctx.start_child(child.workflow.using(on_parent_close="wait"))
        ctx.sleep(2 * HOUR)

    parent.code = code
    run = parent.workflow.using(timeout=HOUR).start()
    durable.run_until_idle()
    if is_deadline:
        durable.advance(HOUR)
    else:
        client.cancel(run)
        durable.run_until_idle()
    assert only_child().status == "cancelled"
    assert status_of(run) == ("timed_out" if is_deadline else "cancelled")


def test_a_cancellation_reaches_the_grandchildren(durable, child, parent):
    middle = Deployed("middle", lambda ctx: ctx.call(child.workflow))
    parent.code = lambda ctx: ctx.call(middle.workflow)
    run = parent.workflow.start()
    durable.run_until_idle()
    client.cancel(run)
    with pytest.raises(ExecutionCancelledError):
        durable.run(run)
    durable.run_until_idle()
    assert set(Execution.objects.values_list("status", flat=True)) == {"cancelled"}


@pytest.mark.parametrize("policy", ["cancel", "wait"])
def test_terminate_cancels_the_children(durable, child, parent, policy):
    """Those that it was to wait for too: it waits no more."""
    parent.code = lambda ctx: ctx.call(child.workflow.using(on_parent_close=policy))
    run = parent.workflow.start()
    durable.run_until_idle()
    client.terminate(run)
    durable.run_until_idle()
    assert only_child().status == "cancelled"
    assert only_child().cancel_reason == f"its parent {run.id} has ended"


# -- crashes, replays, refusals ------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_parent_that_dies_after_the_start_finds_the_same_child(durable, child, parent, polling):
    def code(ctx):
        begun = ctx.start_child(child.workflow)
        ctx.step("after", body)
        return str(begun.id)

    def body():
        if not died:
            died.append(1)
            raise Killed

    died = []
    parent.code = code
    run = parent.workflow.start()
    with pytest.raises(Killed):
        worker.advance_one(run.id, using="default")
    Timer.objects.filter(pk=run.id).update(due_at=DatabaseNow())
    worker.advance_one(run.id, using="default")
    assert client.result(run) == str(only_child().pk)


def test_a_child_whose_row_is_gone_has_ended_as_deleted(durable, child, parent):
    def code(ctx):
        begun = ctx.start_child(child.workflow)
        ctx.wait_for_signal("go")
        try:
            ctx.wait_for_execution(begun)
        except ChildFailed as gone:
            return str(gone)

    parent.code = code
    run = parent.workflow.start()
    durable.run_until_idle()
    gone = only_child().pk
    client.terminate(gone)
    only_child().delete()
    durable.signal(run, "go")
    assert durable.run(run) == f"Child {gone} ended as deleted"


def test_a_chain_without_end_is_refused(durable, monkeypatch):
    monkeypatch.setattr(children, "DEEPEST", 3)
    endless = Deployed("endless", lambda ctx: ctx.call(endless.workflow))
    run = endless.workflow.start()
    with pytest.raises(ExecutionFailedError, match="Does a workflow start itself for ever"):
        durable.run(run)
    assert Execution.objects.count() == 4


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (lambda ctx, child: ctx.start_child(no_op), "give a workflow"),
        (lambda ctx, child: ctx.start_child("id"), "the second argument is the workflow"),
        (lambda ctx, child: ctx.call(child, 1, nobody=2), "unexpected keyword"),
        (lambda ctx, child: ctx.wait_for_execution("id"), "give what ctx.start_child returned"),
        (lambda ctx, child: ctx.start_child(child.using(key="taken")), "a child needs a key of its own"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(durable, child, parent, code, message):
    @workflow("strict")
    def strict(ctx, number):
        pass

    strict.using(key="taken").start(1)
    parent.code = lambda ctx: code(ctx, strict)
    if "key of its own" in message:
        parent.code = lambda ctx: ctx.start_child(strict.using(key="taken"), 1)
    with pytest.raises(ExecutionFailedError, match=message):
        durable.run(parent.workflow.start())
    assert Execution.objects.filter(workflow="strict").count() == 1


def test_an_unknown_policy_is_refused_at_the_call(child):
    with pytest.raises(ValueError, match="on_parent_close='stay': give 'cancel', 'abandon' or 'wait'"):
        child.workflow.using(on_parent_close="stay")


# -- what it costs -------------------------------------------------------------------------------------


def test_ends_that_nobody_awaits_wake_nobody(durable, child, parent):
    """Of children awaited one after the other, only the end of that one makes a pass."""
    passes = []

    def code(ctx):
        passes.append(1)
        begun = [ctx.start_child(child.workflow, number) for number in range(10)]
        return [ctx.wait_for_execution(each) for each in begun]

    parent.code = code
    run = parent.workflow.start()
    durable.run_until_idle()
    for each in reversed(Execution.objects.filter(parent=run.pk).order_by("pk")):
        durable.signal(each, "go", 1)
    assert durable.run(run) == [1] * 10
    assert len(passes) == 2


def test_a_parent_that_sleeps_is_not_woken(durable, child, parent):
    passes = []

    def code(ctx):
        passes.append(1)
        begun = ctx.start_child(child.workflow)
        ctx.sleep(HOUR)
        return ctx.wait_for_execution(begun)

    parent.code = code
    run = parent.workflow.start()
    durable.run_until_idle()
    durable.signal(only_child(), "go", 7)
    assert len(passes) == 1
    durable.advance(HOUR)
    assert durable.run(run) == 7
    assert len(passes) == 2


@pytest.mark.parametrize("number", [2, 20])
def test_a_pass_reads_the_children_that_it_awaits_at_once(durable, child, parent, number):
    parent.code = lambda ctx: ctx.gather(*[lambda ctx: ctx.call(child.workflow)] * number)
    run = parent.workflow.start()
    durable.run_until_idle()
    with CaptureQueriesContext(connection) as first:
        client.signal(run, "news")
        durable.run_until_idle()
    reads = [query["sql"] for query in first if query["sql"].startswith("SELECT") and "result" in query["sql"]]
    assert len([sql for sql in reads if "FROM django_durable_execution" in sql.replace('"', "").replace("`", "")]) == 1


def test_a_start_does_not_ask_for_the_depth_again(durable, child, parent):
    parent.code = lambda ctx: [ctx.start_child(child.workflow, number) for number in range(5)] and None
    parent.workflow.start()
    with CaptureQueriesContext(connection) as queries:
        durable.run_until_idle()
    plain = [query["sql"].replace('"', "").replace("`", "") for query in queries]
    assert not [sql for sql in plain if sql.startswith("SELECT django_durable_execution.depth AS depth FROM")]


@pytest.mark.parametrize(
    ("start", "error"),
    [
        (lambda ctx, child: ctx.start_child(child, 1, nobody=2), TypeError),
        (lambda ctx, child: ctx.start_child(child, object()), CodecError),
        (lambda ctx, child: ctx.start_child(child.using(queue="nowhere"), 1), InvalidOptionError),
        (lambda ctx, child: ctx.start_child(child.using(key="taken"), 1), ExecutionConflict),
        (lambda ctx, child: ctx.map(child, [object()]), InvalidOptionError),
    ],
)
def test_a_workflow_may_go_on_after_a_start_that_was_refused(durable, parent, start, error):
    """In every replay, also when there would be no reason to refuse it any more."""
    told = []

    @workflow("strict")
    def strict(ctx, number):
        pass

    def code(ctx):
        with pytest.raises(error) as refused:
            start(ctx, strict)
        told.append(str(refused.value))
        ctx.step("instead", no_op)
        ctx.sleep(HOUR)
        return "went on"

    parent.code = code
    taken = strict.using(key="taken").start(1)
    run = parent.workflow.start()
    durable.run_until_idle()
    Execution.objects.filter(pk=taken.id).delete()
    durable.advance(HOUR)
    assert client.result(run, timeout=0) == "went on"
    assert len(told) == 2
    assert told[0] == told[1]
    assert not Execution.objects.filter(workflow="strict").exists()


def test_items_may_come_from_calls_of_their_own(durable, child, parent):
    child.code = lambda ctx, number: number
    parent.code = lambda ctx: list(ctx.map(child.workflow, (ctx.step("item", int, text) for text in "12")))
    assert durable.run(parent.workflow.start()) == [1, 2]


def test_a_worker_that_has_lost_its_lease_stops_no_children(durable):
    @workflow("child.slow")
    def slow(ctx):
        ctx.sleep(60)

    @workflow("parent.waiting")
    def waiting(ctx):
        ctx.start_child(slow.using(on_parent_close="wait"))
        ctx.sleep(60)

    parent = client.get(waiting.start())
    durable.run_until_idle()
    lost = Claim(parent.id, "default", uuid4(), "default", 0, 1, 0, None, clock.now())
    park = Park(opens=(), until=None, status=Status.WAITING, waiting_for="", wake_seq=0, cancels_children=True)
    assert not transitions.park(lost, parent, park)
    assert Execution.objects.get(workflow="child.slow").cancel_requested_at is None
