"""Fixtures of this directory, and what may happen while a worker is about to park."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from django_durable.engine import claims, transitions, worker
from tests.authoring import isolated_registry, polling

__all__ = ["around_park", "crash", "isolated_registry", "polling"]

Meanwhile = Callable[[Any, str, Callable[[], Any]], Any]


@pytest.fixture
def around_park(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """``around_park(run, "before", act)``: ``act`` happens once, right before or after the first park of ``run``.

    "before": the worker has decided to wait and still holds its lease, and a message that comes then finds nothing to
    take. "after": the park has been committed and nothing else of the pass has.
    """
    real, plans = transitions.park, []

    def park(claim: Any, execution: Any, how: Any) -> bool:
        plan = next((plan for plan in plans if plan[0] == execution.id), None)
        if plan is None:
            return real(claim, execution, how)
        plans.remove(plan)
        _, moment, act = plan
        if moment == "before":
            act()
            assert worker.advance_one(execution.id, using="default") is False
        parked = real(claim, execution, how)
        if moment == "after":
            act()
        return parked

    monkeypatch.setattr(transitions, "park", park)
    return lambda run, moment, act: plans.append((run.id, moment, act))


@pytest.fixture
def crash(durable: Any) -> Callable[[Any], None]:
    """A worker claims an execution and its process is gone at once; the lease runs out."""

    def crash(run: Any) -> None:
        assert claims.take(run.id, using="default") is not None
        durable.clock.advance(timedelta(seconds=31))

    return crash


@contextmanager
def heard(signal: Any) -> Iterator[list[dict[str, Any]]]:
    """What a Django signal of ours says meanwhile."""
    told: list[dict[str, Any]] = []

    def receive(**facts: Any) -> None:
        told.append(facts)

    signal.connect(receive)
    try:
        yield told
    finally:
        signal.disconnect(receive)
