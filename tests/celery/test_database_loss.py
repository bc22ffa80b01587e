"""A worker goes on, without a restart, after the database has thrown it out, and keeps no connection for nothing."""

import time
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from django_durable import client
from django_durable.models import Timer
from tests.celery.observing import Trace, result_of, sessions
from tests.celery.processes import Fleet
from tests.celery.workflows import mixed, two_steps
from tests.clusters import PostgresCluster
from tests.pgbouncer import has_own_sessions

pytestmark = [
    pytest.mark.celery,
    pytest.mark.slow,
    pytest.mark.parametrize("broker_url", ["redis"], indirect=True),
    pytest.mark.skipif(connection.vendor != "postgresql", reason="pg_terminate_backend is PostgreSQL's"),
]


def throw_everybody_out() -> int:
    """End every other connection to this database; how many there were."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return len(cursor.fetchall())


@has_own_sessions
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("pool", "reuse"), [("prefork", "0"), ("prefork", "100"), ("threads", "100")])
def test_connections_ended_in_a_step_and_between_tasks_cost_nothing(
    fleet: Fleet, trace: Trace, pool: str, reuse: str
) -> None:
    worker = fleet.worker(pool, concurrency=1, DURABLE_TEST_DB_REUSE_MAX=reuse)
    execution = two_steps.start(str(trace))
    fleet.eventually(lambda: trace.of("one-began"), "the first step runs")
    assert throw_everybody_out() >= 1
    trace.open("one")
    trace.open("two")
    assert result_of(fleet, execution) == ["one", "two"]
    assert len(trace.of("one-began")) == len(trace.of("two-began")) == 1  # no step was repeated

    throw_everybody_out()  # now it idles; with CELERY_DB_REUSE_MAX it had kept its connection
    fleet.plain_beat()
    following = mixed.start(str(trace))
    client.signal(following, "go", "still here")
    assert result_of(fleet, following)["answer"] == "still here"
    assert worker.process.poll() is None


def wait_for_a_sign_of_life(fleet: Fleet, execution: Any) -> None:
    lease_ends_at = Timer.objects.get(pk=execution.pk).due_at
    fleet.eventually(lambda: Timer.objects.get(pk=execution.pk).due_at > lease_ends_at, "the lease is extended")


@pytest.mark.parametrize("reuse", ["0", "100"])
def test_a_restarted_database_needs_no_restarted_worker(
    cluster: PostgresCluster, fleet_there: Fleet, trace: Trace, tmp_path: Path, reuse: str
) -> None:
    fleet = fleet_there
    worker = fleet.worker(DURABLE_TEST_DB_REUSE_MAX=reuse, DURABLE_TEST_LEASE_SECONDS="9")
    fleet.plain_beat()
    execution = two_steps.start(str(trace))
    fleet.eventually(lambda: trace.of("one-began"), "the first step runs")
    cluster.stop_immediate()
    fleet.eventually(lambda: "No sign of life" in worker.text(), "the heartbeat has met the outage")
    cluster.start()
    connection.close()  # this process's own, which is dead
    trace.open("one")
    trace.open("two")
    assert result_of(fleet, execution) == ["one", "two"]
    assert len(trace.of("one-began")) <= 2  # the second time if the lease ran out meanwhile

    later = Trace(tmp_path / "later")
    following = two_steps.start(str(later))
    fleet.eventually(lambda: later.of("one-began"), "the next execution runs")
    wait_for_a_sign_of_life(fleet, following)
    later.open("one")
    later.open("two")
    assert result_of(fleet, following) == ["one", "two"]
    assert len(later.of("one-began")) == len(later.of("two-began")) == 1
    assert worker.process.poll() is None


@has_own_sessions
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("pool", "reuse", "most"), [("prefork", "0", 0), ("threads", "0", 0), ("prefork", "100", 2)])
def test_an_idle_worker_holds_no_connection_and_no_transaction(
    fleet: Fleet, trace: Trace, pool: str, reuse: str, most: int
) -> None:
    """most: one for each child, when Celery is told to keep them."""
    fleet.worker(pool, DURABLE_TEST_DB_REUSE_MAX=reuse, DURABLE_TEST_LEASE_SECONDS="6")
    executions = [two_steps.start(str(trace)) for _ in range(4)]
    fleet.eventually(lambda: len(trace.of("one-began")) == 2, "both children work")
    wait_for_a_sign_of_life(fleet, executions[0])
    trace.open("one")
    trace.open("two")
    for execution in executions:
        result_of(fleet, execution)

    fleet.eventually(lambda: sessions() == ["idle"] * most, "connections are closed")
    ends_at = time.monotonic() + 1.5  # longer than any thread of ours sleeps
    while time.monotonic() < ends_at:
        assert sessions() == ["idle"] * most
        time.sleep(0.1)
