"""What every test may use: the brokers that answer, and a header that names what is being tested."""

import os
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import django
import pytest
from django.db import connection
from django.test import TransactionTestCase

from django_durable.events import receivers
from tests import flushing, sampling
from tests.services import BROKERS

# tests.matrix names a file here, to learn which brokers the tests really went through.
USED_BROKERS_FILE = "DURABLE_TEST_USED_BROKERS"
# What touches no database of the suite: tests.matrix leaves it to the first one.
ONCE = ("benchmarks", "docs/test_tutorial.py", "planted", "storm", "typing")
FIRST_BROKER = "redis"  # brokers and databases do not know of each other: the other broker too is tried once
ONCE_ELSEWHERE = "DURABLE_TEST_ONCE_ELSEWHERE"
collect_ignore = []
if ONCE_ELSEWHERE in os.environ:
    collect_ignore += ONCE
    sampling.SAID.append(f"left to {os.environ[ONCE_ELSEWHERE]}: {', '.join(ONCE)}, every broker but {FIRST_BROKER}")


def pytest_report_header() -> str:
    return f"database: {connection.vendor}, Django {django.get_version()}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """After those of the folders, which say what they have left out."""
    sampling.tell(terminalreporter)


@pytest.fixture(autouse=True, scope="session")
def _quick_flush() -> Iterator[None]:
    with mock.patch.object(TransactionTestCase, "_fixture_teardown", flushing.flush):
        yield


@pytest.fixture(autouse=True)
def no_receivers() -> Iterator[None]:
    """Only a test's own: those of the demo shop would add their deliveries, and their statements, to its.

    Not by ``monkeypatch``, which some tests undo before they end.
    """
    with mock.patch.object(receivers, "_by_event", {}):
        yield


@pytest.fixture(params=sorted(BROKERS))
def broker_url(request: pytest.FixtureRequest) -> str:
    """Give the address of each broker that answers; without one, skip and say how to have it covered."""
    broker = BROKERS[request.param]
    if not os.environ.get(broker.url_variable):
        pytest.skip(f"{broker.title}: `make test` found none; for a plain pytest run set {broker.url_variable}")
    if ONCE_ELSEWHERE in os.environ and broker.name != FIRST_BROKER:
        pytest.skip(f"{broker.title}: left to {os.environ[ONCE_ELSEWHERE]}")
    if USED_BROKERS_FILE in os.environ:
        with Path(os.environ[USED_BROKERS_FILE]).open("a") as file:
            file.write(f"{broker.name}\n")
    return broker.url
