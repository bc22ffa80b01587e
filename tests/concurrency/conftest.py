"""A ledger, committed data, no broker."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from django_durable.definitions import registry
from tests.ledger_app.ledger import VARIABLE, Ledger

POLLING = {"DISPATCHER": "django_durable.dispatch.NullDispatcher"}


@pytest.fixture
def configure(settings: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Set DURABLE for one test; without a broker unless it says otherwise."""

    def set_(**durable: Any) -> None:
        settings.DURABLE = {**POLLING, **durable}
        if "HEARTBEAT_SECONDS" in durable:  # else nothing runs long enough for its thread to open a connection
            request.addfinalizer(_heartbeat_ends)

    return set_


@pytest.fixture(autouse=True)
def ledger(
    configure: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    transactional_db: None,
) -> Iterator[Ledger]:
    configure()
    monkeypatch.setenv(VARIABLE, str(tmp_path / "ledger"))
    connection_created.connect(_trust_the_page_cache)
    with registry.isolated(), caplog.at_level("CRITICAL", logger="django_durable"):
        yield Ledger(tmp_path / "ledger")
    connection_created.disconnect(_trust_the_page_cache)


def _trust_the_page_cache(connection: BaseDatabaseWrapper, **_: object) -> None:
    """These tests race processes' threads, not power cuts; waiting for the disk would only make the races rarer."""
    if connection.vendor == "sqlite":
        connection.connection.execute("PRAGMA synchronous = OFF")


def _heartbeat_ends() -> None:
    """The heartbeat thread ends by itself once nothing runs; its connection must not outlive the test. Bounded."""
    ends_at = time.monotonic() + 5
    while any(thread.name == "durable-heartbeat" for thread in threading.enumerate()) and time.monotonic() < ends_at:
        time.sleep(0.01)
