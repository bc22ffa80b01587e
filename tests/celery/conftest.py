"""A broker with a queue of the test's own, processes on it, and a trace to read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import redis

from django_durable import dispatch
from testproject.celery import app
from tests.celery.observing import Trace
from tests.celery.processes import Fleet
from tests.celery.transport import transport_options
from tests.clusters import PostgresCluster, cluster

__all__ = ["cluster"]


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return Trace(tmp_path / "trace")


@pytest.fixture
def use_broker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Point this process's Celery at a broker, and at a queue that nobody else uses; its name is returned."""

    def use(url: str) -> str:
        name = f"durable-test-{uuid4().hex[:12]}"
        monkeypatch.setenv("CELERY_BROKER_URL", url)
        monkeypatch.setitem(app.conf, "task_default_queue", name)
        monkeypatch.setitem(app.conf, "broker_transport_options", transport_options(name))
        _forget_celery()
        return name

    yield use
    monkeypatch.undo()
    _forget_celery()


@pytest.fixture
def queue(broker_url: str, use_broker: Callable[[str], str]) -> Iterator[str]:
    name = use_broker(broker_url)
    yield name
    with app.connection_for_write() as connection:
        channel = connection.default_channel
        if connection.transport.driver_type == "redis":  # also what killed workers had fetched
            for key in redis.Redis.from_url(broker_url).scan_iter(f"{name}:*"):
                redis.Redis.from_url(broker_url).delete(key)
        else:
            channel.queue_delete(name)
            channel.exchange_delete(name)


def _forget_celery() -> None:
    app.__dict__.pop("amqp", None)
    dispatch.get_dispatcher.cache_clear()


@pytest.fixture
def fleet(transactional_db: None, broker_url: str, queue: str, tmp_path: Path) -> Iterator[Fleet]:
    """Start workers and beats; whatever happens, they are gone before the database is cleaned."""
    with Fleet(broker_url, queue, tmp_path) as fleet:
        yield fleet


@pytest.fixture
def fleet_there(cluster: PostgresCluster, broker_url: str, queue: str, tmp_path: Path) -> Iterator[Fleet]:
    """A fleet whose database is the cluster."""
    with Fleet(broker_url, queue, tmp_path) as fleet:
        yield fleet
