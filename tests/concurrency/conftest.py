"""A ledger, committed data, no broker; and how many orders the interleaver tried, under the results."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from django_durable.definitions import registry
from tests import sampling
from tests.concurrency.interleaver import Exploration
from tests.concurrency.together import LONGEST_SECONDS
from tests.ledger_app.ledger import VARIABLE, Ledger
from tests.ledger_app.relaxed import commits_without_disk

SCHEDULES: dict[str, Exploration] = {}  # by scene
POLLING = {"DISPATCHER": "django_durable.dispatch.NullDispatcher", "PARALLEL_STEPS": 1}


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
    quiet = caplog.at_level("CRITICAL", logger="django_durable")
    with registry.isolated(), quiet, commits_without_disk():
        yield Ledger(tmp_path / "ledger")


def _heartbeat_ends() -> None:
    """The heartbeat thread ends by itself once nothing runs; its connection must not outlive the test. Bounded."""
    ends_at = time.monotonic() + LONGEST_SECONDS
    while any(thread.name == "durable-heartbeat" for thread in threading.enumerate()) and time.monotonic() < ends_at:
        time.sleep(0.01)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if SCHEDULES:
        terminalreporter.section("orders of database calls")
        for title, explored in SCHEDULES.items():
            terminalreporter.line(f"{explored.schedules:6} {'of all' if explored.is_complete else 'of more'}  {title}")
        count, whole = (
            sum(one.schedules for one in SCHEDULES.values()),
            sum(one.is_complete for one in SCHEDULES.values()),
        )
        terminalreporter.line(f"{count:6} in {len(SCHEDULES)} scenes, each run checked")
        sampling.SAID.append(f"orders of database calls: {count:,}, all of {whole} of {len(SCHEDULES)} scenes")
