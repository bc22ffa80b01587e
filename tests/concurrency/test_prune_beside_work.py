"""Pruning while workers work: every invariant holds, all that is expired goes, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest

from django_durable import client
from django_durable.engine import retention, worker
from django_durable.engine.retention import Wanted
from django_durable.models import Execution, Step, Timer
from tests.concurrency.together import together
from tests.invariants import check
from tests.ledger_app import programs
from tests.ledger_app.ledger import Ledger
from tests.models import rows

LATER = rows.AT + rows.HOUR


def _expired(number: int) -> None:
    parent = rows.closed(workflow=f"old.{number % 3}", status=("completed", "failed")[number % 2])
    child = rows.closed(workflow="old.child", parent=parent)
    for execution in (parent, child):
        rows.step(execution)
        rows.signal(execution)


def _work() -> None:
    while worker.drain("default", using="default"):
        pass


def _prune() -> int:
    deleted = 0
    while (batch := retention.prune(Wanted(before=LATER), size=7, using="default")).deleted or not batch.is_last:
        deleted += batch.deleted
    return deleted


@pytest.mark.slow
def test_workers_and_prunes_do_not_notice_each_other(ledger: Ledger) -> None:
    for number in range(40):
        _expired(number)
    runs: list[Any] = [program.start() for program in (programs.parent_of_one, programs.signal) for _ in range(10)]
    for run in runs[10:]:
        client.signal(run.id, "answer", "yes", signal_id="one")
        ledger.sent(run.id, "answer", "one")

    outcomes = together(_work, _work, _prune, _prune)
    _work()
    deleted = sum(outcomes[2:]) + _prune()

    assert deleted == 80
    assert not Execution.objects.filter(workflow__startswith="old.").exists()
    assert not Step.objects.exclude(execution__in=Execution.objects.all()).exists()
    assert set(Execution.objects.values_list("status", flat=True)) == {"completed"}
    assert not Timer.objects.exists()
    assert check("default", ledger) == []
