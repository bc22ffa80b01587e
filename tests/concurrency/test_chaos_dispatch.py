"""The broker is a hint: dropped, doubled and shuffled messages change nothing."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from django_durable import client
from django_durable.engine import worker
from django_durable.engine.tick import tick
from django_durable.models import Execution, Timer
from django_durable.testing.faults import Hint, LyingDispatcher
from tests.concurrency.together import LONGEST_SECONDS, together
from tests.invariants import check
from tests.ledger_app import programs
from tests.ledger_app.ledger import Ledger

THREADS = 3


@pytest.fixture(autouse=True)
def _lying(configure: Callable[..., None]) -> None:
    configure(DISPATCHER="django_durable.testing.faults.LyingDispatcher")
    LyingDispatcher.clear()


def _start_a_mixture(ledger: Ledger) -> None:
    for number in range(8):
        programs.plain.start(number)
        programs.atomic.start()
        programs.retried.start()
        programs.sleep.start(0.05)
        waiting = programs.signal.start()
        client.signal(waiting.id, "answer", number, signal_id="form")
        ledger.sent(waiting.id, "answer", "form")


def _deliver(hints: list[Hint]) -> Callable[[], None]:
    """What the Celery tasks do with a message."""

    def deliver() -> None:
        for what, about, _ in hints:
            if what == "wake":
                worker.advance_one(about, using="default")
            else:
                worker.drain(str(about), using="default", seconds=0.2)

    return deliver


def _play(*, copies: int, drop: float, seed: int) -> int:
    """Tick and deliver until nothing is open; how many messages were delivered. Bounded."""
    delivered, ends_at = 0, time.monotonic() + LONGEST_SECONDS
    rounds = random.Random(seed)
    while Timer.objects.exists():
        assert time.monotonic() < ends_at, f"still open with seed {seed}"
        hints = LyingDispatcher.take(copies=copies, drop=drop, seed=rounds.randrange(10**9))
        delivered += len(hints)
        outcomes = together(*[_deliver(hints[index::THREADS]) for index in range(THREADS)])
        assert outcomes == [None] * THREADS, outcomes
        tick(using="default")
    return delivered


@pytest.mark.slow
def test_with_every_wake_up_lost_the_tick_finishes_all(ledger: Ledger) -> None:
    _start_a_mixture(ledger)
    LyingDispatcher.clear()

    seed = random.randrange(10**9)
    _play(copies=1, drop=0.75, seed=seed)

    assert set(Execution.objects.values_list("status", flat=True)) == {"completed"}, seed
    assert check("default", ledger) == []


def test_without_a_single_message_polling_finishes_all(ledger: Ledger) -> None:
    """Every hint is dropped, the tick's too: what is left is a worker that drains now and then."""
    _start_a_mixture(ledger)

    ends_at = time.monotonic() + LONGEST_SECONDS
    while Timer.objects.exists():
        assert time.monotonic() < ends_at
        LyingDispatcher.clear()
        tick(using="default")
        worker.drain("default", using="default")

    assert set(Execution.objects.values_list("status", flat=True)) == {"completed"}
    assert check("default", ledger) == []


@pytest.mark.slow
def test_every_message_five_times_in_random_order_runs_nothing_twice(ledger: Ledger) -> None:
    """The ledger explains no second run: nothing was interrupted."""
    _start_a_mixture(ledger)

    seed = random.randrange(10**9)
    delivered = _play(copies=5, drop=0.0, seed=seed)

    assert delivered >= 5 * Execution.objects.count()
    assert set(Execution.objects.values_list("status", flat=True)) == {"completed"}, seed
    assert check("default", ledger) == [], seed
