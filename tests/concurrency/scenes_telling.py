"""Who meets whom while everything is told: at the level ``steps`` of the audit trail, with lines kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django_durable import client
from tests.concurrency.scenes import Outcomes, Scene, _claim, _lease_runs_out, _pass, _signal
from tests.ledger_app import programs
from tests.telling import untold


def _told(acts: dict[str, Any], ends: set[str], run: Any) -> Scene:
    def settled(outcomes: Outcomes) -> Iterable[str]:
        return untold("default", [run.id])

    return Scene(acts, ends, [run.id], settled=settled)


def talk_x_lease_expiry() -> Scene:
    """A worker that comes too late tells nothing of what it could not record."""
    run = programs.talks_once.start()
    first = _pass(run)
    _lease_runs_out(run)
    return _told({"worker": first, "other worker": _claim(run)}, {"completed"}, run)


def talk_x_signal() -> Scene:
    """A park that loses to news says its lines with whatever is recorded next."""
    run = programs.talks_and_waits.start()
    return _told({"worker": _pass(run), "signaller": _signal(run, "yes")}, {"completed"}, run)


def talk_x_terminate() -> Scene:
    run = programs.talks_once.start()
    acts = {"worker": _pass(run), "operator": lambda: client.terminate(run.id)}
    return _told(acts, {"completed", "terminated"}, run)


def talk_x_cancel() -> Scene:
    run = programs.talks_once.start()
    acts = {"worker": _pass(run), "canceller": lambda: client.cancel(run.id)}
    return _told(acts, {"completed", "cancelled"}, run)
