"""Actors in every order of their calls to the database: a proof for these scenes. And three at random.

A scene with more orders than the gate has time for plays the first of them, then others by chance: a sample, the same
in every run. ``DURABLE_TEST_ORDERS=100000`` plays all, as ``make storm LONG=1`` does.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from django.db import connection

from django_durable.clock import DatabaseNow
from django_durable.engine import chores, heartbeat, slots, worker
from django_durable.engine.webhooks import sending
from django_durable.exceptions import DeliveryConflict, ExecutionConflict, UsedTokenError
from django_durable.models import AuditEntry, Delivery, Execution, Timer
from tests.concurrency import (
    scenes,
    scenes_edits,
    scenes_feed,
    scenes_health,
    scenes_limits,
    scenes_retention,
    scenes_schedule_edits,
    scenes_schedules,
    scenes_starts,
    scenes_step_limits,
    scenes_telling,
    scenes_verbs,
)
from tests.concurrency.conftest import SCHEDULES
from tests.concurrency.interleaver import Act, Died, Exploration, Interleaver, Judge, Play, interleaver
from tests.concurrency.scenes import Outcomes, Scene
from tests.invariants import check
from tests.ledger_app.ledger import Ledger
from tests.ledger_app.receivers import receiving
from tests.telling import EVERYTHING

# Orders of one scene, at the most, and then half as many by chance. PostgreSQL plays most: it has the finest locks.
MOST = int(os.environ.get("DURABLE_TEST_ORDERS") or {"postgresql": 40, "mysql": 24, "sqlite": 24}[connection.vendor])
FORGET_AFTER = 25
ENDS_BY_HAND = ("terminated", "force_failed", "force_completed")  # a body that runs then is not recorded
SAMPLES = int(os.environ.get("DURABLE_TEST_SCHEDULES", "8"))  # random orders per scene of three
SEED = int(os.environ.get("DURABLE_TEST_SEED", "2026")) or random.randrange(1, 10**9)  # 0: another one in each run

# The scene, and how many orders it has at the least: fewer would mean that the actors no longer meet. A signal, a start
# and an end are one statement on PostgreSQL, so two signals have two orders there; on SQLite all that writes has two.
PAIRS: dict[str, tuple[Callable[[], Scene], int]] = {
    "park x signal": (scenes.park_x_signal, 5),
    "park branches x signal": (scenes.park_branches_x_signal, 5),
    "park x update": (scenes.park_x_update, 5),
    "close x update": (scenes.close_x_update, 5),
    "update x the same update": (scenes.same_update_x_same_update, 2),
    "park x timer": (scenes.park_x_timer, 12),
    "park x cancel": (scenes.park_x_cancel, 5),
    "park x deadline": (scenes.park_x_deadline, 5),
    "park x terminate": (scenes.park_x_terminate, 5),
    "finish x signal": (scenes.finish_x_signal, 5),
    "finish x cancel": (scenes.finish_x_cancel, 12),
    "finish x terminate": (scenes.finish_x_terminate, 6),
    "atomic step x terminate": (scenes.atomic_step_x_terminate, 10),
    "continue x signal": (scenes.continue_x_signal, 8),
    "continue x cancel": (scenes.continue_x_cancel, 8),
    "continue x terminate": (scenes.continue_x_terminate, 6),
    "continue x parent's end": (scenes.continue_x_parent_end, 8),
    "continue x parent parks": (scenes.continue_x_parent_park, 8),
    "continue x start": (scenes.continue_x_start, 4),
    "continue x signal with start": (scenes.continue_x_signal_with_start, 6),
    "continue x lease expiry": (scenes.continue_x_lease_expiry, 8),
    "rollback x cancel": (scenes.rollback_x_cancel, 20),
    "rollback x terminate": (scenes.rollback_x_terminate, 6),
    "retry x skip": (scenes.retry_x_skip, 6),
    "park x child's end": (scenes.park_x_child_end, 8),
    "cancelled parent x child's end": (scenes.cancel_x_child_end, 8),
    "terminated parent x child's end": (scenes.terminate_x_child_end, 6),
    "terminated parent x child's start": (scenes.terminate_x_child_start, 6),
    "last child x last child": (scenes.last_child_x_last_child, 2),
    "park x last child": (scenes.park_x_last_child, 8),
    "child's turn x cancel": (scenes.turn_x_cancel, 6),
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
    **scenes_verbs.PAIRS,
    **scenes_starts.PAIRS,
    **{f"edits: {pair}": scene for pair, scene in scenes_edits.PAIRS.items()},
    "reader x late writer": (scenes_feed.reader_x_late_writer, 12),
    "number x number": (scenes_feed.number_x_number, 6),
    "reader x end": (scenes_feed.reader_x_end, 8),
    **scenes_retention.PAIRS,
    **scenes_schedule_edits.PAIRS,
    **scenes_schedules.PAIRS,
    "arrival x arrival at a limit": (scenes_limits.arrival_x_arrival, 6),
    "arrival at a limit x cancel": (scenes_limits.arrival_x_cancel, 6),
    "arrival at a limit x pause": (scenes_limits.arrival_x_pause, 6),
    "arrival at a limit x change deadline": (scenes_limits.arrival_x_deadline, 6),
    **scenes_step_limits.PAIRS,
}
DELIVERING: dict[str, tuple[Callable[[], Scene], int]] = {
    "deliver x deliver": (scenes.deliver_x_deliver, 6),
    "deliver x lease expiry": (scenes.deliver_x_lease_expiry, 6),
    "deliver x retry by hand": (scenes.deliver_x_retry, 4),
    "emit x cancel": (scenes.emit_x_cancel, 8),
    "emit x terminate": (scenes.emit_x_terminate, 6),
}
TELLING: dict[str, tuple[Callable[[], Scene], int]] = {
    "talk x signal": (scenes_telling.talk_x_signal, 5),
    "talk x terminate": (scenes_telling.talk_x_terminate, 6),
    "talk x cancel": (scenes_telling.talk_x_cancel, 8),
}
SENDING: dict[str, tuple[Callable[[], Scene], int]] = {
    "route x route": (scenes_feed.route_x_route, 4),
    "route x late writer": (scenes_feed.route_x_late_writer, 6),
    "send x send": (scenes_feed.send_x_send, 6),
}
MORTAL = [
    "park x signal",
    "park x update",
    "finish x signal",
    "atomic step x terminate",
    "retry x skip",
    "last child x last child",
    "claim x claim",
    *scenes_starts.MORTAL,
    *scenes_schedules.MORTAL,
    "number x number",
]
TRIOS: dict[str, Callable[[], Scene]] = {
    "signal x zombie x worker": scenes.signal_x_zombie_x_worker,
    "signal x signal x worker": scenes.signal_x_signal_x_worker,
    "cancel x signal x worker": scenes.cancel_x_signal_x_worker,
    "update x update x worker": scenes.update_x_update,
    "update x cancel x worker": scenes.update_x_cancel,
    "park x last children": scenes.park_x_last_children,
    # Two actors each, and more orders than a minute is enough for.
    "cancelled map x child's end": scenes.cancelled_map_x_child_end,
    "terminated map x child's end": scenes.terminated_map_x_child_end,
    "retried child x parent": scenes_edits.retry_child_x_parent,
    "race x signal x worker": scenes.race_x_signal,
    "terminate x zombie x worker": scenes.terminate_x_zombie_x_worker,
    "reader x writer x writer": scenes_feed.reader_x_writers,
    "presence x presence": scenes_health.say_x_say,
    "end x arrival at a limit": scenes_limits.end_x_arrival,
    "end x end at a limit": scenes_limits.end_x_end,
    "end x terminated waiter": scenes_limits.end_x_terminate,
    "end x cancelled waiter": scenes_limits.end_x_cancel,
    "terminated holder x arrival": scenes_limits.terminate_x_arrival,
    "newer x end": scenes_limits.newer_x_end,
    "rate x rate": scenes_limits.rate_x_rate,
    "older x newer": scenes_limits.older_x_newer,
    **scenes_step_limits.SAMPLED,
    **scenes_retention.SAMPLED,
    **scenes_schedule_edits.SAMPLED,
    **scenes_schedules.SAMPLED,
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
        by_hand = AuditEntry.objects.filter(execution_id__in=scene.ids, kind__in=ENDS_BY_HAND)
        for gone in by_hand.values_list("execution_id", flat=True):
            self._ledger.interrupted(gone)
        slots.mend(using="default")
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
            deliveries = Delivery.objects.filter(event__execution_id__in=self.scene.ids, status="pending")
            deliveries.update(due_at=DatabaseNow())
            return
        with suppress(ExecutionConflict):
            self.scene.acts[name]()


def _is_refusal(error: Exception) -> bool:
    return isinstance(error, DeliveryConflict | ExecutionConflict | UsedTokenError)


@contextmanager
def _no_thread(claim: object) -> Iterator[None]:
    """A heartbeat by the clock would make an actor unpredictable; "heartbeat x reclaim" has it as an actor."""
    yield


@pytest.fixture(autouse=True)
def _nothing_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """No heartbeat, and no chore of the tick once a minute."""
    monkeypatch.setattr(heartbeat, "keep", _no_thread)
    monkeypatch.setattr(chores, "do_due", lambda using: None)


def _judged(
    ledger: Ledger, title: str, set_up: Callable[[], Scene], explore: Callable[..., Exploration]
) -> Exploration:
    stage = _Stage(set_up, ledger)
    with interleaver() as orders:
        explored = explore(orders, stage.play, stage.judge)
    SCHEDULES[title] = explored
    assert explored.findings == []
    return explored


def _explored(ledger: Ledger, title: str, set_up: Callable[[], Scene], *, deaths: int = 0) -> Exploration:
    """Every order, or as many as there is time for."""

    def explore(orders: Interleaver, play: Play, judge: Judge) -> Exploration:
        first = orders.explore(play, judge, most=MOST, deaths=deaths)
        if first.is_complete or first.findings:
            return first
        drawn = orders.sample(play, judge, schedules=MOST // 2, seed=SEED, deaths=deaths)
        return Exploration(first.schedules + drawn.schedules, findings=drawn.findings)

    return _judged(ledger, title, set_up, explore)


def _in_every_order(ledger: Ledger, pair: str, scene: tuple[Callable[[], Scene], int]) -> None:
    set_up, fewest = scene
    explored = _explored(ledger, pair, set_up)

    assert explored.schedules >= (2 if connection.vendor == "sqlite" else fewest)


@pytest.mark.slow
@pytest.mark.parametrize("pair", PAIRS)
def test_in_every_order(ledger: Ledger, pair: str) -> None:
    _in_every_order(ledger, pair, PAIRS[pair])


@pytest.mark.slow
@pytest.mark.parametrize("pair", DELIVERING)
def test_deliveries_in_every_order(ledger: Ledger, pair: str) -> None:
    with receiving(failing=False):
        _in_every_order(ledger, pair, DELIVERING[pair])


@pytest.mark.slow
@pytest.mark.parametrize("pair", TELLING)
def test_what_is_told_in_every_order(ledger: Ledger, configure: Callable[..., None], pair: str) -> None:
    configure(**EVERYTHING)
    _in_every_order(ledger, pair, TELLING[pair])


@pytest.mark.slow
@pytest.mark.parametrize("pair", SENDING)
def test_webhooks_in_every_order(ledger: Ledger, pair: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "post", lambda *_: None)
    _in_every_order(ledger, pair, SENDING[pair])


@pytest.mark.slow
@pytest.mark.parametrize("deaths", [0, 1], ids=["all live", "one may die"])
def test_what_a_late_worker_tells_in_random_orders(ledger: Ledger, configure: Callable[..., None], deaths: int) -> None:
    """More orders than a minute is enough for."""
    if connection.vendor != "postgresql":
        pytest.skip("orders are sampled on PostgreSQL")
    configure(**EVERYTHING)
    explored = _judged(
        ledger,
        f"talk x lease expiry{', one may die' if deaths else ''}, seed {SEED}",
        scenes_telling.talk_x_lease_expiry,
        lambda orders, *play: orders.sample(*play, schedules=SAMPLES, seed=SEED, deaths=deaths),
    )

    assert explored.schedules == SAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("pair", MORTAL)
def test_in_every_order_with_one_death_at_every_place(ledger: Ledger, pair: str) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("deaths at every place are explored on PostgreSQL")
    set_up, fewest = PAIRS[pair]

    explored = _explored(ledger, f"{pair}, one dies", set_up, deaths=1)

    assert explored.schedules >= 2 * fewest


@pytest.mark.slow
def test_deliveries_in_every_order_with_one_death_at_every_place(ledger: Ledger) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("deaths at every place are explored on PostgreSQL")
    set_up, fewest = DELIVERING["deliver x deliver"]

    with receiving(failing=False):
        explored = _explored(ledger, "deliver x deliver, one dies", set_up, deaths=1)

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
