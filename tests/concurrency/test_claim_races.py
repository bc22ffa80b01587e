"""Many workers want the same work."""

from __future__ import annotations

import pytest

from django_durable.engine import claims, worker
from django_durable.models import Execution, Timer
from tests.concurrency.together import together
from tests.invariants import check
from tests.ledger_app import programs
from tests.ledger_app.ledger import Ledger

WORKERS = 8


def test_one_execution_is_claimed_by_one_worker() -> None:
    for _ in range(6):
        execution = programs.plain.start(1)

        outcomes = together(*[lambda: claims.take(execution.id, using="default")] * WORKERS)  # noqa: B023

        taken = [claim for claim in outcomes if claim is not None]
        assert len(taken) == 1, outcomes
        assert taken[0].timers().count() == 1


@pytest.mark.slow
def test_every_execution_is_advanced_once(ledger: Ledger) -> None:
    """The ledger allows one run of each step: no interruption is told to it."""
    executions = 200
    for _ in range(executions):
        programs.steps.start(2)

    passes = together(*[lambda: worker.drain("default", using="default", seconds=30)] * WORKERS)

    # A worker of SQLite may see another one win every one of its tries, and stop early; somebody else goes on.
    while Timer.objects.exists():
        passes.append(worker.drain("default", using="default"))
        assert passes[-1]
    assert sum(passes) == executions, passes
    assert Execution.objects.filter(status="completed").count() == executions
    assert check("default", ledger) == []
