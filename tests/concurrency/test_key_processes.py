"""Fifty processes want one key at one moment: there is one execution, and all of them are told the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from django_durable import Coalesce, client
from django_durable.engine import worker
from django_durable.models import Execution, Timer
from tests.concurrency.processes import Told, at_once
from tests.ledger_app import programs

CALLERS = 50

pytestmark = [
    pytest.mark.slow,
    # The watchdog of faulthandler is a thread; it runs no Python code and holds no lock.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


def _at_once(start: Callable[[int], Any]) -> list[Told]:
    def told(number: int) -> Told:
        run = start(number)
        return str(run.id), run.disposition

    return at_once(told, CALLERS)


def _assert_one(told: list[Told], *, new: str, others: str) -> str:
    assert Counter(how for _, how in told) == {new: 1, others: CALLERS - 1}, told
    (execution_id,) = {found for found, _ in told}
    return execution_id


@pytest.mark.django_db(transaction=True)
def test_one_key_is_one_execution() -> None:
    told = _at_once(lambda _: programs.item.using(key="order:7").start(1))

    _assert_one(told, new="new", others="existing")
    assert Execution.objects.count() == Timer.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_key_of_a_failed_one_goes_to_one_execution() -> None:
    failed = programs.item.using(key="order:7").start(0)
    worker.drain("default", using="default")

    told = _at_once(lambda _: programs.item.using(key="order:7", if_failed="new").start(1))

    execution_id = _assert_one(told, new="new", others="existing")
    assert str(failed.id) != execution_id
    assert list(Timer.objects.values_list("execution_id", flat=True)) == [client.get(execution_id).id]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("policy", [Coalesce.skip(key="7"), Coalesce.replace(key="7")], ids=lambda policy: policy.mode)
def test_one_coalescing_key_is_one_pending_execution(policy: Coalesce) -> None:
    told = _at_once(lambda number: programs.item.using(coalesce=policy).start(number + 1))

    _assert_one(told, new="new", others="coalesced")
    assert Execution.objects.count() == 1
