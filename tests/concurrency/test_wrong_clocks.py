"""Hosts whose wall clocks are wrong: the database's clock decides, and the order of acceptance."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, worker
from django_durable.engine.tick import tick
from django_durable.exceptions import ExpiredTokenError
from django_durable.models import Step, Timer
from tests.ledger_app import programs
from tests.ledger_app.ledger import Ledger

HOURS = pytest.mark.parametrize("hours", [-2, 2], ids=["behind", "ahead"])


@contextmanager
def _on_a_host(hours: float) -> Iterator[None]:
    """The process's wall clock is that far from the database's; the monotonic one is right."""
    with time_machine.travel(datetime.now(UTC) + timedelta(hours=hours), tick=True):
        yield


@HOURS
def test_a_sleep_ends_by_the_clock_of_the_database(hours: float) -> None:
    execution = programs.sleep.start(60)
    with _on_a_host(hours):
        assert worker.drain("default", using="default") == 1
        assert (tick(using="default"), worker.drain("default", using="default")) == ([], 0)
    in_a_minute = DatabaseNow() + timedelta(minutes=1)
    assert Timer.objects.get(due_at__lte=in_a_minute).execution_id == execution.id

    with _on_a_host(hours):
        Timer.objects.update(due_at=DatabaseNow())
        assert tick(using="default") == ["default"]


@HOURS
def test_a_lease_ends_by_the_clock_of_the_database(hours: float) -> None:
    execution = programs.plain.start(1)
    with _on_a_host(-hours):
        assert claims.take(execution.id, using="default") is not None
    with _on_a_host(hours):
        assert worker.drain("default", using="default") == 0
        Timer.objects.update(due_at=DatabaseNow())
        assert worker.drain("default", using="default") == 1


@HOURS
def test_a_token_expires_by_the_clock_of_the_database(hours: float, ledger: Ledger) -> None:
    execution = programs.by_token.start()
    with _on_a_host(-hours):
        worker.drain("default", using="default")
    token = ledger.token(execution.id)
    assert token is not None
    with _on_a_host(hours):
        assert client.get_by_token(token, "answer").id == execution.id
    Step.objects.filter(kind="token").update(due_at=DatabaseNow())
    with _on_a_host(hours), pytest.raises(ExpiredTokenError):
        client.signal_by_token(token, "answer", "late")


def test_signals_are_consumed_in_the_order_of_acceptance() -> None:
    execution = programs.signals.start(2)
    for hours, name, payload in [(2, "answer", "first"), (-2, "answer", "second"), (0, "last", "third")]:
        with _on_a_host(hours):
            client.signal(execution.id, name, payload)
    worker.drain("default", using="default")
    assert client.result(execution.id) == ["first", "second", "third"]
