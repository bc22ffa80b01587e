"""Pairs of actors in every order of their statements: a proof for these pairs, not a sample."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection

from django_durable import client
from django_durable.engine import claims, heartbeat, worker
from django_durable.engine.advance import advance
from django_durable.exceptions import ExecutionClosedError
from django_durable.models import Execution
from tests.concurrency.interleaver import interleaver
from tests.invariants import check
from tests.ledger_app import programs
from tests.ledger_app.ledger import Ledger

SECONDS = 60.0  # per pair; the pairs here need a fraction of it

# What the worker does, what the other one does, and how the execution may have ended when all work is done.
PAIRS: dict[str, tuple[Callable[[], Any], Callable[[Any], None], set[str]]] = {
    "park x signal": (programs.signal.start, lambda run: client.signal(run.id, "answer", "yes"), {"completed"}),
    "park x cancel": (programs.signal.start, lambda run: client.cancel(run.id), {"cancelled"}),
    "park x terminate": (programs.signal.start, lambda run: client.terminate(run.id), {"terminated"}),
    "finish x signal": (programs.atomic_once.start, lambda run: client.signal(run.id, "late", 1), {"completed"}),
    "finish x cancel": (programs.atomic_once.start, lambda run: client.cancel(run.id), {"completed", "cancelled"}),
    "finish x terminate": (
        programs.atomic_once.start,
        lambda run: client.terminate(run.id),
        {"completed", "terminated"},
    ),
}


@contextmanager
def _no_thread(claim: object) -> Iterator[None]:
    yield


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_in_every_order(ledger: Ledger, monkeypatch: pytest.MonkeyPatch, pair: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("the interleaver asks PostgreSQL who is blocked")
    monkeypatch.setattr(heartbeat, "keep", _no_thread)
    start, news, ends = PAIRS[pair]
    runs: list[Any] = []

    def play() -> list[Callable[[], Any]]:
        run = start()
        runs.append(run)
        claim = claims.take(run.id, using="default")
        assert claim is not None
        return [lambda: advance(claim), lambda: news(run)]

    def judge(outcomes: list[Any]) -> list[str]:
        run = runs[-1]
        if Execution.objects.get(pk=run.id).status == "terminated":
            ledger.interrupted(run.id)
        worker.drain("default", using="default")
        status = Execution.objects.get(pk=run.id).status
        wrong = [] if status in ends else [f"ended as {status}"]
        raised = [error for error in outcomes if isinstance(error, Exception)]
        wrong += [repr(error) for error in raised if not isinstance(error, ExecutionClosedError)]
        return wrong + check("default", ledger, only=[run.id])

    with interleaver("worker", "news") as orders:
        explored = orders.explore(play, judge, seconds=SECONDS)

    print(f"{pair}: {explored.schedules} orders")
    assert explored.findings == []
    assert explored.is_complete, f"{explored.schedules} orders in {SECONDS:.0f} s were not all"
    assert explored.schedules >= 10
