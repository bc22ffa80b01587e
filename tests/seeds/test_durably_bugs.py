"""Bugs that were found in coji/durably, each with the proof that we do not have it.

The numbers are those of the table in README.md beside this file.
"""

import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import transaction

from django_durable import (
    BatchRefusedError,
    CodecError,
    ExecutionConflict,
    ExecutionFailedError,
    Limit,
    Retry,
    client,
    current_step,
    dispatch,
    on_event,
    registry,
    step,
    workflow,
)
from django_durable.clock import DatabaseNow
from django_durable.engine import chores, claims, worker
from django_durable.engine.advance import advance
from django_durable.engine.tick import tick
from django_durable.models import AuditEntry, Execution, Step, Timer
from tests.authoring import Deployed, Killed, no_op, rows
from tests.concurrency.together import Gate, in_background, together

HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Answer:
    by: str
    at: datetime


def row(run):
    return Execution.objects.get(pk=run.id)


def history(run):
    return list(Step.objects.history(run.id))


# -- failures and deaths -------------------------------------------------------------------------------


def test_c01_one_error_does_not_end_a_run_that_may_try_again(durable):
    """There were no retries at all: the first error was the last."""

    @step(retry=Retry(max_attempts=3, initial_seconds=60))
    def flaky():
        if current_step().attempt < 3:
            raise OSError("busy")
        return "done"

    @workflow("flow")
    def flow(ctx):
        return ctx.step(flaky)

    run = flow.start()
    durable.advance(HOUR)
    assert client.result(run) == "done"


def test_c02_fifty_deaths_are_not_fifty_runs(durable):
    """An execution that kills its worker was leased again each time, without an end."""
    ran = []

    @workflow("flow")
    def flow(ctx):
        ctx.step("kill", kill)

    def kill():
        ran.append(1)
        raise Killed

    run = flow.start()
    for _ in range(50):
        with contextlib.suppress(Killed):
            durable.run_until_idle()
        durable.clock.advance(timedelta(seconds=31))
    assert len(ran) == 10
    assert row(run).stuck_reason == "poison"


def test_c04_a_worker_with_older_code_leaves_the_newer_version_alone(durable):
    """A run of a job that the worker at hand did not know was failed, so a rolling deploy lost work."""

    def define(version):
        @workflow("orders", version=version)
        def orders(ctx):
            return f"version {version}"

        return orders

    with registry.isolated():
        newer = define(2).start()
    older = define(1).start()
    assert durable.run(older) == "version 1"
    assert (row(newer).status, row(newer).finished_at) == ("pending", None)
    define(2)
    durable.advance(timedelta(seconds=5))
    assert client.result(newer) == "version 2"


# -- what a workflow sees ------------------------------------------------------------------------------


def test_c05_two_steps_of_one_name_are_two_steps(durable):
    """The second step of a name silently got the result of the first."""

    @workflow("flow")
    def flow(ctx):
        first, second = ctx.step("ask", str, 1), ctx.step("ask", str, 2)
        ctx.sleep(HOUR)
        return [first, second]

    run = flow.start()
    durable.advance(HOUR)
    assert client.result(run) == ["1", "2"]
    assert [checkpoint.name for checkpoint in history(run)] == ["ask", "ask#2", "sleep"]


def test_c06_the_first_run_sees_what_every_replay_sees(durable):
    """Nothing became null and a date a text, but only in replays: the first run still saw the originals."""
    given = [None, (1, 2), {3}, Answer("ada", datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)), timedelta(1)]
    seen = []

    @step
    def ask() -> list[Answer]:
        return given

    @workflow("flow")
    def flow(ctx):
        values = ctx.step(ask)
        seen.append([values, [type(value) for value in values], values is given])
        ctx.sleep(HOUR)

    flow.start()
    durable.advance(HOUR)
    assert seen == [[given, [type(value) for value in given], False]] * 2


def test_c07_positions_have_no_gaps_after_a_pause_and_a_death(durable):
    """The numbers of steps jumped whenever a run was resumed."""
    deaths = [Killed()]

    def die_once():
        if deaths:
            raise deaths.pop()

    @workflow("flow")
    def flow(ctx):
        ctx.step("a", no_op)
        ctx.sleep(60)
        ctx.note("between")
        ctx.step("b", die_once)
        ctx.wait_for_signal("go", timeout=60)
        ctx.step("c", no_op)

    run = flow.start()
    durable.run_until_idle()
    with pytest.raises(Killed):
        durable.advance(timedelta(seconds=60))
    durable.advance(HOUR)
    assert row(run).status == "completed"
    assert [checkpoint.position for checkpoint in history(run)] == list(range(6))


@pytest.mark.django_db(transaction=True)
def test_c08_a_cancelled_execution_keeps_its_key_until_its_step_has_ended(polling):
    """A cancellation gave the key away while the old step still ran, and two runs of one key overlapped."""
    gate, running = Gate(), []

    @workflow("flow")
    def flow(ctx):
        ctx.step("slow", slow)
        ctx.step("never", running.append, "never")

    def slow():
        running.append("slow")
        gate.pass_through()

    run = flow.using(key="one").start()
    with in_background(lambda: worker.drain("default", using="default")):
        assert gate.entered.wait(20)
        client.cancel(run)
        assert (row(run).status, row(run).finished_at) == ("cancelling", None)
        assert flow.using(key="one").start().id == run.id
        assert worker.advance_one(run.id, using="default") is False
        gate.opened.set()
    worker.drain("default", using="default")
    assert (row(run).status, running) == ("cancelled", ["slow"])


def test_c03_a_dead_run_goes_on_when_another_of_its_concurrency_key_waits(durable):
    """A run whose worker had died was failed for good, without an event, when another of its key was pending."""

    @workflow("flow", concurrency=Limit(1, key=lambda shop: shop))
    def flow(ctx, shop):
        ctx.wait_for_signal("go")
        return "done"

    dead, pending = flow.start("a"), flow.start("a")
    durable.run_until_idle()
    client.signal(dead, "go")
    assert claims.take(dead.id, using="default")  # and its worker dies

    durable.advance(timedelta(minutes=1))

    assert (client.result(dead), row(pending).status) == ("done", "waiting")


@pytest.mark.django_db(transaction=True)
def test_c08_a_cancelled_execution_keeps_its_slot_until_its_step_has_ended(polling):
    """A cancellation gave the concurrency key away while the old step ran, and two steps of one key overlapped."""
    gate, running = Gate(), []

    @workflow("flow", concurrency=Limit(1, key=lambda shop: shop))
    def flow(ctx, shop, body):
        ctx.step(body, {"slow": slow, "next": running.append}[body], *(["next"] if body == "next" else []))

    def slow():
        running.append("slow")
        gate.pass_through()

    run, following = flow.start("a", "slow"), flow.start("a", "next")
    with in_background(lambda: worker.advance_one(run.id, using="default")):
        assert gate.entered.wait(20)
        client.cancel(run)
        worker.drain("default", using="default")
        assert (row(following).status, running) == ("pending", ["slow"])
        gate.opened.set()
    worker.drain("default", using="default")
    assert (row(following).status, running) == ("completed", ["slow", "next"])


def test_c09_a_concurrency_key_holds_up_its_own_workflow_only(durable):
    """A concurrency key serialised across different jobs, while what may be pending was counted per job."""

    @workflow("one", concurrency=Limit(1, key=lambda shop: shop))
    def one(ctx, shop):
        ctx.wait_for_signal("go")

    @workflow("other", concurrency=Limit(1, key=lambda shop: shop))
    def other(ctx, shop):
        ctx.wait_for_signal("go")

    runs = [one.start("a"), one.start("a"), other.start("a")]
    durable.run_until_idle()

    assert [row(run).status for run in runs] == ["waiting", "pending", "waiting"]


# -- what others see -----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_c11_another_process_learns_of_the_end(polling):
    """Events stayed in the process that ran the job; who waited in another one saw an empty stream."""

    @workflow("flow")
    def flow(ctx):
        return ctx.wait_for_signal("go")

    run = flow.start()
    with in_background(lambda: client.result(run.id, timeout=20)) as told:
        worker.drain("default", using="default")
        client.signal(run, "go", "done")
        worker.drain("default", using="default")
    assert told == ["done"]


def test_c12_a_failed_execution_keeps_its_history(durable):
    """The steps and logs of a failed run were deleted as soon as it had failed, when they were wanted most."""

    @workflow("flow")
    def flow(ctx):
        ctx.step("a", str, "kept")
        ctx.note("a note")
        ctx.step("b", boom)

    run = flow.start()
    with pytest.raises(ExecutionFailedError, match="out of order"):
        durable.run(run)
    records = client.inspect(run).history
    assert [(record.step_id, record.status) for record in records] == [
        ("a", "completed"),
        ("note", "completed"),
        ("b", "failed"),
    ]
    assert records[0].result == "kept"
    assert "out of order" in str(records[2].error)


def boom():
    raise ValueError("out of order")


def test_c13_a_key_compares_the_input_after_a_failure_too(durable):
    """A key was good for ever, whatever came of its run, and the input given with it was not even looked at."""
    flow = Deployed("flow", lambda ctx, number: boom()).workflow
    run = flow.using(key="one").start(1)
    with pytest.raises(ExecutionFailedError):
        durable.run(run)
    with pytest.raises(ExecutionConflict):
        flow.using(key="one").start(2)
    assert flow.using(key="one").start(1).id == run.id  # which the caller can see has failed
    assert Execution.objects.count() == 1


def test_c13_the_key_of_a_failed_run_may_start_a_new_one(durable):
    """What had failed once could never be started again under its key."""
    flow = Deployed("flow", lambda ctx, number: boom() if number == 1 else number).workflow
    run = flow.using(key="one").start(1)
    with pytest.raises(ExecutionFailedError):
        durable.run(run)
    again = flow.using(key="one", if_failed="new").start(2)
    assert (again.disposition, durable.run(again)) == ("new", 2)
    assert flow.using(key="one", if_failed="new").start(2).id == again.id  # it had success


@pytest.mark.parametrize("hours", [-2, 2], ids=["behind", "ahead"])
@pytest.mark.django_db(transaction=True)
def test_c14_a_lease_is_not_judged_by_the_clock_of_a_worker(polling, hours):
    """Leases were written by the clocks of the workers, so one that was ahead took what another one still had."""
    run = Deployed("flow", no_op).workflow.start()
    with time_machine.travel(datetime.now(UTC) - timedelta(hours=hours), tick=True):
        assert claims.take(run.id, using="default") is not None
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True):
        assert claims.take(run.id, using="default") is None
        assert worker.drain("default", using="default") == 0


def test_c15_an_ended_lease_is_taken_by_a_worker_that_is_never_idle(durable):
    """Leases were looked after only by a worker with nothing to do; a busy one never did."""
    ran = []

    @workflow("flow")
    def flow(ctx, name):
        ran.append(name)
        if name != "lost" and len(ran) < 20:
            flow.start(f"more {len(ran)}")  # there is always something else to do

    lost = flow.start("lost")
    assert claims.take(lost.id, using="default") is not None
    flow.start("first")
    durable.clock.advance(timedelta(seconds=31))
    durable.run_until_idle()
    assert "lost" in ran[:3]


def test_c15_old_rows_go_while_there_is_always_work(transactional_db, polling, monkeypatch):
    """Old rows were deleted by a worker with nothing to do, a hundred a minute."""

    @workflow("flow", retention=timedelta(0))
    def flow(ctx): ...

    monkeypatch.setattr(chores, "_next_look", {})
    for _ in range(150):
        client.terminate(flow.start())
    busy = [flow.start() for _ in range(20)]
    tick(using="default")
    assert set(Execution.objects.values_list("pk", flat=True)) == {run.id for run in busy}


def test_c16_progress_of_a_worker_that_lost_its_lease_is_not_written(durable):
    """Progress was written by nobody's leave, and its failure surfaced somewhere else, unhandled."""

    @workflow("flow")
    def flow(ctx):
        ctx.progress(1, 2, "late")

    run = flow.start()
    zombie = claims.take(run.id, using="default")
    Timer.objects.update(due_at=DatabaseNow())
    assert claims.take(run.id, using="default") is not None
    advance(zombie)
    assert (row(run).progress_current, row(run).finished_at) == (None, None)


def test_c17_a_dict_is_an_input_whatever_its_keys_are(durable):
    """An input with a key of a certain name was taken for input and options in one."""
    given = {"input": 1, "options": {"key": "x"}, "args": [], "kwargs": {}}

    @workflow("flow")
    def flow(ctx, data):
        return ctx.step("echo", lambda data: data, data)

    run = flow.start(given)
    assert durable.run(run) == given
    assert row(run).key is None


def test_c17_a_batch_does_not_guess_what_an_input_is(durable):
    """In a batch an item with a key `input` was taken apart: the input inside, options beside it."""
    given = {"input": 1, "options": {"key": "x"}}
    flow = Deployed("flow", lambda ctx, data: data).workflow
    with pytest.raises(BatchRefusedError, match="at position 0: This is a dict"):
        client.start_many([given])
    (outcome,) = client.start_many([flow.prepare(given)])
    assert durable.run(outcome.execution) == given
    assert row(outcome.execution).key is None


def test_c18_input_is_refused_before_anything_is_written(durable):
    """The shape of an input was looked at once, or not at all when it mattered: at the run."""

    @workflow("flow")
    def flow(ctx, number, *, fast=False): ...

    before = rows()
    for args, kwargs in [((), {}), ((1, 2), {}), ((1,), {"slow": True}), ((object(),), {})]:
        with pytest.raises((TypeError, CodecError)):
            flow.start(*args, **kwargs)
    assert rows() == before


def test_c18_a_result_that_cannot_be_stored_undoes_what_was_done(durable):
    """The result was checked when all had been done already, and what was done stayed."""
    undone = []

    @workflow("flow")
    def flow(ctx):
        ctx.step("book", str, "seat", compensate=undone.append)
        return object()

    run = flow.start()
    with pytest.raises(ExecutionFailedError, match="CodecError"):
        durable.run(run)
    assert (undone, row(run).compensated) == (["seat"], True)


@pytest.mark.django_db(transaction=True)
def test_c20_claimers_neither_block_nor_fail_each_other(polling):
    """A claim piled up locks by small hashes of keys, so claimers of other work waited, or caught each other."""

    @workflow("flow")
    def flow(ctx): ...

    runs = [flow.using(key=f"key {number}").start() for number in range(40)]
    outcomes = together(*[lambda: worker.drain("default", using="default", seconds=20)] * 4)
    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
    while Timer.objects.exists():  # a worker of SQLite may see others win every one of its tries, and stop early
        outcomes.append(worker.drain("default", using="default"))
        assert outcomes[-1]
    assert sum(outcomes) == len(runs)
    assert set(Execution.objects.values_list("status", flat=True)) == {"completed"}


@pytest.mark.django_db(transaction=True)
def test_c21_news_is_committed_with_what_it_tells(polling, monkeypatch):
    """Events were sent after the write, so a death in between lost them for good."""

    @workflow("child")
    def child(ctx):
        return "grown up"

    @workflow("parent")
    def parent(ctx):
        return ctx.call(child)

    run = parent.start()
    worker.advance_one(run.id, using="default")
    (young,) = client.find(workflow="child")

    def die(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as deadly:
        deadly.setattr(dispatch.get_dispatcher(), "wake", die, raising=False)
        deadly.setattr(dispatch.get_dispatcher(), "drain", die, raising=False)
        with contextlib.suppress(Killed):
            worker.advance_one(young.id, using="default")
    assert row(young).status == "completed"
    worker.drain("default", using="default")
    assert client.result(run, timeout=0) == "grown up"


@pytest.mark.django_db(transaction=True)
def test_c21_an_event_is_committed_with_its_checkpoint(polling):
    """The same for events of the workflow itself: the row was there, the event not, or told twice."""
    heard, deaths = [], [Killed()]

    def die_once():
        if deaths:
            raise deaths.pop()

    def code(ctx):
        ctx.emit("shipped", 7)
        ctx.step("die", die_once)  # once the event is recorded, before anybody could hear of it
        return "done"

    on_event("shipped", name="hear")(lambda event: heard.append(event.payload))
    run = Deployed("flow", code).workflow.start()
    with pytest.raises(Killed):
        worker.advance_one(run.id, using="default")
    Timer.objects.filter(pk=run.id).update(due_at=DatabaseNow())
    worker.drain("default", using="default")
    assert (client.result(run, timeout=0), heard) == ("done", [7])


@pytest.mark.django_db(transaction=True)
def test_c21_what_is_rolled_back_is_not_told(polling):
    """The other half of it: an event of a change that was never committed."""

    @workflow("flow")
    def flow(ctx): ...

    run = flow.start()
    with contextlib.suppress(OSError), transaction.atomic():
        client.terminate(run)
        raise OSError
    assert (row(run).status, AuditEntry.objects.count()) == ("pending", 0)


def test_c22_branches_side_by_side_may_wait_and_sleep(durable):
    """Waits were forbidden in parallel parts, and there was no sleep at all."""

    def slow(ctx):
        ctx.sleep(HOUR)
        return ctx.step("slow", str, "slept")

    @workflow("flow")
    def flow(ctx):
        return ctx.parallel({"signal": lambda ctx: ctx.wait_for_signal("go"), "sleep": slow})

    run = flow.start()
    durable.run_until_idle()
    durable.signal(run, "go", "heard")
    durable.advance(HOUR)
    assert client.result(run) == {"signal": "heard", "sleep": "slept"}
