"""Keys that are taken over, starts that are coalesced and batches: every database call of theirs is a place to die."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from django_durable import Coalesce, ExecutionConflict, client
from django_durable.models import Execution
from tests.crash.sweep import Play, Scenario, Sweep, work
from tests.crash.test_crash_sweep import least, pytestmark
from tests.ledger_app import programs

__all__ = ["pytestmark"]  # slow, and forks
PERIOD = 0.03


def _named(act: Callable[..., None], name: str) -> Callable[[Play], None]:
    act.__name__ = name  # type: ignore[attr-defined]
    return act


def fail(play: Play) -> None:
    programs.item.using(key=play.key).start(0)


def anew(play: Play) -> None:
    """As long as the first has not failed it keeps its key."""
    try:
        _anew(play)
    except ExecutionConflict:
        play.finish()
        _anew(play)


def _anew(play: Play) -> None:
    run = programs.item.using(key=play.key, if_failed="new").start(1)
    play.ledger.started(run.id, workflow=programs.item.name, key=play.key)


def feed(policy: Callable[..., Coalesce], number: int) -> Callable[[Play], None]:
    """Asked again after a lost reply, it joins what it began."""

    def start(play: Play) -> None:
        coalesce = policy(key=play.key)
        programs.plain_item.using(coalesce=coalesce, labels={"play": play.key}).start(number)

    return _named(start, f"feed {number}")


def batch(play: Play) -> None:
    keys = (play.key, f"{play.key}-2", f"{play.key}-3")
    starts = [programs.item.using(key=key, labels={"play": play.key}).prepare(1) for key in keys]
    outcomes = client.start_many([*starts, starts[0]])
    assert outcomes[3].execution is not None
    for key, outcome in zip(keys, outcomes[:3], strict=True):
        assert outcome.execution is not None
        play.ledger.started(outcome.execution.id, workflow=programs.item.name, key=key)


def ran(*allowed: list[int]) -> Callable[[Play], None]:
    """What has run in the end, in the order of the starts."""

    def look(play: Play) -> None:
        play.finish()
        runs = Execution.objects.filter(pk__in=play.family(), status="completed").order_by("pk")
        found = [client.result(run, timeout=0) for run in runs]
        assert found in list(allowed), f"ran with {found}"

    return _named(look, "look")


debounce = partial(Coalesce.debounce, PERIOD)
throttle = partial(Coalesce.throttle, PERIOD)
STORIES = [
    Scenario(
        name="key of a failed one is taken over",
        workflow=programs.item,
        acts=(fail, work, anew, work, ran([1])),
        ends=(("failed", None),),
        at_least=60,
    ),
    Scenario(
        name="pending start is replaced, and what has begun is not",
        workflow=programs.plain_item,
        # A worker that dies before its claim has not begun: then the last start joins the first.
        acts=(feed(Coalesce.replace, 1), feed(Coalesce.replace, 2), work, feed(Coalesce.replace, 3), ran([2, 3], [3])),
        ends=(("completed", 2), ("completed", 3)),
        at_least=50,
    ),
    Scenario(
        name="starts are debounced",
        workflow=programs.plain_item,
        acts=(feed(debounce, 1), feed(debounce, 2), work, ran([2])),
        ends=(("completed", 2),),
        at_least=36,
    ),
    Scenario(
        name="starts are throttled",
        workflow=programs.plain_item,
        acts=(feed(throttle, 1), work, feed(throttle, 2), feed(throttle, 3), work, ran([1, 3], [3], [1, 2, 3])),
        ends=(("completed", 1), ("completed", 3)),
        at_least=50,
    ),
    Scenario(
        name="batch with keys",
        workflow=programs.item,
        acts=(batch, work, ran([1, 1, 1])),
        ends=(("completed", 1),),
        at_least=40,
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_every_crash_of_a_start_is_recovered(sweep: Sweep, story: Scenario) -> None:
    assert sweep.run(story) >= least(story)
