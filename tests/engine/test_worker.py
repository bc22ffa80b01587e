"""The drain loop: one after the other, for a bounded time, until it is told to stop."""

from datetime import timedelta

import pytest

from django_durable import client, step, workflow
from django_durable.engine import shutdown, worker
from django_durable.models import Timer
from tests.authoring import no_op


@pytest.fixture
def flow():
    @workflow("worker.flow")
    def flow(ctx):
        ctx.step("work", no_op)

    return flow


def test_a_drain_takes_everything_that_is_due_on_its_queue_only(durable, settings, flow):
    settings.DURABLE = {**settings.DURABLE, "QUEUES": ("default", "slow")}
    mine = [flow.start(), flow.start()]
    other = flow.using(queue="slow").start()
    assert worker.drain("default", using="default") == 2
    assert [client.get(execution).status for execution in (*mine, other)] == ["completed", "completed", "pending"]


def test_a_drain_begins_nothing_new_after_its_time(durable):
    @step
    def slow():
        durable.clock.advance(timedelta(seconds=3))

    @workflow("worker.slow")
    def flow(ctx):
        ctx.step(slow)

    for _ in range(5):
        flow.start()
    assert worker.drain("default", using="default", seconds=5) == 2


def test_a_stopping_worker_claims_nothing(durable, flow):
    execution = flow.start()
    shutdown.request_stop()
    try:
        assert worker.drain("default", using="default") == 0
        assert worker.advance_one(execution.id, using="default") is False
    finally:
        shutdown.forget()
    assert Timer.objects.leased().count() == 0


def test_what_is_not_due_is_not_advanced(durable, flow):
    execution = flow.using(delay=60).start()
    assert worker.advance_one(execution.id, using="default") is False


def test_known_queues_are_those_of_the_settings_and_of_the_workflows(settings):
    settings.DURABLE = {"QUEUES": ("default", "reports")}

    @workflow("worker.queued", queue="imports")
    def queued(ctx):
        return None

    assert {"default", "reports", "imports"} <= set(worker.known_queues())
