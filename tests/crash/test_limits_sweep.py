"""Every database call of a story with limits is a place to die; slots are neither lost nor doubled by it."""

from __future__ import annotations

import pytest

from django_durable.models import Slot
from tests.crash.sweep import Scenario, Sweep, work
from tests.crash.test_crash_sweep import cancel, least, pytestmark, start
from tests.ledger_app import limited

__all__ = ["pytestmark"]

SCENARIOS = [
    Scenario(
        name="two children take turns at a limit",
        workflow=limited.turns,
        args=(2, 0.005),
        acts=(start, work, work, work, work),
        ends=(("completed", ["done", "done"]),),
        at_least=90,
    ),
    Scenario(
        name="cancelled while one holds a slot and one waits for it",
        workflow=limited.turns,
        args=(2, 600),
        acts=(start, work, cancel, work),
        ends=(("cancelled", None),),
        at_least=60,
    ),
    Scenario(
        name="two children at a rate",
        workflow=limited.spreads,
        acts=(start, work, work),
        ends=(("completed", ["done", "done"]),),
        at_least=60,
    ),
    Scenario(
        name="two children lend each other a slot",
        workflow=limited.lends,
        args=(2, 0.005),
        acts=(start, work, work, work, work, work),
        ends=(("completed", ["done", "done"]),),
        at_least=100,
    ),
    Scenario(
        name="steps of all kinds that need a slot",
        workflow=limited.steps_of_all_kinds,
        acts=(start, work),
        ends=(("completed", "done"),),
        at_least=60,
    ),
    Scenario(
        name="branches wait for each other's slot",
        workflow=limited.steps_beside,
        acts=(start, work, work),
        ends=(("completed", ["done"] * 3),),
        at_least=60,
        threads=2,
    ),
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_crash_at_a_limit_is_recovered(sweep: Sweep, scenario: Scenario) -> None:
    assert sweep.run(scenario) >= least(scenario)
    assert not Slot.objects.exists()
