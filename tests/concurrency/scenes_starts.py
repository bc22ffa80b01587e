"""Starts that meet: the same coalescing key twice, a claim between, a key that is taken over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from uuid import UUID

from django.db import transaction

from django_durable import Coalesce, client
from django_durable.clock import DatabaseNow
from django_durable.coalesce import Mode
from django_durable.engine.advance import advance
from django_durable.models import Execution, Timer
from tests.concurrency.interleaver import Act
from tests.concurrency.scenes import HOUR, Outcomes, Scene, _numbers, _take, _work
from tests.ledger_app import ledger, programs

Told = list[tuple[UUID, int, str]]  # execution, input and disposition of each start, in the order of their commits


def _policy(mode: Mode) -> Coalesce:
    key = f"feed:{next(_numbers)}"
    if mode == "debounce":
        return Coalesce.debounce(HOUR, key=key)
    if mode == "throttle":
        return Coalesce.throttle(HOUR, key=key)
    return Coalesce(mode=mode, key=key)


class _Feed:
    """Starts of one coalescing key; nothing of it is lost and nothing is begun twice."""

    def __init__(self, mode: Mode) -> None:
        self.mode, self.policy = mode, _policy(mode)
        self.told: Told = []
        self.ids: list[UUID] = []

    def start(self, number: int) -> Execution:
        with transaction.atomic():  # the caller's own
            run = programs.plain_item.using(coalesce=self.policy).start(number)
        self.told.append((run.id, number, run.disposition))
        self.ids += [] if run.id in self.ids else [run.id]
        return run

    def is_due(self) -> None:
        Timer.objects.filter(pk__in=self.ids, token=None).update(due_at=DatabaseNow())

    def scene(self, **acts: Act) -> Scene:
        return Scene(acts, {"completed"}, self.ids, self.agree, self.settled)

    def agree(self, _: Outcomes) -> Iterable[str]:
        executions = Execution.objects.filter(coalesce_key=self.policy.key)
        if executions.count() != 1:
            yield f"the key has {executions.count()} executions"
        begun = Execution.objects.filter(pk__in=self.ids).exclude(status="pending").count()
        if len(self.ids) - begun > 1:
            yield f"two of {self.ids} are pending"
        self.is_due()

    def settled(self, _: Outcomes) -> Iterable[str]:
        """Each one ran with the input of the first start that it is told for, or of the last."""
        for run_id in self.ids:
            mine = [(number, how) for found, number, how in self.told if found == run_id]
            if [how for _, how in mine] != ["new"] + ["coalesced"] * (len(mine) - 1):
                yield f"{run_id} was told as {mine}"
            ran = client.result(run_id, timeout=0)
            if ran != mine[0 if self.mode == "skip" else -1][0]:
                yield f"{run_id} ran with {ran}, told as {mine}"


def start_x_start(mode: Mode) -> Scene:
    feed = _Feed(mode)
    return feed.scene(caller=partial(feed.start, 1), other=partial(feed.start, 2))


def start_x_claim(mode: Mode) -> Scene:
    """It is due, and a worker comes for it."""
    feed = _Feed(mode)
    feed.start(1)
    if mode == "throttle":  # the first began at once
        _work()
        feed.start(2)
    feed.is_due()
    return feed.scene(worker=_work, caller=partial(feed.start, 3))


def start_x_start_after_the_claim() -> Scene:
    """Both find one that has begun: one of them starts anew, and the other one joins that."""
    feed = _Feed("replace")
    claim = _take(feed.start(1))
    scene = feed.scene(caller=partial(feed.start, 2), other=partial(feed.start, 3))
    agree = scene.agree

    def agreed(outcomes: Outcomes) -> Iterable[str]:
        advance(claim)
        if len(feed.ids) != 2:
            yield f"two starts after the first began are {len(feed.ids) - 1} executions"
        yield from agree(outcomes)

    scene.agree = agreed
    return scene


# -- keys ----------------------------------------------------------------------------------------------


def _anew(key: str, ids: list[UUID]) -> Execution:
    with transaction.atomic():  # the caller's own
        run = programs.item.using(key=key, if_failed="new").start(1)
    ledger.current().started(run.id, workflow=programs.item.name, key=key)
    ids += [] if run.id in ids else [run.id]
    return run


def _held(key: str, ids: list[UUID]) -> Iterable[str]:
    holders = list(Execution.objects.filter(key=key, key_scope=programs.item.name).values_list("pk", flat=True))
    if holders != ids[-1:]:
        yield f"the key is held by {holders}, the executions are {ids}"


def take_over_x_take_over() -> Scene:
    key = f"order:{next(_numbers)}"
    ids = [programs.item.using(key=key).start(0).id]
    _work()

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if sorted(run.disposition for run in outcomes.values()) != ["existing", "new"]:
            yield f"one key, and two answers: {outcomes}"
        yield from _held(key, ids)

    acts = {name: partial(_anew, key, ids) for name in ("caller", "other caller")}
    return Scene(acts, {"failed", "completed"}, ids, agree)


def take_over_x_end() -> Scene:
    """The one that has the key fails while another start with other input wants it: a conflict, or a new execution."""
    key = f"order:{next(_numbers)}"
    first = programs.item.using(key=key).start(0)
    ids, claim = [first.id], _take(first)

    def agree(outcomes: Outcomes) -> Iterable[str]:
        is_refused = isinstance(outcomes["caller"], Exception)
        if is_refused != (len(ids) == 1):
            yield f"the caller was told {outcomes['caller']!r}, the executions are {ids}"
        yield from _held(key, ids)

    acts: dict[str, Act] = {"worker": lambda: advance(claim), "caller": partial(_anew, key, ids)}
    return Scene(acts, {"failed", "completed"}, ids, agree)


PAIRS: dict[str, tuple[Callable[[], Scene], int]] = {
    "take-over x take-over": (take_over_x_take_over, 6),
    "take-over x end": (take_over_x_end, 4),
    "start x start after the claim": (start_x_start_after_the_claim, 6),
}
for _mode in ("skip", "replace", "debounce", "throttle"):
    PAIRS[f"{_mode} x {_mode}"] = (partial(start_x_start, _mode), 4)
    PAIRS[f"{_mode} x claim"] = (partial(start_x_claim, _mode), 4)
MORTAL = ["take-over x take-over", "replace x claim"]
