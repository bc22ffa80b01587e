"""Fixtures of this directory."""

import threading
from collections.abc import Iterator

import pytest

from django_durable.engine import shutdown
from django_durable.engine.embedded import EmbeddedWorker
from tests.authoring import isolated_registry, polling

__all__ = ["isolated_registry", "polling"]


@pytest.fixture
def running_worker(transactional_db: None, polling: None) -> Iterator[EmbeddedWorker]:
    """An embedded worker in this process, with its tick; it ends before the database is cleaned."""
    worker = EmbeddedWorker(queues=["default"], threads=2, using="default")
    thread = threading.Thread(target=worker.run)
    thread.start()
    yield worker
    worker.stop()
    thread.join()
    shutdown.forget()
