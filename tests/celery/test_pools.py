"""Where tasks run without a pool, and the pools that workflows refuse; the others are in ``test_workers.py``."""

import time

import pytest

from django_durable import client, tasks
from testproject.celery import app
from tests.celery.observing import Trace, finished
from tests.celery.processes import Fleet
from tests.celery.workflows import mixed


@pytest.mark.django_db(transaction=True)
def test_eager_tasks_finish_a_mixed_workload(monkeypatch: pytest.MonkeyPatch, trace: Trace) -> None:
    monkeypatch.setitem(app.conf, "task_always_eager", True)

    execution = mixed.start(str(trace))
    client.signal(execution, "go", 7)
    ends_at = time.monotonic() + 120
    while not finished(execution):
        assert time.monotonic() < ends_at
        time.sleep(0.05)
        tasks.tick.delay()

    assert client.result(execution) == {"attempts": 3, "answer": 7, "found": True}
    assert [len(trace.of(what)) for what in ("first", "flaky", "atomic")] == [1, 3, 1]


@pytest.mark.celery
@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
def test_a_worker_with_a_pool_of_greenlets_ends_and_says_why(fleet: Fleet) -> None:
    worker = fleet.refused(DURABLE_TEST_POOL="gevent")  # which need not be installed for this; eventlet would

    assert worker.process.returncode == 1
    assert "django-durable: Celery's pool 'gevent' is not supported; use prefork, threads or solo." in worker.text()
