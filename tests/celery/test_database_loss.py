"""A worker goes on, without a restart, after the database has thrown it out."""

import pytest
from django.db import connection

from django_durable import client
from tests.celery.observing import Trace, result_of
from tests.celery.processes import Fleet
from tests.celery.workflows import mixed, two_steps

pytestmark = [
    pytest.mark.celery,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
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


@pytest.mark.parametrize(("pool", "reuse"), [("prefork", "0"), ("prefork", "100"), ("threads", "100")])
def test_connections_ended_in_a_step_and_between_tasks_cost_nothing(
    fleet: Fleet, trace: Trace, pool: str, reuse: str
) -> None:
    worker = fleet.worker(pool, concurrency=1, DURABLE_TEST_DB_REUSE_MAX=reuse)
    execution = two_steps.start(str(trace))
    fleet.eventually(lambda: trace.of("one-began"), 10, "the first step runs")
    assert throw_everybody_out() >= 1
    trace.open("one")
    trace.open("two")
    assert result_of(fleet, execution, 15) == ["one", "two"]
    assert len(trace.of("one-began")) == len(trace.of("two-began")) == 1  # no step was repeated

    throw_everybody_out()  # now it idles; with CELERY_DB_REUSE_MAX it had kept its connection
    fleet.plain_beat()
    following = mixed.start(str(trace))
    client.signal(following, "go", "still here")
    assert result_of(fleet, following, 20)["answer"] == "still here"
    assert worker.process.poll() is None
