"""Counts the crash points of the whole run and prints the sum under the results."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import pytest

from django_durable.engine import advance, heartbeat
from tests import sampling
from tests.crash.sweep import PLACES, POINTS, Sweep
from tests.ledger_app.ledger import VARIABLE
from tests.ledger_app.relaxed import commits_without_disk


@pytest.fixture
def sweep(settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog, transactional_db: None) -> Iterator[Sweep]:
    """A sweep over real commits, without a broker, in a process that has one thread when it forks."""
    settings.DURABLE = {"DISPATCHER": "django_durable.dispatch.NullDispatcher", "PARALLEL_STEPS": 1}
    # Every wait parks, also a back-off of milliseconds: more places to die.
    monkeypatch.setattr(advance, "SHORT_WAIT_SECONDS", 0.0)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "ledger"))
    quiet = caplog.at_level("CRITICAL", logger="django_durable")
    with mock.patch.object(heartbeat, "keep", _no_thread), quiet, commits_without_disk():
        yield Sweep(tmp_path)


class _no_thread:  # noqa: N801
    """The heartbeat's thread must not be copied into a child half-way through; no lease ends during these runs."""

    def __init__(self, claim: object) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if PLACES:
        terminalreporter.section("crash points")
        for name, places in sorted(PLACES.items()):
            terminalreporter.line(f"{POINTS[name]:6} of {places:5} {name}")
        terminalreporter.line(f"{sum(POINTS.values()):6} in {len(PLACES)} sweeps, each recovered and checked")
        sampling.SAID.append(f"crash points: {sum(POINTS.values()):,} of {sum(PLACES.values()):,}")
