"""Many callers signal one key at one moment, and nobody has started it yet; many use one token."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from django_durable import client
from django_durable.engine import worker
from django_durable.exceptions import ExecutionClosedError, UsedTokenError
from django_durable.models import Execution, Signal, Timer
from tests.concurrency.together import together
from tests.invariants import check
from tests.ledger_app import programs
from tests.ledger_app.ledger import Ledger

CALLERS, ROUNDS = 8, 6


def _work() -> int:
    return worker.drain("default", using="default")


def _send(ledger: Ledger, key: str, payload: str, count: int) -> Any:
    def send() -> tuple[Any, bool]:
        prepared = programs.signals.using(key=key).prepare(count)
        execution, is_new = client.signal_with_start(prepared, "answer", payload, signal_id=payload)
        ledger.started(execution.id, workflow=programs.signals.name, key=key)
        ledger.sent(execution.id, "answer", payload)
        return execution.id, is_new

    return send


def test_one_key_gives_one_execution_and_every_signal_is_kept(ledger: Ledger) -> None:
    for number in range(ROUNDS):
        outcomes = together(*[_send(ledger, f"cart:{number}", str(sender), CALLERS) for sender in range(CALLERS)])

        (execution_id,) = {outcome[0] for outcome in outcomes}
        assert [is_new for _, is_new in outcomes].count(True) == 1, outcomes
        client.signal(execution_id, "last", "bye")
        _work()
        *answers, _ = client.result(execution_id, timeout=0)
        assert sorted(answers) == [str(sender) for sender in range(CALLERS)]
    assert Execution.objects.count() == ROUNDS
    assert check("default", ledger) == []


@pytest.mark.slow
def test_a_signal_with_start_and_the_end_agree_on_who_was_first(ledger: Ledger) -> None:
    """Accepted before the end and kept, or told that the execution of that key has ended; never a second execution."""
    for number in range(20):
        key = f"order:{number}"
        programs.plain.using(key=key).start(number)
        prepared = programs.plain.using(key=key).prepare(number)

        _, sent = together(_work, lambda: client.signal_with_start(prepared, "late", number))  # noqa: B023
        _work()

        kept = Signal.objects.filter(execution__key=key).count()
        if isinstance(sent, ExecutionClosedError):
            assert (kept, sent.key) == (0, key)
        else:
            assert (kept, sent[1]) == (1, False), sent
        assert Execution.objects.get(key=key).status == "completed"
    assert not Timer.objects.exists()
    assert check("default", ledger) == []


def test_one_token_is_used_once(ledger: Ledger) -> None:
    execution = programs.by_token.start()
    _work()
    token = ledger.token(execution.id)
    assert token is not None

    outcomes = together(*[lambda: client.signal_by_token(token, "answer", "yes")] * CALLERS)

    refused = [outcome for outcome in outcomes if isinstance(outcome, UsedTokenError)]
    assert (outcomes.count(execution.id), len(refused)) == (1, CALLERS - 1), outcomes
    assert Signal.objects.count() == 1
    _work()
    assert client.result(execution.id, timeout=timedelta(0)) == "yes"
    assert check("default", ledger) == []
