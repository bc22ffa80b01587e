"""A signal against a worker that is about to park, and against other signals."""

from __future__ import annotations

import pytest

from django_durable import client
from django_durable.engine import worker
from django_durable.exceptions import ExecutionClosedError
from django_durable.models import Execution, Signal
from tests.concurrency.together import together
from tests.invariants import check
from tests.ledger_app import programs
from tests.ledger_app.ledger import Ledger


def _work() -> int:
    return worker.drain("default", using="default")


def _send(ledger: Ledger, execution_id: object, name: str, payload: object) -> None:
    client.signal(execution_id, name, payload, signal_id=str(payload))
    ledger.sent(execution_id, name, str(payload))


@pytest.mark.slow
def test_a_signal_is_never_lost_to_a_park(ledger: Ledger) -> None:
    for number in range(40):
        execution = programs.signal.start()

        outcomes = together(_work, lambda: _send(ledger, execution.id, "answer", number))  # noqa: B023
        _work()

        assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
        assert client.result(execution.id, timeout=0) == number
    assert check("default", ledger) == []


def test_signals_are_consumed_in_the_order_of_acceptance(ledger: Ledger) -> None:
    senders, each = 4, 10
    execution = programs.signals.start(senders * each)
    client.signal(execution.id, "last", "bye")

    def send(sender: int) -> None:
        for number in range(each):
            _send(ledger, execution.id, "answer", f"{sender}-{number}")

    outcomes = together(_work, *[lambda sender=sender: send(sender) for sender in range(senders)])
    _work()

    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
    *answers, _ = client.result(execution.id, timeout=0)
    assert len(set(answers)) == senders * each
    for sender in range(senders):
        mine = [answer for answer in answers if answer.startswith(f"{sender}-")]
        assert mine == [f"{sender}-{number}" for number in range(each)]
    assert check("default", ledger) == []


def test_a_signal_and_the_end_agree_on_who_was_first(ledger: Ledger) -> None:
    """Either it was accepted and is kept, or the sender is told that the execution is closed."""
    for number in range(20):
        execution = programs.plain.start(number)

        _, sent = together(_work, lambda: client.signal(execution.id, "late", number))  # noqa: B023
        _work()

        kept = Signal.objects.filter(execution_id=execution.id).count()
        assert (sent is True and kept == 1) or (isinstance(sent, ExecutionClosedError) and kept == 0), sent
        assert Execution.objects.get(pk=execution.id).status == "completed"
    assert check("default", ledger) == []


def test_one_signal_id_is_accepted_once(ledger: Ledger) -> None:
    execution = programs.signals.start(1)

    outcomes = together(*[lambda: client.signal(execution.id, "answer", "yes", signal_id="form 7")] * 6)

    assert sorted(outcomes) == [False] * 5 + [True]
    assert Signal.objects.count() == 1
    _work()
    assert check("default", ledger) == []
