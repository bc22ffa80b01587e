"""Many callers start with one key at one moment."""

from __future__ import annotations

from django_durable.exceptions import ExecutionConflict
from django_durable.models import Execution, Timer
from tests.concurrency.together import together
from tests.invariants import check
from tests.ledger_app import programs
from tests.ledger_app.ledger import Ledger

CALLERS, ROUNDS = 8, 6


def _start(key: str, number: int):
    return lambda: programs.plain.using(key=key).start(number).id


def test_one_key_and_one_input_give_one_execution(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        ids = together(*[_start(f"order:{number}", number)] * CALLERS)

        assert len(set(ids)) == 1, ids
        ledger.started(ids[0], workflow=programs.plain.name, key=f"order:{number}")
    assert Execution.objects.count() == Timer.objects.count() == ROUNDS
    assert check("default", ledger) == []


def test_one_key_and_two_inputs_give_one_execution_and_conflicts() -> None:
    for round_ in range(ROUNDS):
        outcomes = together(*[_start(f"order:{round_}", number % 2) for number in range(CALLERS)])

        refused = [outcome for outcome in outcomes if isinstance(outcome, ExecutionConflict)]
        started = {outcome for outcome in outcomes if not isinstance(outcome, Exception)}
        assert (len(refused), len(started)) == (CALLERS // 2, 1), outcomes
    assert Execution.objects.count() == Timer.objects.count() == ROUNDS
