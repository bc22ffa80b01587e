"""ctx.log: says everything once, with the execution's id."""

import logging
from datetime import timedelta

import pytest

from django_durable import client, workflow
from tests.authoring import no_op


@pytest.fixture
def said(caplog):
    """What was logged so far, as a function."""
    with caplog.at_level(logging.INFO, "django_durable.workflow"):
        yield lambda: [record for record in caplog.records if record.name == "django_durable.workflow"]


def test_what_was_said_is_not_said_again_in_a_replay(durable, said):
    @workflow("flow")
    def flow(ctx):
        ctx.log.info("before the step")
        ctx.step("a", no_op)
        ctx.log.info("before the sleep")
        ctx.sleep(60)
        ctx.log.info("after the sleep")

    flow.start()
    durable.advance(timedelta(minutes=5))
    assert [record.getMessage() for record in said()] == ["before the step", "before the sleep", "after the sleep"]


def test_a_pass_that_looks_again_says_nothing_twice(durable, said):
    """An update is answered in the pass that parks, which runs the function again to see what has changed."""
    sent = []

    @workflow("flow")
    def flow(ctx):
        ctx.step("a", no_op)
        ctx.log.info("before the wait")
        if not sent:  # too late to be known at the first look
            sent.append(client.send_update(execution, "nudge"))
        ctx.wait_for_signal("go")

    @flow.update("nudge")
    def nudge(state, payload):
        pass

    execution = flow.start()
    durable.run_until_idle()
    assert [record.getMessage() for record in said()] == ["before the wait"]


def test_a_line_carries_the_execution_and_the_callers_extras(durable, said):
    @workflow("flow")
    def flow(ctx):
        ctx.log.info("hello %s", "you", extra={"order": 7})

    execution = flow.start()
    durable.run(execution)
    (record,) = said()
    assert record.getMessage() == "hello you"
    assert (record.execution_id, record.attempt, record.order) == (str(execution.id), 1, 7)


def test_the_level_of_the_logger_counts(durable, said):
    @workflow("flow")
    def flow(ctx):
        ctx.log.debug("too quiet")

    durable.run(flow.start())
    assert said() == []
