"""An operator's process dies while it edits a history, or the worker that goes on from it does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest

from django_durable import client
from django_durable.engine import claims
from django_durable.exceptions import ExecutionConflict
from tests.crash.sweep import USING, Play, Scenario, Sweep, work
from tests.crash.test_crash_sweep import least, start
from tests.ledger_app import mending

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


def once_mended(decide: Callable[..., Any], *args: Any, **options: Any) -> Callable[[Play], None]:
    """The cause is gone, and a person gives one order; given again, it finds that it was carried out."""
    return partial(_decide, partial(decide, **options), args)


def _decide(decide: Callable[..., Any], args: tuple[Any, ...], play: Play) -> None:
    claims.release_dead(using=USING)  # whoever has died over it: it fails before somebody looks
    play.work()
    mending.mend(play.execution_id)
    with suppress(ExecutionConflict):
        decide(play.execution_id, *args, actor="ops")


STORIES = [
    Scenario(
        name="retry of a saga that was undone",
        workflow=mending.mended,
        acts=(start, work, once_mended(client.retry), work),
        ends=(("completed", "done"),),
        at_least=90,
    ),
    Scenario(
        name="retry from the first step",
        workflow=mending.mended,
        acts=(start, work, once_mended(client.retry, from_step=0), work),
        ends=(("completed", "done"),),
        at_least=90,
    ),
    Scenario(
        name="going back to the first step",
        workflow=mending.mended_left,
        acts=(start, work, once_mended(client.retry, from_step=0, compensate=True), work, work),
        ends=(("completed", "done"),),
        at_least=100,
    ),
    Scenario(
        name="going back with a compensation that needs a person",
        workflow=mending.mended_left_stuck,
        acts=(
            start,
            work,
            once_mended(client.retry, from_step="car", compensate=True),
            work,
            once_mended(client.retry_compensation),
            work,
            work,
        ),
        ends=(("completed", "done"),),
        at_least=110,
    ),
    Scenario(
        name="retry of a parent with its child",
        workflow=mending.mended_parent,
        acts=(start, work, work, once_mended(client.retry), work, work),
        ends=(("completed", ["done", "after"]),),
        at_least=110,
    ),
    Scenario(
        name="fork before what has failed",
        workflow=mending.mended,
        acts=(start, work, once_mended(client.fork, "car"), work),
        ends=(("failed", None),),
        at_least=90,
    ),
    Scenario(
        name="result by hand between two attempts",
        workflow=mending.mended_later,
        acts=(start, work, once_mended(client.patch_step, "later", "by hand"), work),
        ends=(("completed", "by hand"),),
        at_least=50,
    ),
]


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
def test_every_crash_is_recovered(sweep: Sweep, story: Scenario) -> None:
    assert sweep.run(story) >= least(story)
