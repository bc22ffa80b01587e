"""Actors in every order of their calls to the database: a proof for these scenes, not a sample. And three at random."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from django.db import connection

from django_durable.clock import DatabaseNow
from django_durable.engine import heartbeat, worker
from django_durable.exceptions import ExecutionConflict, UsedTokenError
from django_durable.models import Execution, Timer
from tests.concurrency import scenes
from tests.concurrency.conftest import SCHEDULES
from tests.concurrency.interleaver import Act, Died, Exploration, interleaver
from tests.concurrency.scenes import Outcomes, Scene
from tests.invariants import check
from tests.ledger_app.ledger import Ledger
from tests.ledger_app.receivers import receiving

SECONDS = 60.0  # per scene; each needs a fraction of it
FORGET_AFTER = 25
SAMPLES = int(os.environ.get("DURABLE_TEST_SCHEDULES", "60"))  # random orders per scene of three
SEED = int(os.environ.get("DURABLE_TEST_SEED", "0")) or random.randrange(1, 10**9)

# The scene, and how many orders it has at the least: fewer would mean that the actors no longer meet. A signal, a start
# and an end are one statement on PostgreSQL, so two signals have two orders there; on SQLite all that writes has two.
PAIRS: dict[str, tuple[Callable[[], Scene], int]] = {
    "park x signal": (scenes.park_x_signal, 5),
    "park branches x signal": (scenes.park_branches_x_signal, 5),
    "park x timer": (scenes.park_x_timer, 12),
    "park x cancel": (scenes.park_x_cancel, 5),
    "park x deadline": (scenes.park_x_deadline, 5),
    "park x terminate": (scenes.park_x_terminate, 5),
    "finish x signal": (scenes.finish_x_signal, 5),
    "finish x cancel": (scenes.finish_x_cancel, 12),
    "finish x terminate": (scenes.finish_x_terminate, 6),
    "atomic step x terminate": (scenes.atomic_step_x_terminate, 10),
    "rollback x cancel": (scenes.rollback_x_cancel, 20),
    "rollback x terminate": (scenes.rollback_x_terminate, 6),
    "retry x skip": (scenes.retry_x_skip, 6),
    "claim x claim": (scenes.claim_x_claim, 8),
    "claim x lease expiry": (scenes.claim_x_lease_expiry, 20),
    "claim x tick": (scenes.claim_x_tick, 12),
    "heartbeat x reclaim": (scenes.heartbeat_x_reclaim, 8),
    "time-out x signal": (scenes.timeout_x_signal, 8),
    "start x start": (scenes.start_x_start, 4),
    "signal with start x signal with start": (scenes.signal_with_start_x_signal_with_start, 4),
    "signal with start x worker": (scenes.signal_with_start_x_worker, 4),
    "token x token": (scenes.token_x_token, 6),
    "tick x tick": (scenes.tick_x_tick, 6),
    "signal x signal": (scenes.signal_x_signal, 2),
}
DELIVERING: dict[str, tuple[Callable[[], Scene], int]] = {
    "deliver x deliver": (scenes.deliver_x_deliver, 6),
    "deliver x lease expiry": (scenes.deliver_x_lease_expiry, 6),
}
MORTAL = ["park x signal", "finish x signal", "atomic step x terminate", "retry x skip", "claim x claim"]
TRIOS: dict[str, Callable[[], Scene]] = {
    "signal x zombie x worker": scenes.signal_x_zombie_x_worker,
    "signal x signal x worker": scenes.signal_x_signal_x_worker,
    "cancel x signal x worker": scenes.cancel_x_signal_x_worker,
    "terminate x zombie x worker": scenes.terminate_x_zombie_x_worker,
}


class _Stage:
    """Plays one scene again and again."""

    def __init__(self, set_up: Callable[[], Scene], ledger: Ledger) -> None:
        self._set_up, self._ledger = set_up, ledger
        self._plays = 0
        self.scene: Scene

    def play(self) -> dict[str, Act]:
        """Set up; both witnesses forget from time to time, because they are read whole after each run."""
        self._ledger.path.write_text("")
        self._plays += 1
        if self._plays % FORGET_AFTER == 0:
            Execution.objects.all().delete()
        self.scene = self._set_up()
        return self.scene.acts

    def judge(self, outcomes: Outcomes) -> list[str]:
        scene, dead = self.scene, [name for name, outcome in outcomes.items() if isinstance(outcome, Died)]
        wrong = [repr(error) for error in outcomes.values() if isinstance(error, Exception) and not _is_refusal(error)]
        if not dead:
            wrong += scene.agree(outcomes)
        for name in dead:
            self._recover(name)
        for gone in Execution.objects.filter(pk__in=scene.ids, status="terminated"):
            self._ledger.interrupted(gone.pk)
        worker.drain("default", using="default")
        if not dead:
            wrong += scene.settled(outcomes)
        ends = set(Execution.objects.filter(pk__in=scene.ids).values_list("status", flat=True))
        if not ends or not ends <= scene.ends:
            wrong.append(f"ended as {ends}")
        return wrong + check("default", self._ledger, only=scene.ids)

    def _recover(self, name: str) -> None:
        """A worker's lease runs out; a caller who got no answer asks again."""
        if name.endswith("worker"):
            for execution_id in self.scene.ids:
                self._ledger.interrupted(execution_id)
            Timer.objects.filter(execution_id__in=self.scene.ids).leased().update(due_at=DatabaseNow())
            return
        with suppress(ExecutionConflict):
            self.scene.acts[name]()


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, ExecutionConflict | UsedTokenError)


@contextmanager
def _no_thread(claim: object) -> Iterator[None]:
    """A heartbeat by the clock would make an actor unpredictable; "heartbeat x reclaim" has it as an actor."""
    yield


@pytest.fixture(autouse=True)
def _no_heartbeat_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "keep", _no_thread)


def _judged(ledger: Ledger, title: str, set_up: Callable[[], Scene], explore: Callable[..., Exploration]) -> Any:
    stage = _Stage(set_up, ledger)
    with interleaver() as orders:
        explored = explore(orders, stage.play, stage.judge)
    SCHEDULES[title] = explored.schedules
    assert explored.findings == []
    return explored


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_in_every_order(ledger: Ledger, pair: str) -> None:
    set_up, fewest = PAIRS[pair]

    explored = _judged(ledger, pair, set_up, lambda orders, *play: orders.explore(*play, seconds=SECONDS))

    assert explored.is_complete, f"{explored.schedules} orders in {SECONDS:.0f} s were not all"
    assert explored.schedules >= (2 if connection.vendor == "sqlite" else fewest)


@pytest.mark.slow
@pytest.mark.parametrize("pair", DELIVERING)
def test_deliveries_in_every_order(ledger: Ledger, pair: str) -> None:
    set_up, fewest = DELIVERING[pair]

    with receiving(failing=False):
        explored = _judged(ledger, pair, set_up, lambda orders, *play: orders.explore(*play, seconds=SECONDS))

    assert explored.is_complete, f"{explored.schedules} orders in {SECONDS:.0f} s were not all"
    assert explored.schedules >= (2 if connection.vendor == "sqlite" else fewest)


@pytest.mark.slow
@pytest.mark.parametrize("pair", MORTAL)
def test_in_every_order_with_one_death_at_every_place(ledger: Ledger, pair: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("deaths at every place are explored on PostgreSQL")
    set_up, fewest = PAIRS[pair]

    explored = _judged(
        ledger, f"{pair}, one dies", set_up, lambda orders, *play: orders.explore(*play, seconds=SECONDS, deaths=1)
    )

    assert explored.is_complete, f"{explored.schedules} orders in {SECONDS:.0f} s were not all"
    assert explored.schedules >= 2 * fewest


@pytest.mark.slow
@pytest.mark.parametrize("deaths", [0, 1], ids=["all live", "one may die"])
@pytest.mark.parametrize("trio", TRIOS)
def test_three_in_random_orders(ledger: Ledger, trio: str, deaths: int) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("three actors are sampled on PostgreSQL")
    print(f"{trio}: DURABLE_TEST_SEED={SEED}")
    explored = _judged(
        ledger,
        f"{trio}{', one may die' if deaths else ''}, seed {SEED}",
        TRIOS[trio],
        lambda orders, *play: orders.sample(*play, schedules=SAMPLES, seed=SEED, deaths=deaths),
    )

    assert explored.schedules == SAMPLES
