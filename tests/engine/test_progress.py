"""ctx.progress: shown in the row, at most once a second, never by a worker that lost its lease."""

import uuid
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_durable import client, workflow
from django_durable.engine import claims
from django_durable.engine.progress import Progress


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
