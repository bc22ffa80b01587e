"""Bugs that were found by reading Strav's durable package, each with the proof that we do not have it.

The numbers are those of the table in README.md beside this file.
"""

import contextlib
import threading
import uuid
from datetime import UTC, datetime, timedelta

import pytest
import time_machine
from django.db import IntegrityError, connection, transaction

from django_durable import (
    ExecutionFailedError,
    InvalidOptionError,
    Retry,
    StepTimedOut,
    client,
    current_step,
    dispatch,
    registry,
    step,
    workflow,
)
from django_durable.clock import DatabaseNow
from django_durable.engine import worker
from django_durable.engine.tick import tick
from django_durable.models import AuditEntry, Execution, Step, Timer
from django_durable.testing.faults import LyingDispatcher
from tests.authoring import Deployed, Killed, no_op, rows
from tests.concurrency.together import Gate, in_background

HOUR = timedelta(hours=1)
LYING = "django_durable.testing.faults.LyingDispatcher"


def row(run):
    return Execution.objects.get(pk=run.id)


def names(run):
    return [checkpoint.name for checkpoint in Step.objects.history(run.id)]


def lease_ends(run):
    """As if the worker that had it were gone for longer than its lease."""
    Timer.objects.filter(pk=run.id).update(due_at=DatabaseNow())


# -- transactions and messages -------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_d01_no_transaction_and_no_lock_is_held_while_a_step_runs(polling):
    """A handler ran inside a transaction with a lock on its run, so a signal waited for as long as the step took."""
    gate, inside = Gate(), []

    def slow():
        inside.append(connection.in_atomic_block)
        gate.pass_through()

    @workflow("flow")
    def flow(ctx):
        ctx.step("slow", slow)
        return ctx.wait_for_signal("go")

    run = flow.start()
    with in_background(lambda: worker.drain("default", using="default")):
        assert gate.entered.wait(20)
        assert client.signal(run, "go", "while it runs")  # would wait for the gate, which is opened after it
        gate.opened.set()
    worker.drain("default", using="default")
    assert (client.result(run, timeout=0), inside) == ("while it runs", [False])


@pytest.mark.django_db(transaction=True)
def test_d02_a_worker_hears_of_a_start_after_its_commit_only(settings):
    """The job could be taken before the run was committed: not found, given up, and the run pending for ever."""
    settings.DURABLE = {"DISPATCHER": LYING}
    LyingDispatcher.clear()
    flow = Deployed("flow", lambda ctx: "done").workflow
    with transaction.atomic():
        run = flow.start()
        assert LyingDispatcher.hints == []
    assert [about for _, about, _ in LyingDispatcher.take()] == [run.id]
    with contextlib.suppress(OSError), transaction.atomic():
        flow.start()
        raise OSError
    assert (LyingDispatcher.hints, Execution.objects.count()) == ([], 1)
    assert worker.advance_one(uuid.uuid4(), using="default") is False  # a message about nothing is harmless
    assert worker.advance_one(run.id, using="default")
    assert client.result(run, timeout=0) == "done"


@pytest.mark.django_db(transaction=True)
def test_d03_a_death_between_a_commit_and_its_message_orphans_nothing(polling, monkeypatch):
    """The next part of a run was announced after the commit, and a death in between left it running for ever."""

    def die(*args, **kwargs):
        raise Killed

    flow = Deployed("flow", lambda ctx: ctx.wait_for_signal("go")).workflow
    with monkeypatch.context() as deadly:
        deadly.setattr(dispatch.get_dispatcher(), "wake", die, raising=False)
        with contextlib.suppress(Killed):
            flow.start()
        (run,) = client.find(workflow="flow")
        worker.drain("default", using="default")
        with contextlib.suppress(Killed):
            client.signal(run, "go", "heard")
    assert tick(using="default") == ["default"]
    worker.drain("default", using="default")
    assert client.result(run, timeout=0) == "heard"


def test_d04_what_a_dead_worker_held_is_given_back_by_itself(durable):
    """Reserved jobs of a worker that had died were never released."""
    deaths = [Killed()]

    def die_once():
        if deaths:
            raise deaths.pop()
        return "done"

    run = Deployed("flow", lambda ctx: ctx.step("die", die_once)).workflow.start()
    with pytest.raises(Killed):
        durable.run_until_idle()
    assert durable.run_until_idle() == 0  # the lease still holds
    durable.clock.advance(timedelta(seconds=31))
    assert durable.run(run) == "done"


@pytest.mark.django_db
def test_d05_the_database_refuses_a_second_checkpoint_at_one_position(polling):
    """The unique index that was to be the last defence was made by the tests only, not by the package."""
    run = Deployed("flow", lambda ctx: ctx.step("a", no_op)).workflow.start()
    worker.drain("default", using="default")
    twin = Step.objects.get()
    twin.pk, twin._state.adding = uuid.uuid4(), True
    with pytest.raises(IntegrityError), transaction.atomic():
        twin.save(force_insert=True)
    assert row(run).status == "completed"


@pytest.mark.parametrize("where", ["in a step", "in the function"])
def test_d06_a_pass_too_many_while_it_undoes_begins_nothing_again(durable, where):
    """A doubled message ran the failed part once more; it succeeded, and the half undone run went on as if nothing."""
    failures, deaths, undone = [ValueError("no flight")], [Killed()], []

    def fails_once():
        if failures:
            raise failures.pop()

    def undo(booked):
        if deaths:
            raise deaths.pop()
        undone.append(booked)

    @workflow("trip")
    def trip(ctx):
        ctx.step("hotel", str, "hotel", compensate=undo)
        ctx.step("flight", fails_once) if where == "in a step" else fails_once()
        return "booked"

    run = trip.start()
    with pytest.raises(Killed):
        durable.run_until_idle()
    assert row(run).status == "compensating"
    durable.clock.advance(timedelta(seconds=31))
    durable.run_until_idle()
    assert worker.advance_one(run.id, using="default") is False
    assert (row(run).status, row(run).compensated, undone) == ("failed", True, ["hotel"])


# -- signals, time, order ------------------------------------------------------------------------------


def test_d07_a_signal_may_be_early_and_a_wait_may_end_without_one(durable):
    """A signal that nobody waited for at that moment was lost, and a wait could not time out."""

    @workflow("flow")
    def flow(ctx):
        return [ctx.wait_for_signal("go", timeout=HOUR), ctx.wait_for_signal("go", timeout=HOUR, default="late")]

    run = flow.start()
    assert client.signal(run, "go", "early") is True
    durable.advance(2 * HOUR)
    assert client.result(run) == ["early", "late"]


def test_d08_an_inserted_step_shifts_nothing(durable):
    """Progress was an index into a list, so a node put in front made live runs skip one and repeat another."""
    ran = []

    def old(ctx):
        ctx.step("charge", ran.append, "charge")
        ctx.wait_for_signal("go")
        ctx.step("ship", ran.append, "ship")

    def inserted(ctx):
        ctx.step("reserve", ran.append, "reserve")
        old(ctx)

    deployed = Deployed("flow", old)
    run = deployed.workflow.start()
    durable.run_until_idle()
    deployed.code = inserted
    durable.signal(run, "go")
    assert (row(run).stuck_reason, ran) == ("nondeterminism", ["charge"])
    deployed.code = old
    durable.advance(timedelta(minutes=2))
    assert (row(run).status, ran) == ("completed", ["charge", "ship"])


def test_d09_a_sleep_keeps_its_fraction_and_its_first_length(durable):
    """Sleeps lost their fractions, asked again for their length at each wake, and grew a new timer at each."""
    lengths = []

    def code(ctx):
        lengths.append(ctx.random().random())
        ctx.sleep(1.5 if len(lengths) == 1 else 100)

    run = Deployed("flow", code).workflow.start()
    durable.advance(timedelta(seconds=1.499))
    for _ in range(3):  # messages too many
        assert worker.advance_one(run.id, using="default") is False
    assert (row(run).status, Timer.objects.count()) == ("sleeping", 1)
    durable.advance(timedelta(seconds=0.001))
    assert (row(run).status, len(lengths)) == ("completed", 2)


@pytest.mark.parametrize("hours", [-2, 2], ids=["behind", "ahead"])
@pytest.mark.django_db(transaction=True)
def test_d09_a_sleep_goes_by_the_clock_of_the_database(polling, hours):
    """The end of a sleep was reckoned by the clock of whichever machine had begun it."""
    run = Deployed("flow", lambda ctx: ctx.sleep(60)).workflow.start()
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True):
        assert worker.drain("default", using="default") == 1
        assert worker.drain("default", using="default") == 0
    soon = DatabaseNow() + timedelta(seconds=60)
    assert list(Timer.objects.filter(due_at__gt=DatabaseNow(), due_at__lte=soon)) == [Timer(pk=run.id)]


# -- parts ---------------------------------------------------------------------------------------------


def test_d10_a_branch_that_is_tried_again_repeats_no_other(durable):
    """One record stood for all branches: when one failed, those that had finished ran again beside their old selves."""
    ran = []

    @step(retry=Retry(max_attempts=3, initial_seconds=60))
    def flaky():
        ran.append("flaky")
        if current_step().attempt < 3:
            raise OSError("busy")

    @workflow("flow")
    def flow(ctx):
        ctx.parallel({"good": lambda ctx: ctx.step("good", ran.append, "good"), "bad": lambda ctx: ctx.step(flaky)})

    run = flow.start()
    durable.advance(HOUR)
    assert row(run).status == "completed"
    assert sorted(ran) == ["flaky", "flaky", "flaky", "good"]


def test_d11_every_part_undoes_and_a_death_repeats_no_undoing(durable):
    """Branches, loops and children undid nothing; one transaction held all undoing, so a death began it anew."""
    undone, deaths = [], [Killed()]

    def undo(what):
        if what == "loop 0" and deaths:
            raise deaths.pop()
        undone.append(what)

    def book(ctx, what):
        ctx.step("book", str, what, compensate=undo)

    @workflow("child")
    def child(ctx):
        book(ctx, "child")
        ctx.sleep(HOUR)

    @workflow("flow")
    def flow(ctx):
        for number in range(2):
            book(ctx, f"loop {number}")
        ctx.switch("way", "a", {"a": lambda ctx: book(ctx, "switch")})
        ctx.gather(lambda ctx: book(ctx, "left"), lambda ctx: book(ctx, "right"))
        ctx.start_child(child)
        ctx.sleep(60)
        raise ValueError("no flight")

    run = flow.start()
    durable.run_until_idle()
    with pytest.raises(Killed):
        durable.advance(timedelta(seconds=60))
    assert undone == ["right", "left", "switch", "loop 1"]
    durable.clock.advance(timedelta(seconds=31))
    durable.run_until_idle()
    assert undone == ["right", "left", "switch", "loop 1", "loop 0", "child"]
    assert (row(run).status, row(run).compensated) == ("failed", True)


def test_d11_a_failed_undoing_is_not_a_success(durable):
    """An error of a compensator was logged and passed over, and the run looked cleanly undone."""

    def undo(_):
        raise OSError("line is down")

    @workflow("flow")
    def flow(ctx):
        ctx.step("book", no_op, compensate=undo)
        raise ValueError("no flight")

    run = flow.start()
    durable.run_until_idle()
    assert (row(run).status, row(run).stuck_reason, row(run).compensated) == ("stuck", "compensation", False)


def test_d12_each_turn_of_a_loop_has_attempts_and_a_record_of_its_own(durable):
    """Attempts were not counted from one again in the next turn, and each turn wrote all results once more."""
    attempts = []

    @step(retry=Retry(max_attempts=2, initial_seconds=60))
    def flaky(number):
        attempts.append((number, current_step().attempt))
        if current_step().attempt == 1:
            raise OSError("busy")
        return number * 1000

    @workflow("flow")
    def flow(ctx):
        return sum(ctx.step(flaky, number) for number in range(4))

    run = flow.start()
    durable.advance(HOUR)
    assert client.result(run) == 6000
    assert attempts == [(number, attempt) for number in range(4) for attempt in (1, 2)]
    sizes = {len(checkpoint.result) for checkpoint in Step.objects.history(run.id)}
    assert names(run) == ["flaky", "flaky#2", "flaky#3", "flaky#4"]
    assert max(sizes) - min(sizes) <= 4


@pytest.mark.django_db(transaction=True)
def test_d13_a_child_and_the_record_of_it_are_there_together(polling, monkeypatch):
    """A child was committed apart from its parent's record, so a failure in between left an orphan and a twin."""
    child = Deployed("child", lambda ctx: "grown up").workflow
    run = Deployed("parent", lambda ctx: ctx.call(child)).workflow.start()

    def die(execute, sql, params, many, context):
        if sql.startswith("INSERT") and "_step" in sql:
            raise Killed
        return execute(sql, params, many, context)

    with connection.execute_wrapper(die), pytest.raises(Killed):
        worker.advance_one(run.id, using="default")
    assert rows()["Execution"] == 1
    lease_ends(run)
    worker.advance_one(run.id, using="default")
    assert Timer.objects.get(pk=run.id).due_at is None  # nothing polls
    worker.drain("default", using="default")
    assert client.result(run, timeout=0) == "grown up"
    assert rows()["Execution"] == 2


def test_d14_code_that_is_missing_is_shown_and_taken_up_when_it_comes(durable):
    """Work for unknown code went to the dead letters, and its run stood there for ever without a word."""
    with registry.isolated():
        run = Deployed("flow", lambda ctx: "done").workflow.start()
    durable.advance(timedelta(minutes=3))
    found = durable.inspect(run)
    assert (found.status, found.stuck_reason) == ("stuck", "no_worker_for")
    assert found.waiting_for == "a worker with flow version 1"
    Deployed("flow", lambda ctx: "done")
    durable.advance(timedelta(minutes=2))
    assert client.result(run) == "done"


# -- what is kept --------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_d15_a_body_over_its_time_does_not_hold_the_workflow(polling):
    """A time-out aborted a signal that no handler ever got to see, and the work went on as the run's own."""
    go_on, ended = threading.Event(), threading.Event()

    def hang():
        go_on.wait(10)
        ended.set()
        return "late"

    @workflow("flow")
    def flow(ctx):
        try:
            ctx.step(step(name="hang", timeout=0.1)(hang))
        except StepTimedOut as late:
            return late.step_id

    run = flow.start()
    worker.drain("default", using="default")
    assert client.result(run, timeout=0) == "hang"
    go_on.set()
    assert ended.wait(10)
    assert Step.objects.get(execution_id=run.id).result is None


@pytest.mark.django_db(transaction=True)
def test_d15_a_body_can_ask_whether_its_time_is_up(polling):
    """A handler that was given up had no way to learn it, and worked on for nobody."""
    given_up, stopped = threading.Event(), []

    def hang():
        while not current_step().is_abandoned:
            given_up.wait(0.05)
        stopped.append(current_step().step_id)
        given_up.set()

    @workflow("flow")
    def flow(ctx):
        with contextlib.suppress(StepTimedOut):
            ctx.step(step(name="hang", timeout=0.1)(hang))

    run = flow.start()
    worker.drain("default", using="default")
    assert client.get(run).status == "completed"
    assert given_up.wait(10)
    assert stopped == ["hang"]


def test_d16_each_attempt_has_an_entry_with_the_class_of_its_error(durable, settings):
    """Of an attempt that failed before the last one nothing was left."""
    settings.DURABLE = {**settings.DURABLE, "AUDIT": "steps"}

    @step(retry=Retry(max_attempts=3, initial_seconds=60))
    def broken():
        raise [LookupError, OSError, KeyError][current_step().attempt - 1]

    run = Deployed("flow", lambda ctx: ctx.step(broken)).workflow.start()
    durable.advance(HOUR)
    entries = AuditEntry.objects.about(run.id).filter(kind__in=["step_retried", "step_failed"])
    assert [(entry.kind, entry.after["attempt"], entry.after["error_type"]) for entry in entries] == [
        ("step_retried", 1, "builtins.LookupError"),
        ("step_retried", 2, "builtins.OSError"),
        ("step_failed", 3, "builtins.KeyError"),
    ]


def test_d16_an_error_is_kept_with_its_class_place_and_attempts(durable):
    """Errors were kept as a line of text, without their class, their place or the number of the attempt."""

    @step(retry=Retry(max_attempts=2, initial_seconds=60))
    def broken():
        raise LookupError("no such card")

    run = Deployed("flow", lambda ctx: ctx.step(broken)).workflow.start()
    durable.advance(HOUR)
    with pytest.raises(ExecutionFailedError) as failed:
        client.result(run)
    assert (failed.value.type_name, row(run).error_type) == ("builtins.LookupError", "builtins.LookupError")
    (record,) = durable.inspect(run).history
    assert (record.status, record.attempts) == ("failed", 2)
    assert "LookupError" in str(record.error) and "no such card" in str(record.error)
    assert "test_strav_bugs.py" in failed.value.traceback_text


@pytest.mark.parametrize("name", ["charge#2", "parallel/left/charge", "rollback:charge", "__rollback"])
def test_d17_names_that_the_engine_makes_cannot_be_given(durable, name):
    """A node could have the very name that the journal gave to a turn of a loop, and took its result."""
    run = Deployed("flow", lambda ctx: ctx.step(name, no_op)).workflow.start()
    with pytest.raises(ExecutionFailedError, match=InvalidOptionError.__name__):
        durable.run(run)
    assert names(run) == []
