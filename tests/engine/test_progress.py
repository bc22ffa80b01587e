"""ctx.progress: shown in the row, at most once a second, never by a worker that lost its lease."""

import asyncio
import itertools
import threading
import uuid
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_durable import InvalidOptionError, StepInfo, StepTimedOut, client, current_step, step, workflow
from django_durable.engine import claims, worker
from django_durable.engine.progress import BodyLink, Progress
from django_durable.models import Execution, Timer
from tests.authoring import NO_BROKER, Deployed, no_op


def shown(execution):
    row = client.get(execution)
    return row.progress_current, row.progress_total, row.progress_message


@pytest.fixture
def claim(durable):
    @workflow("flow")
    def flow(ctx):
        pass

    return claims.take(flow.start().id, using="default")


def test_the_last_word_of_a_pass_is_written(durable):
    @workflow("flow")
    def flow(ctx):
        for number in range(5):
            ctx.progress(number + 1, 5, f"line {number + 1}")
        ctx.sleep(60)

    execution = flow.start()
    durable.run_until_idle()
    assert shown(execution) == (5, 5, "line 5")


def test_a_total_may_be_unknown(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.progress(3)

    execution = flow.start()
    durable.run(execution)
    assert shown(execution) == (3, None, "")


def test_it_is_written_at_most_once_a_second(durable, claim):
    progress = Progress(claim)
    with CaptureQueriesContext(
        connection,
    ) as queries:
        for number in range(100):
            progress.show(number, 100, "")
    assert len(queries) == 1
    durable.clock.advance(timedelta(seconds=1))
    progress.show(100, 100, "done")
    assert shown(claim.execution_id) == (100, 100, "done")


def test_without_news_nothing_is_written(durable, claim):
    with CaptureQueriesContext(connection) as queries:
        Progress(claim).flush()
    assert len(queries) == 0


def test_a_worker_without_the_lease_writes_nothing(durable, claim):
    claim.token = uuid.uuid4()
    Progress(claim).show(1, 2, "stale")
    assert shown(claim.execution_id) == (None, None, "")


def test_a_replay_does_not_turn_progress_back(durable):
    seen = []

    @workflow("flow")
    def flow(ctx):
        ctx.progress(1, 2)
        ctx.step("look", lambda: seen.append(shown(ctx.execution_id)))
        ctx.progress(2, 2)
        ctx.sleep(60)
        ctx.step("look", lambda: seen.append(shown(ctx.execution_id)))

    flow.start()
    durable.advance(timedelta(minutes=2))
    assert seen[-1][0] == 2


# -- from the bodies of steps --------------------------------------------------------------------------


def told_by(execution):
    """What another connection would read, as a body may."""
    return shown(execution)[0]


@pytest.fixture
def clocked(monkeypatch):
    """Moves the throttle's clock by two seconds at each look: every word may be written."""
    seconds = itertools.count(step=2.0)
    monkeypatch.setattr("django_durable.engine.progress.clock", SimpleNamespace(monotonic=lambda: next(seconds)))


def test_a_body_shows_how_far_it_is(durable, clocked):
    seen = []

    @workflow("flow")
    def flow(ctx):
        def body():
            for number in (1, 2):
                current_step().progress(number, 2, "half" if number == 1 else "whole")
                seen.append(shown(ctx.execution_id))

        ctx.step("copy", body)

    durable.run(flow.start())
    # A test's body shares the connection of the pass, as one that is not atomic does.
    assert seen == [(1, 2, "half"), (2, 2, "whole")]


@pytest.mark.django_db(transaction=True)
def test_an_atomic_body_leaves_its_word_to_the_pass(polling, clocked):
    inside = []

    @step(atomic=True)
    def copy(execution_id):
        with CaptureQueriesContext(connection) as queries:
            current_step().progress(1, 2)
        inside.append(len(queries))

    @workflow("flow")
    def flow(ctx):
        ctx.step(copy, str(ctx.execution_id))

    execution = flow.start()
    worker.advance_one(execution.id, using="default")
    assert inside == [0]
    assert shown(execution) == (1, 2, "")


@pytest.mark.django_db(transaction=True)
def test_an_async_body_shows_how_far_it_is(polling, clocked):
    seen = []

    @workflow("flow")
    def flow(ctx):
        async def body():
            current_step().progress(1, 2)
            for _ in range(1000):
                if seen:
                    break
                await asyncio.sleep(0)
                found = await Execution.objects.aget()
                seen.extend([found.progress_current] if found.progress_current else [])

        ctx.step("copy", body)

    execution = flow.start()
    worker.advance_one(execution.id, using="default")
    assert client.get(execution).status == "completed"
    assert seen == [1]


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor == 'sqlite' and connection.is_in_memory_db()", reason="threads need a file")
def test_bodies_side_by_side_show_the_latest_word(settings, clocked):
    settings.DURABLE = {**NO_BROKER, "PARALLEL_STEPS": 3}
    meeting = threading.Barrier(3)

    @workflow("flow")
    def flow(ctx):
        def body(number):
            meeting.wait(10)
            current_step().progress(number, 3)
            meeting.wait(10)
            current_step().progress(3, 3, "all")

        ctx.gather(*(lambda ctx, number=number: ctx.step("copy", body, number) for number in (1, 2, 3)))

    execution = flow.start()
    worker.advance_one(execution.id, using="default")
    assert client.get(execution).status == "completed"
    assert shown(execution) == (3, 3, "all")


def test_a_body_whose_worker_has_lost_the_lease_shows_nothing(durable, clocked):
    asked = []

    @workflow("flow")
    def flow(ctx):
        def body():
            Timer.objects.update(token=uuid.uuid4())
            current_step().progress(1, 2, "stale")
            asked.append(shown(ctx.execution_id))

        ctx.step("copy", body)

    flow.start()
    durable.run_until_idle()
    assert asked == [(None, None, "")]


@pytest.mark.django_db(transaction=True)
def test_a_body_can_ask_whether_it_was_abandoned(polling):
    before, after, go_on, ended = [], [], threading.Event(), threading.Event()

    def hang():
        info = current_step()
        before.append(info.is_abandoned)
        go_on.wait(10)
        after.append(info.is_abandoned)
        info.progress(1, 1, "too late")
        ended.set()

    @workflow("flow")
    def flow(ctx):
        try:
            ctx.step(step(name="hang", timeout=0.2)(hang))
        except StepTimedOut:
            go_on.set()
            ended.wait(10)

    execution = flow.start()
    worker.advance_one(execution.id, using="default")
    assert (before, after) == ([False], [True])
    assert shown(execution) == (None, None, "")


def test_a_body_whose_lease_was_lost_is_abandoned(durable):
    claim = claims.take(Deployed("flow", no_op).workflow.start().id, using="default")
    link = BodyLink(claim, Progress(claim), ends_at=None)
    assert not link.is_abandoned()
    claim.lost = True
    assert link.is_abandoned()
    link.progress(1, 2, "stale")
    assert shown(claim.execution_id) == (None, None, "")


def test_outside_of_a_workflow_a_body_may_be_called_by_hand():
    info = StepInfo(execution_id=uuid.uuid4(), step_id="copy", attempt=1)
    info.progress(1, 2)
    assert not info.is_abandoned
    with pytest.raises(InvalidOptionError, match="whole numbers"):
        info.progress(-1)
