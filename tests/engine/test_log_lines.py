"""What ctx.log has said is kept with the next checkpoint, each line once, as far as the settings ask for it."""

from __future__ import annotations

import logging
import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_durable import Retry, client, clock, step, workflow
from django_durable.engine import claims, log_lines, worker
from django_durable.engine.advance import advance
from django_durable.models import LONGEST_MESSAGE, LogLine, Timer
from tests.authoring import NO_BROKER, Deployed, Killed, no_op


@pytest.fixture(autouse=True)
def kept(settings):
    settings.DURABLE = {**NO_BROKER, "LOG_LEVEL": "INFO"}


def said(execution):
    return [line.message for line in client.logs(execution)]


def test_each_line_is_kept_once_and_in_order(durable):
    def code(ctx):
        ctx.log.info("before the step")
        ctx.step(no_op)
        ctx.log.warning("before the %s", "sleep")
        ctx.sleep(60)
        ctx.log.info("after it")

    execution = Deployed("flow", code).workflow.start()
    durable.run_until_idle()
    assert said(execution) == ["before the step", "before the sleep"]
    durable.advance(timedelta(minutes=5))
    assert said(execution) == ["before the step", "before the sleep", "after it"]
    assert [line.level_name for line in client.logs(execution)] == ["INFO", "WARNING", "INFO"]
    assert [line.number for line in client.logs(execution)] == [0, 1, 2]


@pytest.mark.parametrize("setting", [None, "WARNING"])
def test_less_than_the_level_is_not_kept_and_costs_nothing(durable, settings, setting):
    settings.DURABLE = {**NO_BROKER, "LOG_LEVEL": setting}

    def code(ctx, talks):
        if talks:
            ctx.log.info("too quiet")
        ctx.step(no_op)

    def cost(talks):
        execution = Deployed("flow", code).workflow.start(talks)
        with CaptureQueriesContext(connection) as queries:
            worker.advance_one(execution.id, using="default")
        return len(queries)

    cost(False)
    assert cost(True) == cost(False)
    assert not LogLine.objects.exists()


def test_it_is_kept_whatever_the_handlers_are_told(durable, caplog):
    with caplog.at_level(logging.ERROR, "django_durable.workflow"):
        execution = Deployed("flow", lambda ctx: ctx.log.info("kept")).workflow.start()
        durable.run(execution)
    assert said(execution) == ["kept"]
    assert not [record for record in caplog.records if record.name == "django_durable.workflow"]


def test_a_batch_of_lines_is_two_statements_the_first_time_and_one_later(durable):
    def code(ctx, lines):
        for _ in range(2):
            for number in range(lines):
                ctx.log.info(number)
            ctx.step(no_op)

    def cost(lines):
        execution = Deployed("flow", code).workflow.start(lines)
        with CaptureQueriesContext(connection) as queries:
            worker.advance_one(execution.id, using="default")
        return len([query for query in queries if "logline" in query["sql"]])

    assert cost(0) == 0
    # Under a test's own transaction lines are offered again, so no more than an upper bound holds.
    assert cost(50) <= 5


@pytest.mark.django_db(transaction=True)
def test_a_line_is_there_exactly_if_the_checkpoint_behind_it_is():
    dies = [True]

    @step(name="dies")
    def dying():
        if dies.pop() if dies else False:
            raise Killed

    def code(ctx):
        ctx.log.info("first")
        ctx.step("a", no_op)
        ctx.log.info("second")
        ctx.step(dying)
        ctx.log.info("third")

    execution = Deployed("flow", code).workflow.start()
    with pytest.raises(Killed):
        worker.advance_one(execution.id, using="default")
    assert said(execution) == ["first"]
    Timer.objects.update(due_at=clock.now() - timedelta(seconds=1))
    worker.advance_one(execution.id, using="default")
    assert said(execution) == ["first", "second", "third"]
    assert [line.attempt for line in client.logs(execution)] == [1, 2, 2]


@pytest.mark.parametrize("atomic", [False, True])
def test_with_a_failing_step_too(durable, atomic):
    @step(name="fails", retry=Retry(max_attempts=2, initial_seconds=60), atomic=atomic)
    def fails():
        raise ValueError

    def code(ctx):
        ctx.log.info("before")
        try:
            ctx.step(fails)
        except Exception:
            ctx.log.info("after")
            raise

    execution = Deployed("flow", code).workflow.start()
    durable.advance(timedelta(hours=1))
    assert client.get(execution).status == "failed"
    assert said(execution) == ["before", "after"]


def test_who_has_lost_the_lease_keeps_nothing(durable):
    def code(ctx):
        ctx.log.info("stale")
        Timer.objects.update(token=uuid.uuid4())

    execution = Deployed("flow", code).workflow.start()
    advance(claims.take(execution.id, using="default"))
    assert client.get(execution).status == "pending"
    assert said(execution) == []


def test_lines_of_branches_and_coroutines_are_kept(durable):
    @workflow("async")
    async def coroutine(ctx):
        ctx.log.info("in a coroutine")
        await ctx.step(no_op)

    def code(ctx):
        ctx.gather(lambda ctx: ctx.log.info("left"), lambda ctx: ctx.log.info("right"))
        ctx.call(coroutine)

    execution = Deployed("flow", code).workflow.start()
    durable.run_until_idle()
    child = LogLine.objects.exclude(execution=execution.id).get()
    assert said(execution) == ["left", "right"]
    assert child.message == "in a coroutine"


class Unprintable:
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    ("message", "args", "stored"),
    [
        ("a\0b \ud800", (), "a\ufffdb ?"),
        ("x" * (LONGEST_MESSAGE + 1), (), "x" * LONGEST_MESSAGE),
        ("%d of %s", (1,), "'%d of %s'"),
        ("%(a)s", ({"a": 1},), "1"),
        ("100 %", (), "100 %"),
        (7, (), "7"),
        ("%s", (Unprintable(),), "'%s'"),
    ],
)
def test_whatever_is_said_can_be_stored(durable, monkeypatch, message, args, stored):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    execution = Deployed("flow", lambda ctx: log_lines.say(ctx._runtime.claim, 20, message, args)).workflow.start()
    durable.run(execution)
    assert said(execution) == [stored]


def test_an_execution_that_talks_too_much_is_cut_off(durable, monkeypatch):
    monkeypatch.setattr(log_lines, "MOST_LINES", 5)

    def code(ctx):
        for number in range(3):
            for line in range(4):
                ctx.log.info("%s %s", number, line)
            ctx.sleep(60)

    execution = Deployed("flow", code).workflow.start()
    durable.advance(timedelta(hours=1))
    assert client.get(execution).status == "completed"
    assert said(execution)[:4] == ["0 0", "0 1", "0 2", "0 3"]
    assert len(said(execution)) == 5
    assert "No more than" in said(execution)[4]


def test_old_lines_are_pruned_in_batches_the_oldest_first(durable):
    execution = Deployed("flow", lambda ctx: [ctx.log.info(number) for number in range(5)]).workflow.start()
    durable.run_until_idle()
    durable.clock.advance(timedelta(days=30))
    young = Deployed("flow", lambda ctx: ctx.log.info("young")).workflow.start()
    durable.run(young)
    month = clock.now() - timedelta(days=1)
    assert [client.prune_logs(month, batch=3) for _ in range(3)] == [3, 2, 0]
    assert (said(execution), said(young)) == ([], ["young"])


def test_lines_go_with_their_execution(durable):
    execution = Deployed("flow", lambda ctx: ctx.log.info("x")).workflow.start()
    durable.run(execution)
    client.get(execution).delete()
    assert not LogLine.objects.exists()


def test_a_body_that_logs_by_itself_is_not_kept(durable):
    def body():
        logging.getLogger("django_durable.workflow").error("a secret of somebody else's code")

    execution = Deployed("flow", lambda ctx: ctx.step("a", body)).workflow.start()
    durable.run(execution)
    assert said(execution) == []


def test_the_line_of_the_caller_is_shown(durable, caplog):
    with caplog.at_level(logging.INFO, "django_durable.workflow"):
        durable.run(Deployed("flow", lambda ctx: ctx.log.info("where?")).workflow.start())
    (record,) = [record for record in caplog.records if record.name == "django_durable.workflow"]
    assert record.filename == "test_log_lines.py"
