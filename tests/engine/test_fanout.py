"""A map over a workflow: one child for each item, counted down, awaited as a whole."""

from datetime import timedelta

import pytest

from django_durable import ChildFailed, client, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import fanout, worker
from django_durable.exceptions import ExecutionCancelledError, ExecutionFailedError
from django_durable.models import AuditEntry, Execution, FanOut, Step, Timer
from tests.authoring import Deployed, Killed, no_op

HOUR = timedelta(hours=1)


class Card:
    """What no codec knows."""


@pytest.fixture
def child():
    """A workflow whose code a test replaces; it waits for a signal and returns it."""
    return Deployed("child", lambda ctx, item: ctx.wait_for_signal("go"))


@pytest.fixture
def parent():
    return Deployed("parent", no_op)


def children_of(run):
    return Execution.objects.filter(parent=run.pk).order_by("pk")


def statuses(run):
    return list(children_of(run).values_list("status", flat=True))


def kinds(run):
    return [(each.kind, each.name, each.status) for each in Step.objects.history(run.pk)]


# -- starting and waiting ------------------------------------------------------------------------------


def test_a_map_gives_the_results_in_the_order_of_the_items(durable, child, parent):
    child.code = lambda ctx, hours: ctx.sleep(hours * HOUR) or hours * 10
    parent.code = lambda ctx: ctx.map(child.workflow, [3, 1, 2])
    run = parent.workflow.start()
    durable.run_until_idle()
    assert statuses(run) == ["sleeping"] * 3
    assert kinds(run) == [("map", "map", "completed"), ("join", "join:map", "waiting")]
    assert Execution.objects.get(pk=run.pk).waiting_for == "3 children of map"
    durable.advance(3 * HOUR)
    assert durable.run(run) == [30, 10, 20]
    assert not FanOut.objects.exists()
    assert set(children_of(run).values_list("depth", "on_parent_close")) == {(1, "cancel")}


def test_the_parent_is_woken_once_for_all(durable, child, parent):
    child.code = lambda ctx, item: item
    runs = []
    parent.code = lambda ctx: runs.append(1) or len(ctx.map(child.workflow, list(range(20))))
    run = parent.workflow.start()
    assert durable.run(run) == 20
    assert len(runs) == 2


def test_the_results_are_a_sequence_that_reads_pages(durable, child, parent, monkeypatch):
    monkeypatch.setattr(fanout, "_RESULTS_PAGE", 3)
    child.code = lambda ctx, item: [item]
    told = {}

    def code(ctx):
        found = ctx.map("all", child.workflow, list(range(8)))
        told.update(len=len(found), last=found[-1], part=found[2:5], all=list(found), repr=repr(found))
        found[0].append("mine")
        told["fresh"] = found[0]
        told["equal"] = found == [[item] for item in range(8)]
        with pytest.raises(IndexError):
            found[8]
        return ctx.step("sum", lambda values: sum(value for (value,) in values), found)

    parent.code = code
    assert durable.run(parent.workflow.start()) == 28
    assert told == {
        "len": 8,
        "last": [7],
        "part": [[2], [3], [4]],
        "all": [[item] for item in range(8)],
        "repr": "<results of 8 children>",
        "fresh": [0],
        "equal": True,
    }


def test_no_items_are_no_children(durable, child, parent):
    parent.code = lambda ctx: [list(ctx.map(child.workflow, [])), ctx.step("after", lambda: 1)]
    run = parent.workflow.start()
    assert durable.run(run) == [[], 1]
    assert kinds(run)[0] == ("map", "map", "completed")
    assert not children_of(run).exists()


def test_two_maps_and_one_in_a_branch_keep_apart(durable, child, parent):
    child.code = lambda ctx, item: item

    def code(ctx):
        first = list(ctx.map(child.workflow, [1, 2]))
        second = list(ctx.map(child.workflow, [3]))
        both = ctx.gather(
            lambda ctx: list(ctx.map(child.workflow, [4, 5])), lambda ctx: list(ctx.map(child.workflow, [6]))
        )
        return [first, second, both]

    parent.code = code
    run = parent.workflow.start()
    assert durable.run(run) == [[1, 2], [3], [[4, 5], [6]]]
    names = [name for kind, name, _ in kinds(run) if kind in ("map", "join")]
    assert names == [
        "map",
        "join:map",
        "map#2",
        "join:map#2",
        "gather/0/map",
        "gather/1/map",
        "gather/0/join:map",
        "gather/1/join:map",
    ]


def test_options_of_the_workflow_hold_for_every_child(durable, child, parent):
    with_options = child.workflow.using(priority="low", labels={"a": "b"}, timeout=HOUR, on_parent_close="abandon")
    parent.code = lambda ctx: len(ctx.map(with_options, [1, 2]))
    run = parent.workflow.start()
    durable.run_until_idle()
    assert {tuple(row.labels.items()) for row in children_of(run)} == {(("a", "b"),)}
    assert set(Timer.objects.filter(execution__parent=run.pk).values_list("priority", flat=True)) == {3}
    assert not children_of(run).filter(deadline_at=None).exists()


def test_a_plain_function_stays_a_branch(durable, parent):
    parent.code = lambda ctx: ctx.map(lambda ctx, item: ctx.step("same", lambda: item), [1, 2])
    run = parent.workflow.start()
    assert durable.run(run) == [1, 2]
    assert not children_of(run).exists()


def test_a_plain_function_may_be_settled_too(durable, parent):
    def code(ctx):
        settled = ctx.map(lambda ctx, item: 1 // item, [1, 0], settle=True)
        return [each.value if each.is_ok else type(each.error).__name__ for each in settled]

    parent.code = code
    assert durable.run(parent.workflow.start()) == [1, "ZeroDivisionError"]


# -- a limit -------------------------------------------------------------------------------------------


def test_a_limit_lets_the_next_begin_as_one_ends(durable, child, parent):
    runs = []
    parent.code = lambda ctx: runs.append(1) or list(ctx.map(child.workflow, list("abcde"), concurrency=2))
    run = parent.workflow.start()
    durable.run_until_idle()
    assert statuses(run) == ["waiting", "waiting", "pending", "pending", "pending"]
    for index in (1, 2, 0, 3, 4):
        assert Timer.objects.filter(execution__parent=run.pk, held=False).count() == min(
            2, Timer.objects.filter(execution__parent=run.pk).count()
        )
        durable.signal(children_of(run)[index], "go", index)
    assert durable.run(run) == [0, 1, 2, 3, 4]
    assert len(runs) == 2


def test_a_limit_above_the_number_of_items_is_none(durable, child, parent):
    parent.code = lambda ctx: list(ctx.map(child.workflow, [1, 2], concurrency=5))
    run = parent.workflow.start()
    durable.run_until_idle()
    assert statuses(run) == ["waiting", "waiting"]


@pytest.mark.parametrize("end", [client.cancel, client.terminate])
def test_one_that_ends_before_its_turn_hands_on_none(durable, child, parent, end):
    parent.code = lambda ctx: len(ctx.map(child.workflow, list("abcd"), concurrency=1, settle=True))
    run = parent.workflow.start()
    durable.run_until_idle()
    end(children_of(run)[1])
    durable.run_until_idle()
    assert statuses(run)[0] == "waiting"
    assert statuses(run)[2:] == ["pending", "pending"]
    durable.signal(children_of(run)[0], "go")
    assert statuses(run)[2:] == ["waiting", "pending"]
    for index in (2, 3):
        durable.signal(children_of(run)[index], "go")
    assert durable.run(run) == 4


# -- failures ------------------------------------------------------------------------------------------


def fails_for(bad):
    def code(ctx, item):
        if item == bad:
            raise ValueError(f"bad {item}")
        return ctx.wait_for_signal("go")

    return code


def caught(make):
    def code(ctx):
        try:
            return list(make(ctx))
        except ChildFailed as failed:
            return [failed.status, failed.message, str(failed.execution_id)]

    return code


def test_the_first_failure_calls_off_the_others_and_is_raised(durable, child, parent):
    child.code = fails_for(2)
    replays = []
    told = caught(lambda ctx: ctx.map(child.workflow, [1, 2, 3, 4], concurrency=2))
    parent.code = lambda ctx: [told(ctx), replays.append(1) or ctx.wait_for_signal("go")][0]
    run = parent.workflow.start()
    durable.run_until_idle()
    assert statuses(run) == ["cancelled", "failed", "cancelled", "cancelled"]
    durable.signal(run, "go")
    assert durable.run(run) == ["failed", "bad 2", str(children_of(run)[1].pk)]
    assert len(replays) == 2
    reasons = set(children_of(run).exclude(status="failed").values_list("cancel_reason", flat=True))
    assert len(reasons) == 1 and "a child beside it" in reasons.pop()
    assert AuditEntry.objects.filter(kind="cancel_requested").count() == 3


def test_the_failure_waits_for_the_clean_up_of_the_others(durable, child, parent):
    def code(ctx, item):
        if item == 2:
            raise ValueError("bad")
        try:
            ctx.wait_for_signal("go")
        finally:
            ctx.sleep(HOUR)

    child.code = code
    parent.code = caught(lambda ctx: ctx.map(child.workflow, [1, 2]))
    run = parent.workflow.start()
    durable.run_until_idle()
    assert Execution.objects.get(pk=run.pk).status == "waiting"
    assert kinds(run)[-1] == ("join", "join:map", "waiting")
    durable.advance(HOUR)
    assert durable.run(run)[:2] == ["failed", "bad"]


@pytest.mark.parametrize(
    ("policy", "end", "others"), [("abandon", "completed", "waiting"), ("wait", "waiting", "waiting")]
)
def test_a_failure_treats_the_others_as_their_policy_says(durable, child, parent, policy, end, others):
    child.code = fails_for(1)
    parent.code = caught(lambda ctx: ctx.map(child.workflow.using(on_parent_close=policy), [1, 2, 3]))
    run = parent.workflow.start()
    durable.run_until_idle()
    assert Execution.objects.get(pk=run.pk).status == end
    assert statuses(run) == ["failed", others, others]
    for each in children_of(run)[1:]:
        durable.signal(each, "go")
    assert durable.run(run)[:2] == ["failed", "bad 1"]


def test_those_that_were_abandoned_still_take_turns(durable, child, parent):
    child.code = fails_for(1)
    parent.code = caught(lambda ctx: ctx.map(child.workflow.using(on_parent_close="abandon"), [1, 2, 3], concurrency=1))
    run = parent.workflow.start()
    assert durable.run(run)[0] == "failed"
    Execution.objects.filter(pk=run.pk).delete()
    two, three = Execution.objects.filter(workflow="child").exclude(status="failed").order_by("pk")
    durable.signal(two, "go")
    durable.signal(three, "go")
    assert not FanOut.objects.exists()
    assert not Timer.objects.exists()


def test_settled_results_tell_of_each_child(durable, child, parent):
    child.code = lambda ctx, item: 1 // item

    def code(ctx):
        settled = ctx.map(child.workflow, [1, 0, -1], settle=True)
        return [each.value if each.is_ok else each.error.message for each in settled]

    parent.code = code
    run = parent.workflow.start()
    assert durable.run(run) == [1, "integer division or modulo by zero", -1]
    assert statuses(run) == ["completed", "failed", "completed"]


@pytest.mark.parametrize("end", ["cancel", "terminate", "timeout"])
def test_every_other_end_of_a_child_is_a_failure(durable, child, parent, end):
    parent.code = caught(lambda ctx: ctx.map(child.workflow.using(timeout=HOUR), [1, 2]))
    run = parent.workflow.start()
    durable.run_until_idle()
    ends = {
        "cancel": lambda: client.cancel(children_of(run)[1]),
        "terminate": lambda: client.terminate(children_of(run)[1]),
        "timeout": lambda: durable.advance(HOUR),
    }
    ends[end]()
    status = {"cancel": "cancelled", "terminate": "terminated", "timeout": "timed_out"}[end]
    assert durable.run(run)[0] == status


# -- the end of the parent -----------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [None, 2])
def test_a_cancelled_parent_takes_them_along(durable, child, parent, limit, monkeypatch):
    monkeypatch.setattr("django_durable.engine.children.PAGE", 3)
    parent.code = lambda ctx: ctx.map(child.workflow, list(range(8)), concurrency=limit)
    run = parent.workflow.start()
    durable.run_until_idle()
    client.cancel(run)
    with pytest.raises(ExecutionCancelledError):
        durable.run(run)
    assert set(statuses(run)) == {"cancelled"}
    assert not FanOut.objects.exists()


@pytest.mark.parametrize("limit", [None, 2])
def test_a_terminated_parent_takes_them_along(durable, child, parent, limit):
    parent.code = lambda ctx: ctx.map(child.workflow, list(range(5)), concurrency=limit)
    run = parent.workflow.start()
    durable.run_until_idle()
    client.terminate(run)
    durable.run_until_idle()
    assert set(statuses(run)) == {"cancelled"}


def test_a_parent_that_passes_its_deadline_while_it_waits_ends(durable, child, parent):
    parent.code = lambda ctx: ctx.map(child.workflow, [1, 2])
    run = parent.workflow.using(timeout=HOUR).start()
    durable.run_until_idle()
    durable.advance(HOUR)
    assert Execution.objects.get(pk=run.pk).status == "timed_out"
    assert set(statuses(run)) == {"cancelled"}


# -- crashes and changed code --------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_parent_that_dies_after_the_start_finds_the_same_children(durable, child, parent, polling):
    def code(ctx):
        found = ctx.map(child.workflow, [1, 2])
        return list(found)

    died = []
    child.code = lambda ctx, item: item
    real = fanout._join

    def join(*args, **kwargs):
        if not died:
            died.append(1)
            raise Killed
        return real(*args, **kwargs)

    fanout._join = join
    try:
        parent.code = code
        run = parent.workflow.start()
        with pytest.raises(Killed):
            worker.advance_one(run.id, using="default")
        begun = list(children_of(run).values_list("pk", flat=True))
        Timer.objects.filter(pk=run.id).update(due_at=DatabaseNow())
        worker.drain("default", using="default")
    finally:
        fanout._join = real
    assert client.result(run) == [1, 2]
    assert list(children_of(run).values_list("pk", flat=True)) == begun


def test_other_items_are_a_mismatch(durable, child, parent):
    parent.code = lambda ctx: ctx.map(child.workflow, [1, 2])
    run = parent.workflow.start()
    durable.run_until_idle()
    parent.code = lambda ctx: ctx.map(child.workflow, [1, 2, 3])
    client.signal(run, "wake")
    durable.run_until_idle()
    row = Execution.objects.get(pk=run.pk)
    assert (row.status, row.stuck_reason) == ("stuck", "nondeterminism")
    assert "map 'map' over 2 items, the code asked for map 'map' over 3 items" in row.error


def test_a_count_that_was_deleted_makes_every_end_news(durable, child, parent):
    parent.code = lambda ctx: list(ctx.map(child.workflow, [1, 2]))
    run = parent.workflow.start()
    durable.run_until_idle()
    FanOut.objects.all().delete()
    durable.signal(children_of(run)[0], "go", 1)
    assert Execution.objects.get(pk=run.pk).status == "waiting"
    durable.signal(children_of(run)[1], "go", 2)
    assert durable.run(run) == [1, 2]


def test_a_result_whose_row_was_deleted_is_told(durable, child, parent):
    child.code = lambda ctx, item: item

    def code(ctx):
        found = ctx.map(child.workflow, [1, 2])
        ctx.wait_for_signal("go")
        return found

    parent.code = code
    run = parent.workflow.start()
    durable.run_until_idle()
    children_of(run)[1].delete()
    durable.signal(run, "go")
    with pytest.raises(ExecutionFailedError, match="ended as deleted"):
        durable.run(run)


# -- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda ctx, one, none: ctx.map(one, [1, Card()]), "map 'map': item 1 is no argument for 'one': .*Card"),
        (lambda ctx, one, none: ctx.map(none, [1]), "item 0 is no argument for 'none': too many positional"),
        (lambda ctx, one, none: ctx.map(one.using(key="k"), [1]), "key= is one execution's"),
        (lambda ctx, one, none: ctx.map(one.using(delay=1), [1], concurrency=1), "not both"),
        (lambda ctx, one, none: ctx.map(one, [1], concurrency=0), "whole number from 1"),
        (lambda ctx, one, none: ctx.map(one, range(4)), "4 items, the limit is 3"),
        (lambda ctx, one, none: ctx.map(one), "takes 2 positional arguments"),
        (lambda ctx, one, none: ctx.map(one, 7), "not iterable"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(durable, parent, monkeypatch, make, message):
    @workflow("one")
    def one(ctx, item):
        pass

    @workflow("none")
    def none(ctx):
        pass

    monkeypatch.setattr(fanout, "MOST", 3)
    parent.code = lambda ctx: make(ctx, one, none)
    run = parent.workflow.start()
    with pytest.raises(ExecutionFailedError, match=message):
        durable.run(run)
    assert Execution.objects.count() == 1
    assert [step.status for step in Step.objects.history(run.id)] in ([], ["failed"])


def test_a_chain_without_end_is_refused(durable, monkeypatch):
    monkeypatch.setattr("django_durable.engine.children.DEEPEST", 2)
    endless = Deployed("endless", lambda ctx, item: ctx.map(endless.workflow, [item]))
    run = endless.workflow.start(1)
    with pytest.raises(ExecutionFailedError):
        durable.run(run)
    assert Execution.objects.count() == 3
