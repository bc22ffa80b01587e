"""The worker dies between any two calls: what is recorded is told once, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest

from django_durable.models import LogLine
from tests import invariants
from tests.crash import sweep as sweeping
from tests.crash.sweep import Scenario, Sweep, work
from tests.crash.test_crash_sweep import answer, least, start
from tests.ledger_app import programs
from tests.telling import EVERYTHING, untold

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]
SCENARIOS = [
    Scenario(
        name="everything that is told, and lines",
        workflow=programs.talks,
        acts=(start, work, work, answer("yes"), work),
        ends=(("completed", "yes"),),
        at_least=60,
    ),
    Scenario(
        name="everything that is told of a saga",
        workflow=programs.small_saga,
        acts=(start, work),
        ends=(("failed", None),),
        at_least=30,
    ),
]
SAID = ["1 begins", "2 has appended", "3 has failed first", "4 waits", "5 was answered"]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_crash_leaves_the_trail_as_it_should_be(
    sweep: Sweep, scenario: Scenario, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.DURABLE = {**settings.DURABLE, **EVERYTHING}

    def check(using: str, ledger: Any, *, only: Any) -> list[str]:
        return [*invariants.check(using, ledger, only=only), *untold(using, only)]

    monkeypatch.setattr(sweeping, "check", check)

    assert sweep.run(scenario) >= least(scenario)
    if scenario.workflow is programs.talks:
        assert set(LogLine.objects.values_list("number", "message")) == set(enumerate(SAID))
