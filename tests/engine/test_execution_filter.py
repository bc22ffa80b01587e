"""Any logger inside a run says which execution, step and attempt it speaks of; a replay is quiet."""

from __future__ import annotations

import asyncio
import logging
import logging.config
from datetime import timedelta

import pytest

from django_durable import Retry, step, workflow
from django_durable.engine import worker
from django_durable.logs import ExecutionFilter
from tests.authoring import NO_BROKER, Deployed, no_op

logger = logging.getLogger("shop.orders")


class Kept(logging.Handler):
    def __init__(self):
        super().__init__()
        self.records = []

    def emit(self, record):
        self.records.append(record)

    def facts(self):
        return [(r.getMessage(), r.execution_id, r.workflow, r.step_id, r.attempt) for r in self.records]


@pytest.fixture
def heard():
    """What a project's handler with the filter gets of any logger."""
    handler = Kept()
    handler.addFilter(ExecutionFilter())
    root = logging.getLogger()
    root.addHandler(handler)
    level, logger.level = logger.level, logging.INFO
    yield handler
    root.removeHandler(handler)
    logger.level = level


def of_shop(handler):
    return [fact for fact, record in zip(handler.facts(), handler.records, strict=True) if record.name == logger.name]


def test_outside_of_a_run_the_fields_are_there_and_empty(heard):
    logger.info("hello")
    assert heard.facts() == [("hello", "", "", "", "")]


def test_a_workflow_function_and_its_bodies_are_told_apart(durable, heard):
    @step(retry=Retry(max_attempts=2, initial_seconds=60))
    def charge():
        logger.info("in the body")
        if len(of_shop(heard)) < 3:
            raise ValueError

    def code(ctx):
        logger.info("in the function")
        ctx.step(charge)

    execution = Deployed("flow", code).workflow.start()
    durable.advance(timedelta(hours=1))
    own = str(execution.id)
    assert of_shop(heard) == [
        ("in the function", own, "flow", "", 1),
        ("in the body", own, "flow", "charge", 1),
        ("in the body", own, "flow", "charge", 2),
    ]


def test_a_replay_is_quiet_but_for_django(durable, heard):
    others = [logging.getLogger(name) for name in ("django.db.backends.x", "django_durable.worker")]

    def code(ctx):
        logger.info("before")
        for other in others:
            other.warning("looked up")
        ctx.sleep(60)
        logger.info("after")

    Deployed("flow", code).workflow.start()
    durable.advance(timedelta(minutes=5))
    assert [fact[0] for fact in of_shop(heard)] == ["before", "after"]
    assert [record.name for record in heard.records].count("django_durable.worker") == 2


def test_it_may_be_told_to_repeat(durable, heard):
    heard.filters[:] = [ExecutionFilter(quiet=False)]

    def code(ctx):
        logger.info("before")
        ctx.sleep(60)

    Deployed("flow", code).workflow.start()
    durable.advance(timedelta(minutes=5))
    assert [fact[0] for fact in of_shop(heard)] == ["before", "before"]


def test_async_functions_and_async_bodies_are_bound(durable, heard):
    async def body():
        await asyncio.sleep(0)
        logger.info("in the body")

    @workflow("async")
    async def flow(ctx):
        logger.info("in the function")
        await ctx.step("a", body)

    execution = flow.start()
    durable.run_until_idle()
    own = str(execution.id)
    assert of_shop(heard) == [("in the function", own, "async", "", 1), ("in the body", own, "async", "a", 1)]


def test_a_replay_of_coroutines_and_branches_is_quiet_too(durable, heard):
    @workflow("async")
    async def coroutine(ctx):
        logger.info("before")
        await ctx.sleep(60)
        logger.info("after")

    def branch(ctx, name):
        logger.info("%s before", name)
        ctx.sleep(60)
        logger.info("%s after", name)

    coroutine.start()
    code = lambda ctx: ctx.gather(*(lambda ctx, name=name: branch(ctx, name) for name in "ab"))  # noqa: E731
    Deployed("flow", code).workflow.start()
    durable.advance(timedelta(minutes=5))
    said = sorted(fact[0] for fact in of_shop(heard))
    assert said == ["a after", "a before", "after", "b after", "b before", "before"]


@pytest.mark.django_db(transaction=True)
def test_bodies_in_threads_are_bound_each_to_its_own_step(settings, heard):
    settings.DURABLE = {**NO_BROKER, "PARALLEL_STEPS": 3}
    said = lambda: logger.info("in a thread")  # noqa: E731

    def code(ctx):
        ctx.gather(*(lambda ctx, name=name: ctx.step(name, said) for name in "abc"))
        ctx.step(step(name="timed", timeout=30)(said))

    execution = Deployed("flow", code).workflow.start()
    worker.advance_one(execution.id, using="default")
    found = {(fact[1], fact[3]) for fact in of_shop(heard)}
    names = {name.rpartition("/")[2] for _, name in found}
    assert {own for own, _ in found} == {str(execution.id)}
    assert names == {"a", "b", "c", "timed"}


def test_after_a_run_nothing_is_left(durable, heard):
    durable.run(Deployed("flow", no_op).workflow.start())
    logger.info("later")
    assert of_shop(heard) == [("later", "", "", "", "")]


def test_what_a_record_has_is_left_and_the_filters_name_still_counts(heard):
    logger.info("mine", extra={"workflow": "own"})
    assert heard.facts()[0][2] == "own"
    record = logging.makeLogRecord({"name": "other"})
    assert not ExecutionFilter("shop").filter(record)


def test_one_line_of_the_configuration_adds_it():
    config = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"execution": {"()": "django_durable.logs.ExecutionFilter"}},
        "handlers": {"kept": {"class": f"{__name__}.Kept", "filters": ["execution"]}},
        "loggers": {"shop.configured": {"handlers": ["kept"], "level": "INFO"}},
    }
    logging.config.dictConfig(config)
    configured = logging.getLogger("shop.configured")
    (handler,) = configured.handlers
    configured.info("x")
    assert handler.facts() == [("x", "", "", "", "")]
    configured.removeHandler(handler)
