"""Cancel, terminate and the loss of code against a worker in the middle of its pass."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.db import connection

from django_durable import Context, client, workflow
from django_durable.engine import claims, transitions, worker
from django_durable.exceptions import ExecutionClosedError
from django_durable.models import Execution, Step, Timer
from tests.concurrency.together import LONGEST_SECONDS, Gate, in_background, together
from tests.invariants import check
from tests.ledger_app import programs
from tests.ledger_app.ledger import Ledger
from tests.ledger_app.models import LedgerRow


def _work() -> int:
    return worker.drain("default", using="default")


def test_a_cancel_and_the_end_agree_on_who_was_first(ledger: Ledger) -> None:
    for number in range(20):
        execution = programs.plain.start(number)

        _, cancelled = together(_work, lambda: client.cancel(execution.id, reason="race"))  # noqa: B023
        _work()

        status = Execution.objects.get(pk=execution.id).status
        if isinstance(cancelled, ExecutionClosedError):
            assert status == "completed"
        else:
            assert cancelled is None, cancelled
            assert status in {"cancelled", "completed"}  # completed: the order came after its last durable call
    assert check("default", ledger) == []


@pytest.mark.parametrize("kind", ["ordinary", "atomic"])
def test_what_runs_when_it_is_terminated_is_not_recorded(ledger: Ledger, kind: str) -> None:
    if kind == "atomic" and connection.vendor == "sqlite":
        pytest.skip("SQLite: the transaction of an atomic step holds the only write lock, so nobody can terminate")
    gate = Gate()

    @programs.witnessed(atomic=kind == "atomic")
    def held() -> None:
        programs.insert() if kind == "atomic" else programs.effect()
        gate.pass_through()

    @workflow("race.held")
    def program(ctx: Context) -> None:
        ctx.step(held)
        ctx.step("never", programs.append)

    execution = program.start()
    with in_background(_work) as outcomes:
        assert gate.entered.wait(LONGEST_SECONDS)
        client.terminate(execution.id, reason="race", actor="ada")
        gate.opened.set()

    assert outcomes == [1]
    assert not Step.objects.filter(execution_id=execution.id).exists()
    assert not LedgerRow.objects.exists()
    assert Execution.objects.get(pk=execution.id).status == "terminated"
    ledger.interrupted(execution.id)
    assert check("default", ledger) == []


def test_a_worker_without_the_code_does_not_touch_what_another_one_finishes(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gives the execution back and says so; between the two, a worker that has the code may run it to its end."""
    execution = programs.plain.start(1)
    claim = claims.take(execution.id, using="default")
    row = client.get(execution.id)
    claim.refused_since = claim.now() - timedelta(hours=1)
    real = claims.refuse

    with ExitStack() as others:

        def refuse_and_let_others_work(claim: claims.Claim) -> bool:
            answer = real(claim)
            others.enter_context(in_background(_work))
            _let_it_try()
            return answer

        monkeypatch.setattr(claims, "LONGEST_BACKOFF_SECONDS", 0)
        monkeypatch.setattr(claims, "refuse", refuse_and_let_others_work)
        transitions.refuse(claim, row)
    _work()

    assert Execution.objects.get(pk=execution.id).status == "completed"
    assert check("default", ledger) == []


def _let_it_try() -> None:
    """Give the other worker half a second: enough to finish, unless a lock makes it wait for us."""
    ends_at = time.monotonic() + 0.5
    while Timer.objects.exists() and time.monotonic() < ends_at:
        time.sleep(0.01)
