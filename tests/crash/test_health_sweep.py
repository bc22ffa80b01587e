"""The canary is an ordinary workflow: wherever its worker dies, it ends once, and what it deletes is not its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from django_durable.client import selfcheck
from tests.crash.sweep import Play, Scenario, Sweep, work

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]


def start(play: Play) -> None:
    play.start()


SUNG = Scenario(
    name="the canary",
    workflow=selfcheck.sing,
    acts=(start, work),
    ends=(("completed", None),),
    at_least=30,
    is_refused=False,
)


def test_every_crash_of_the_canary_is_recovered(sweep: Sweep, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(selfcheck, "SLEEP_SECONDS", 0.01)
    assert sweep.run(SUNG) >= SUNG.at_least
