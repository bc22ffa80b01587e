"""A broker with a queue of the test's own, processes on it, and a trace to read."""

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from kombu import Connection, Exchange, Queue

from django_durable import dispatch
from testproject.celery import app
from tests.celery.observing import Trace
from tests.celery.processes import Fleet


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
        _forget_celery()
        return name

    yield use
    monkeypatch.undo()
    _forget_celery()


@pytest.fixture
def queue(broker_url: str, use_broker: Callable[[str], str]) -> Iterator[str]:
    name = use_broker(broker_url)
    yield name
    with Connection(broker_url, connect_timeout=5) as connection:
        Queue(name, Exchange(name), routing_key=name)(connection.default_channel).delete()
        Exchange(name)(connection.default_channel).delete()


def _forget_celery() -> None:
    app.__dict__.pop("amqp", None)
    dispatch.get_dispatcher.cache_clear()


@pytest.fixture
def fleet(transactional_db: None, broker_url: str, queue: str, tmp_path: Path) -> Iterator[Fleet]:
    """Start workers and beats; whatever happens, they are gone before the database is cleaned."""
    fleet = Fleet(broker_url, queue, tmp_path)
    try:
        yield fleet
    finally:
        fleet.kill()
