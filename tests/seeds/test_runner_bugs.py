"""Bugs that were reproduced in BlueLibs Runner's durable workflows, each with the proof that we do not have it.

The numbers are those of the table in README.md beside this file.
"""

import contextlib
import inspect
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from django_durable import (
    Case,
    ChildFailed,
    ExecutionCancelledError,
    ExecutionConflict,
    ExecutionFailedError,
    ExecutionTerminatedError,
    ExecutionTimedOutError,
    Interval,
    NonRetryable,
    Retry,
    client,
    current_step,
    on_event,
    registry,
    signals,
    step,
    workflow,
)
from django_durable.engine import claims, holders, retention, worker
from django_durable.engine.schedules.firing import fire_due
from django_durable.engine.tick import tick
from django_durable.models import AuditEntry, Execution, ScheduleTick, Signal, Step, Timer
from django_durable.testing.faults import LyingDispatcher
from tests.authoring import Deployed, Killed, no_op
from tests.seeds.conftest import heard

HOUR = timedelta(hours=1)
MOMENTS = pytest.mark.parametrize("moment", ["before", "after"])


def row(run):
    return Execution.objects.get(pk=run.id)


def history(run):
    return [checkpoint.name for checkpoint in Step.objects.history(run.id)]


@pytest.fixture
def waiter():
    """Waits for one signal and returns it."""

    @workflow("waiter")
    def waiter(ctx):
        return ctx.wait_for_signal("go")

    return waiter


# -- wake-ups ------------------------------------------------------------------------------------------


@MOMENTS
def test_b01_a_signal_while_the_worker_still_holds_the_lease_wakes_the_wait(durable, waiter, around_park, moment):
    """The waker met the lock of the attempt that was about to leave, gave up, and took the safety net with it."""
    run = waiter.start()
    around_park(run, moment, lambda: client.signal(run, "go", "in time"))
    assert durable.run(run) == "in time"


@MOMENTS
def test_b02_a_sleep_shorter_than_its_own_park_ends(durable, around_park, moment):
    """The timer stood before its checkpoint, so a poller could fire it when nothing slept yet, and throw it away."""

    @workflow("nap")
    def nap(ctx):
        ctx.sleep(0.001)
        return "awake"

    run = nap.start()

    def time_passes():
        durable.clock.advance(timedelta(seconds=1))  # within the lease
        tick(using="default")

    around_park(run, moment, time_passes)
    assert durable.run(run) == "awake"


@MOMENTS
def test_b03_a_child_that_ends_while_its_parent_parks_wakes_it(durable, waiter, around_park, moment):
    """The end of the child kicked a parent whose attempt had not let go of its lock, and the kick was dropped."""

    @workflow("parent")
    def parent(ctx):
        return ctx.call(waiter)

    run = parent.start()

    def child_ends():
        child = Execution.objects.get(workflow="waiter")
        client.signal(child, "go", "grown up")
        assert worker.advance_one(child.pk, using="default")

    around_park(run, moment, child_ends)
    assert durable.run(run) == "grown up"


def test_b04_the_tick_heals_a_lost_message_without_a_restart(durable, waiter, settings):
    """Only a recovery at boot, or by hand, found what no message pointed at any more."""
    settings.DURABLE = {**settings.DURABLE, "DISPATCHER": "django_durable.testing.faults.LyingDispatcher"}
    run = waiter.start()
    durable.run_until_idle()
    client.signal(run, "go", "heard")
    LyingDispatcher.clear()  # whatever was announced is lost
    tick(using="default")
    hints = [(what, about) for what, about, _ in LyingDispatcher.take()]
    assert hints == [("drain", "default")]
    worker.drain("default", using="default")
    assert client.result(run) == "heard"


def test_b05_a_new_worker_reads_nothing_of_those_that_wait(durable, waiter):
    """Each boot read every open execution and every timer into memory, and replayed all that waited for a signal."""
    for _ in range(30):
        waiter.start()
    durable.run_until_idle()
    with CaptureQueriesContext(connection) as captured:
        claims.release_dead(using="default", is_starting=True)
        tick(using="default")
        assert worker.drain("default", using="default") == 0
    assert len(captured) <= 8
    assert not any("durable_step" in query["sql"] for query in captured)


# -- branches and rollback -----------------------------------------------------------------------------


def test_b06_a_branch_that_waits_is_entered_again_without_asking_again(durable):
    """After a wait inside the branch the matchers were asked once more, and another branch ran as well."""
    asked, ran = [], []

    def small(number):
        asked.append(number)
        return len(asked) == 1  # would say no the second time

    def branch(name):
        def run(ctx):
            ctx.step(name, ran.append, name)
            ctx.sleep(HOUR)
            return name

        return run

    @workflow("flow")
    def flow(ctx):
        return ctx.switch("size", 1, [Case("small", small, branch("small"))], default=branch("large"))

    run = flow.start()
    durable.advance(2 * HOUR)
    assert (client.result(run), ran, asked) == ("small", ["small"], [1])


def test_b07_what_a_finished_branch_did_is_undone_after_a_replay(durable):
    """A branch that had ended was not walked again in a replay, so its compensations were forgotten."""
    undone = []

    @workflow("flow")
    def flow(ctx):
        ctx.step("outer", str, "outer", compensate=undone.append)
        ctx.switch("way", "in", {"in": lambda ctx: ctx.step("inner", str, "inner", compensate=undone.append)})
        ctx.sleep(HOUR)
        ctx.rollback()

    run = flow.start()
    durable.run_until_idle()
    assert undone == []
    durable.advance(HOUR)
    assert undone == ["inner", "outer"]
    assert row(run).status == "completed"


@pytest.mark.parametrize("handler", [lambda ctx: ctx.rollback(), no_op], ids=["rolls back", "does nothing"])
def test_b08_a_handler_around_a_wait_does_not_catch_the_wait(durable, handler):
    """Leaving the function in order to wait was an ordinary error there: the handler undid all, and it "completed"."""
    undone = []

    @workflow("flow")
    def flow(ctx):
        ctx.step("book", str, "seat", compensate=undone.append)
        try:
            return ctx.wait_for_signal("go")
        except Exception:
            handler(ctx)
            return "caught"

    run = flow.start()
    durable.run_until_idle()
    assert (row(run).status, undone) == ("waiting", [])
    durable.signal(run, "go", "went")
    assert (client.result(run), undone) == ("went", [])


def test_b09_no_error_is_judged_by_its_text(durable):
    """An error of the user whose text began like the engine's own left the execution running for ever."""

    @workflow("flow")
    def flow(ctx):
        ctx.step("book", no_op, compensate=no_op)
        raise ValueError("Compensation failed: but it is only a text")

    run = flow.start()
    with pytest.raises(ExecutionFailedError, match="only a text"):
        durable.run(run)
    assert (row(run).status, row(run).compensated) == ("failed", True)


def test_b10_code_in_another_order_is_noticed_before_anything_runs(durable):
    """Nothing compared the order of calls with the history, and one kind of call was not even checked for doubles."""
    ran = []

    def ask(ctx):
        ctx.step("first", ran.append, "first")
        ctx.wait_for_signal("go")

    def reordered(ctx):
        ctx.step("second", ran.append, "second")
        ask(ctx)

    deployed = Deployed("flow", ask)
    run = deployed.workflow.start()
    durable.run_until_idle()
    deployed.code = reordered
    durable.signal(run, "go")
    found = durable.inspect(run)
    assert (found.status, found.stuck_reason, ran) == ("stuck", "nondeterminism", ["first"])
    assert "'first'" in found.error and "'second'" in found.error


def test_b10_two_children_of_one_id_are_two_children(durable):
    """The second start under an id handed out the first child again."""

    @workflow("child")
    def child(ctx, number):
        return number

    @workflow("flow")
    def flow(ctx):
        return [ctx.call("pay", child, number) for number in (1, 2)]

    assert durable.run(flow.start()) == [1, 2]


def boom(ctx):
    raise ValueError("no flight")


@pytest.mark.parametrize("end", ["error", "cancel", "deadline"])
def test_b11_every_end_without_success_undoes(durable, end):
    """Only an explicit call undid anything; a plain error or a cancellation left all as it was, children too."""
    undone = []

    @workflow("child")
    def child(ctx):
        ctx.step("hotel", str, "hotel", compensate=undone.append)
        ctx.sleep(10 * HOUR)

    @workflow("flow", timeout=2 * HOUR if end == "deadline" else None)
    def flow(ctx):
        ctx.step("car", str, "car", compensate=undone.append)
        ctx.start_child(child)
        ctx.sleep(HOUR)
        if end == "error":
            raise ValueError("no flight")
        ctx.sleep(9 * HOUR)

    run = flow.start()
    durable.run_until_idle()
    if end == "cancel":
        client.cancel(run)
    durable.advance(3 * HOUR)
    assert row(run).status == {"error": "failed", "cancel": "cancelled", "deadline": "timed_out"}[end]
    assert sorted(undone) == ["car", "hotel"]


@pytest.fixture
def stuck(durable):
    """A parent and a child whose compensation has given up; ``mend()`` repairs what it needs."""

    class Stuck:
        is_broken = True

        def undo(self, booked):
            if self.is_broken:
                raise OSError("line is down")

    stuck = Stuck()

    @workflow("child")
    def child(ctx):
        ctx.step("car", str, "car", compensate=stuck.undo)
        raise ValueError("no flight")

    @workflow("parent")
    def parent(ctx):
        try:
            ctx.call(child)
        except ChildFailed as failed:
            return failed.status

    stuck.parent = parent.start()
    durable.run_until_idle()
    stuck.child = Execution.objects.get(workflow="child")
    assert (stuck.child.status, stuck.child.stuck_reason) == ("stuck", "compensation")
    return stuck


def test_b12_a_compensation_that_failed_is_told_to_everybody(durable, stuck, django_capture_on_commit_callbacks):
    """That end was written without a check, told nobody, and neither parent nor caller was woken."""
    with heard(signals.execution_closed) as told, django_capture_on_commit_callbacks(execute=True):
        client.skip_compensation(stuck.child, actor="ada", reason="gone")
        durable.run_until_idle()
    assert (stuck.child.id, "compensation_failed") in [(facts["execution_id"], facts["status"]) for facts in told]
    assert client.result(stuck.parent) == "compensation_failed"
    assert [entry.kind for entry in AuditEntry.objects.about(stuck.child.id)] == [
        "stuck_compensation",
        "compensation_skipped",
        "compensation_failed",
    ]
    with pytest.raises(ExecutionFailedError, match="no flight"):
        client.result(stuck.child)


def test_b13_a_retried_compensation_goes_on_by_itself(durable, stuck):
    """The operator's retry set a status, and nothing ran: somebody had to know and kick it."""
    stuck.is_broken = False
    client.retry_compensation(stuck.child)
    assert Timer.objects.due().filter(pk=stuck.child.id).exists()
    durable.run_until_idle()
    assert (row(stuck.child).status, row(stuck.child).compensated) == ("failed", True)
    assert client.result(stuck.parent) == "failed"


# -- what an operator does and sees --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "kind", "status", "raised"),
    [
        (client.terminate, "terminated", "terminated", ExecutionTerminatedError),
        (client.force_fail, "force_failed", "failed", ExecutionFailedError),
    ],
)
def test_b14_an_end_by_hand_is_complete_audited_and_wakes_the_parent(durable, waiter, verb, kind, status, raised):
    """An end that was forced had no time of its end, no author, and the parent waited on."""

    @workflow("parent")
    def parent(ctx):
        try:
            ctx.call(waiter)
        except ChildFailed as failed:
            return failed.status

    run = parent.start()
    durable.run_until_idle()
    child = Execution.objects.get(workflow="waiter")
    verb(child, actor="ada", reason="wrong order")
    assert row(child).finished_at is not None
    entry = AuditEntry.objects.about(child.id).get()
    assert (entry.kind, entry.actor, entry.reason) == (kind, "ada", "wrong order")
    assert durable.run(run) == status
    with pytest.raises(raised):
        client.result(child)


def test_b15_what_it_waits_for_is_shown_while_it_waits(durable):
    """The live position was lost at the very moment in which an execution began to wait."""

    @workflow("flow")
    def flow(ctx):
        ctx.sleep(HOUR)
        ctx.wait_for_signal("go", timeout=HOUR)

    begun = durable.clock.now()
    run = flow.start()
    durable.run_until_idle()
    found = durable.inspect(run)
    assert (found.status, found.waiting_for, found.waiting_until) == ("sleeping", "timer", begun + HOUR)
    durable.advance(HOUR)
    found = durable.inspect(run)
    assert (found.status, found.waiting_for, found.waiting_until) == ("waiting", "signal go", begun + 2 * HOUR)


def test_b16_whatever_cannot_go_on_is_found_as_stuck(durable, stuck, crash):
    """Only a failed compensation counted as stuck; a sleeper that had lost its timer was nowhere to be seen."""
    changed = Deployed("changed", lambda ctx: ctx.sleep(60))
    poisoned = Deployed("poisoned", no_op)
    with registry.isolated():
        unknown = Deployed("unknown", no_op).workflow.start()
    first = changed.workflow.start()
    durable.run_until_idle()
    assert list(Timer.objects.filter(pk=first.id)) != []  # a park and its timer are one write
    changed.code = lambda ctx: ctx.step("other", no_op)
    last = poisoned.workflow.start()
    for _ in range(10):
        crash(last)
    durable.advance(3 * timedelta(minutes=1))
    found = {run.id: run.stuck_reason for run in client.find(status="stuck")}
    assert found == {
        stuck.child.id: "compensation",
        unknown.id: "no_worker_for",
        first.id: "nondeterminism",
        last.id: "poison",
    }


def test_b17_a_cancelled_parent_takes_its_children_along(durable, waiter):
    """The children of a cancelled parent ran and slept on."""

    @workflow("middle")
    def middle(ctx):
        return ctx.call(waiter)

    @workflow("top")
    def top(ctx):
        return ctx.call(middle)

    run = top.start()
    durable.run_until_idle()
    client.cancel(run)
    with pytest.raises(ExecutionCancelledError):
        durable.run(run)
    assert set(Execution.objects.values_list("status", flat=True)) == {"cancelled"}


def test_b18_a_worker_without_the_workflow_does_not_fail_it(durable):
    """In a rolling deploy a worker that did not know the workflow yet ended the execution for good."""

    def define():
        @workflow("new.workflow")
        def new(ctx):
            return "done"

        return new

    with registry.isolated():
        run = define().start()
    durable.run_until_idle()  # the old worker comes first
    assert (row(run).status, row(run).finished_at) == ("pending", None)
    define()
    durable.advance(timedelta(seconds=5))
    assert client.result(run) == "done"


def test_b19_an_execution_that_kills_its_workers_is_set_aside(durable):
    """A death was no attempt, so one that kills its process was begun again at each boot, without an end."""
    attempts = []

    @workflow("deadly")
    def deadly(ctx):
        attempts.append(ctx.attempt)
        raise Killed

    run = deadly.start()
    for _ in range(30):
        with contextlib.suppress(Killed):
            durable.run_until_idle()
        durable.clock.advance(timedelta(seconds=31))
    assert attempts == list(range(1, 11))
    assert (row(run).status, row(run).stuck_reason) == ("stuck", "poison")


def test_b20_the_deadline_fires_while_it_sleeps(durable):
    """The limit of an execution was looked at only while an attempt ran, never while it slept."""

    @workflow("flow", timeout=60)
    def flow(ctx):
        ctx.sleep(HOUR)

    run = flow.start()
    durable.advance(timedelta(seconds=61))
    with pytest.raises(ExecutionTimedOutError):
        client.result(run)


@pytest.mark.django_db(transaction=True)
def test_b21_a_step_that_took_too_long_is_tried_again_and_its_late_answer_refused(polling):
    """A time-out ignored the retries, and the body that went on in the background was nobody's business."""
    go_on, ended, attempts = threading.Event(), threading.Event(), []

    @step(timeout=0.1, retry=Retry(max_attempts=3, initial_seconds=0))
    def slow():
        attempts.append(current_step().attempt)
        if len(attempts) < 3:
            go_on.wait(10)
            ended.set()
            return "late"
        return "in time"

    @workflow("flow")
    def flow(ctx):
        return ctx.step(slow)

    run = flow.start()
    worker.drain("default", using="default")
    go_on.set()
    assert ended.wait(10)
    assert (client.result(run, timeout=0), attempts) == ("in time", [1, 2, 3])
    assert Step.objects.get().attempts == 3


# -- keys, growth, truth -------------------------------------------------------------------------------


def test_b22_a_schedule_that_is_ensured_at_each_boot_still_fires(durable):
    """Each boot moved an interval schedule on by one interval, so that it never fired where deploys are frequent."""

    @workflow("flow")
    def flow(ctx):
        return None

    for _ in range(30):
        client.ensure_schedule(flow, id="hourly", interval=HOUR)
        durable.clock.advance(timedelta(minutes=10))
        fire_due(using="default")
    assert ScheduleTick.objects.count() == 5


def test_b23_a_schedule_that_is_ensured_stays_paused(durable):
    """To ensure a schedule took it out of the pause that an operator had ordered."""

    @workflow("flow")
    def flow(ctx):
        return None

    client.ensure_schedule(flow, id="hourly", interval=HOUR)
    client.pause_schedule("hourly", reason="month end")
    client.ensure_schedule(flow, id="hourly", interval=HOUR)
    client.ensure_schedule(flow, id="hourly", interval=2 * HOUR)
    durable.clock.advance(3 * HOUR)
    assert fire_due(using="default") == 0
    assert client.get_schedule("hourly").paused_reason == "month end"


def test_b24_a_start_for_later_is_listed_waited_for_and_cancelled(durable):
    """A start for later gave the id of a timer: to wait for it said "not found", and it could not be cancelled."""

    @workflow("flow")
    def flow(ctx, number):
        return number

    first, second = (client.schedule(flow, number, delay=HOUR) for number in (1, 2))
    assert set(client.find(workflow="flow", status="pending")) == {first, second}
    client.cancel(second)
    durable.advance(HOUR)
    assert client.result(first) == 1
    with pytest.raises(ExecutionCancelledError):
        client.result(second)


def test_b25_one_key_with_another_input_is_a_conflict(durable):
    """A second start with the key and other arguments silently got the old run."""

    @workflow("order")
    def order(ctx, number):
        return number

    first = order.using(key="order:1").start(1)
    assert order.using(key="order:1").start(1).id == first.id
    with pytest.raises(ExecutionConflict):
        order.using(key="order:1").start(2)
    assert Execution.objects.count() == 1


def test_b25_a_key_expires_if_it_is_told_to(durable):
    """A key was taken for ever, so keys that came round again could not be used."""

    @workflow("order", key_retention=timedelta(days=1))
    def order(ctx, number):
        return number

    first = order.using(key="order:1").start(1)
    assert durable.run(first) == 1
    durable.clock.advance(timedelta(days=1))
    assert durable.run(order.using(key="order:1").start(2)) == 2
    assert Execution.objects.filter(key="order:1").count() == 2


def test_b26_what_is_old_is_deleted_with_its_signals(durable):
    """Nothing was ever deleted, and the signals of an execution were kept without end."""

    @workflow("flow", retention=timedelta(days=30))
    def flow(ctx):
        return [ctx.wait_for_signal("go") for _ in range(20)]

    runs = [flow.start() for _ in range(2)]
    for number in range(20):
        client.signal(runs[0], "go", number)
    durable.run_until_idle()
    durable.clock.advance(timedelta(days=31))
    assert retention.prune(using="default").deleted == 1
    assert row(runs[1]).status == "waiting"
    assert (Signal.objects.count(), Step.objects.count()) == (0, 1)


def test_b27_priority_counts(durable):
    """A priority could be given, and nothing ever read it."""
    order = []

    @workflow("flow")
    def flow(ctx, name):
        order.append(name)

    for priority in ("low", "normal", "high"):
        flow.using(priority=priority).start(priority)
    durable.run_until_idle()
    assert order == ["high", "normal", "low"]


def test_b27_attempts_survive_the_worker_and_an_error_may_forbid_the_next(durable):
    """The count of attempts was kept in the process, and no error could say that another try is useless."""
    attempts = []

    @step(retry=Retry(max_attempts=5, initial_seconds=60, jitter=0))
    def flaky():
        attempts.append(current_step().attempt)
        if len(attempts) == 2:
            raise Killed
        raise NonRetryable("no such card") if len(attempts) == 4 else OSError("busy")

    @workflow("flow")
    def flow(ctx):
        ctx.step(flaky)

    run = flow.start()
    durable.run_until_idle()
    with pytest.raises(Killed):
        durable.advance(timedelta(seconds=60))
    durable.advance(HOUR)
    assert attempts == [1, 2, 2, 3]  # a death is no failure: that attempt is made again
    with pytest.raises(ExecutionFailedError, match="no such card"):
        client.result(run)


@pytest.mark.django_db(transaction=True)
def test_b28_a_change_whose_audit_entry_cannot_be_written_is_not_made(polling, waiter):
    """The trail was best effort: its errors were swallowed, and it was not in the transaction of the change."""
    run = waiter.start()
    worker.drain("default", using="default")

    def refuse(execute, sql, params, many, context):
        if "auditentry" in sql and "INSERT" in sql:
            raise DatabaseError("disk full")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(refuse), pytest.raises(DatabaseError, match="disk full"):
        client.terminate(run)
    assert row(run).status == "waiting"
    client.terminate(run)
    assert AuditEntry.objects.get().kind == "terminated"


def test_b28_a_receiver_that_fails_hears_of_the_event_again(durable):
    """An event was published by best effort: an error on the way was swallowed, and nobody ever heard of it."""
    heard = []

    @on_event("shipped")
    def hear(event):
        heard.append((event.id, event.payload))
        if len(heard) == 1:
            raise OSError("mail server is down")

    run = Deployed("flow", lambda ctx: ctx.emit("shipped", 7)).workflow.start()
    durable.advance(HOUR)
    assert row(run).status == "completed"
    assert [payload for _, payload in heard] == [7, 7]
    assert len({event_id for event_id, _ in heard}) == 1


def test_b29_deaths_are_counted_across_processes(durable, waiter, monkeypatch):
    """Each process counted the deliveries by itself, so two workers, or one restart, began from zero."""
    run = waiter.start()
    for process in range(10):
        monkeypatch.setattr(holders, "this_process", lambda process=process: f"machine-{process}:1:1")
        assert claims.take(run.id, using="default") is not None
        durable.clock.advance(timedelta(seconds=31))
    durable.run_until_idle()
    assert row(run).stuck_reason == "poison"


def test_b30_a_list_reads_what_it_shows(durable, waiter):
    """Queries for lists read every page of all executions, payloads included, into memory."""
    for _ in range(12):
        waiter.start()
    with CaptureQueriesContext(connection) as captured:
        page = list(client.find(workflow="waiter")[:5])
    (query,) = captured
    assert len(page) == 5
    assert "LIMIT 5" in query["sql"]
    assert {"input", "result", "error"} <= page[0].get_deferred_fields()


def test_b31_equal_signals_are_two_signals_as_the_docs_say(durable):
    """One text said that equal payloads in the queue are one, another that all are kept; readers could not know."""

    @workflow("flow")
    def flow(ctx):
        return [ctx.wait_for_signal("go") for _ in range(2)]

    run = flow.start()
    for _ in range(2):
        client.signal(run, "go", "same")
    assert Signal.objects.count() == 2
    assert durable.run(run) == ["same", "same"]
    assert "whether or not it waits" in inspect.getdoc(client.signal)


def test_b31_an_interval_is_counted_from_its_anchor_as_the_docs_say(durable):
    """The docs said that an interval begins at the last start; the code counted from the clock."""

    @workflow("flow")
    def flow(ctx):
        return None

    anchor = durable.clock.now() + timedelta(minutes=7)
    client.ensure_schedule(flow, id="hourly", interval=Interval(HOUR, anchor=anchor))
    durable.clock.move_to(anchor + 2 * HOUR + timedelta(minutes=20))
    fire_due(using="default")
    assert client.get_schedule("hourly").next_at == anchor + 3 * HOUR
    page = Path(__file__).parents[2] / "docs" / "schedules.md"
    assert "counted in UTC from an anchor, not from the last start" in page.read_text(encoding="utf-8")
