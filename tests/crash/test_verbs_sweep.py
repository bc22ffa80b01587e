"""An operator who dies at any call, or whose worker does: the order was given whole, or not at all."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.engine.orders import VERBS
from django_durable.exceptions import ExecutionConflict
from django_durable.models import AuditEntry, Timer
from tests.crash.sweep import Play, Scenario, Sweep, least, work
from tests.ledger_app import programs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


def start(play: Play) -> None:
    play.start()


def answer(play: Play) -> None:
    play.send("answer", "yes", signal_id="answer yes")


def order(verb: str, *args: Any) -> partial[None]:
    """Give an order; asked again after a lost reply, it is refused because it was taken."""
    return partial(_order, verb, args)


def _order(verb: str, args: tuple[Any, ...], play: Play) -> None:
    try:
        getattr(client, verb)(play.execution_id, *args, actor="ops")
    except ExecutionConflict:
        assert VERBS[verb].done in set(AuditEntry.objects.about(play.execution_id).values_list("kind", flat=True))


def rest(play: Play) -> None:
    """Until no worker is on it, also not one that has died."""
    Timer.objects.filter(pk=play.execution_id).leased().update(due_at=DatabaseNow())
    work(play)


SCENARIOS = [
    Scenario(
        name="paused and resumed while it waits",
        workflow=programs.signal,
        acts=(start, work, order("pause"), answer, work, order("resume"), work),
        ends=(("completed", "yes"),),
        at_least=20,
    ),
    Scenario(
        name="paused before it begins",
        workflow=programs.sleep,
        args=(0.0,),
        acts=(start, order("pause"), work, order("resume"), work),
        ends=(("completed", "slept"),),
        at_least=20,
    ),
    Scenario(
        name="woken from a sleep",
        workflow=programs.sleep,
        args=(3600.0,),
        acts=(start, work, rest, order("wake_now"), work),
        ends=(("completed", "slept"),),
        at_least=15,
    ),
    Scenario(
        name="completed by hand",
        workflow=programs.signal,
        acts=(start, work, order("force_complete", "by hand")),
        ends=(("completed", "by hand"),),
        at_least=12,
    ),
    Scenario(
        name="failed by hand",
        workflow=programs.signal,
        acts=(start, work, order("force_fail", "no")),
        ends=(("failed", None),),
        at_least=12,
    ),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_database_call_is_a_place_to_die(sweep: Sweep, scenario: Scenario) -> None:
    assert sweep.run(scenario) >= least(scenario)
