"""The loop of every worker: claim, advance, repeat for a bounded time."""

import uuid
from datetime import timedelta

import pytest
from django.db import OperationalError

from django_durable import client, dispatch, workflow
from django_durable.engine import queues, statements, worker
from tests.authoring import Deployed, no_op


@pytest.fixture
def flow(durable):
    return Deployed("flow", no_op).workflow


def test_a_drain_takes_forward_all_that_is_due_and_counts(flow):
    started = [flow.start() for _ in range(3)]
    assert worker.drain("default", using="default") == 3
    assert worker.drain("default", using="default") == 0
    assert {client.get(execution).status for execution in started} == {"completed"}


def test_a_drain_keeps_to_its_queue(durable, flow, settings):
    settings.DURABLE = {**settings.DURABLE, "QUEUES": ("default", "slow")}
    execution = flow.using(queue="slow").start()
    assert worker.drain("default", using="default") == 0
    assert worker.drain("slow", using="default") == 1
    assert client.get(execution).status == "completed"


def test_a_drain_begins_nothing_after_its_time(durable):
    deployed = Deployed("flow", lambda ctx: ctx.step("slow", lambda: durable.clock.advance(timedelta(seconds=3))))
    for _ in range(5):
        deployed.workflow.start()
    assert worker.drain("default", using="default", seconds=5) == 2
    assert worker.drain("default", using="default", seconds=0) == 1


def test_a_drain_may_begin_with_one_and_does_nothing_if_that_is_taken(flow):
    other, wanted, delayed = flow.start(), flow.start(), flow.using(delay=60).start()
    assert worker.drain("default", using="default", first=delayed.id) == 0
    assert worker.drain("default", using="default", first=wanted.id, seconds=0) == 1
    assert (client.get(wanted).is_closed, client.get(other).is_closed) == (True, False)
    assert worker.drain("default", using="default", first=wanted.id) == 0
    assert not client.get(other).is_closed


@pytest.fixture
def called(monkeypatch):
    called = []
    monkeypatch.setattr(dispatch, "drain", lambda queue, *, using: called.append(queue))
    return called


@pytest.mark.parametrize(("due", "calls"), [(1, []), (2, ["default"]), (9, ["default"])])
def test_who_finds_more_than_it_can_begin_calls_one_other(flow, called, due, calls):
    for _ in range(due):
        flow.start()
    assert worker.drain("default", using="default") == due
    assert called == calls


def test_who_was_called_for_one_calls_nobody(flow, called):
    started = [flow.start() for _ in range(3)]
    assert worker.drain("default", using="default", first=started[0].id) == 3
    assert called == []


@pytest.mark.django_db(transaction=True)
def test_a_claim_outlives_the_question_whether_more_is_due(polling, monkeypatch, called):
    execution = Deployed("flow", no_op).workflow.start()

    def fails(*_):
        raise OperationalError("gone")

    monkeypatch.setattr(statements, "any_due", fails)
    assert worker.drain("default", using="default") == 1
    assert client.get(execution).status == "completed"


def test_one_is_advanced_by_its_id_if_it_is_due(flow):
    execution, delayed = flow.start(), flow.using(delay=60).start()
    assert worker.advance_one(execution.id, using="default") is True
    assert worker.advance_one(execution.id, using="default") is False
    assert worker.advance_one(delayed.id, using="default") is False
    assert worker.advance_one(uuid.uuid4(), using="default") is False


def test_the_known_queues_are_those_of_settings_and_workflows(settings):
    settings.DURABLE = {"QUEUES": ("default", "mail")}

    @workflow("flow", queue="reports")
    def flow(ctx):
        pass

    assert queues.known_queues() == ["default", "mail", "reports"]


def test_an_execution_that_fails_does_not_stop_the_others(durable):
    def code(ctx, name):
        if name == "bad":
            raise ValueError(name)
        return name

    deployed = Deployed("flow", code)
    started = [deployed.workflow.start(name) for name in ("good", "bad", "fine")]
    assert worker.drain("default", using="default") == 3
    assert [client.get(execution).status for execution in started] == ["completed", "failed", "completed"]
