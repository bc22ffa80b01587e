"""Recorded histories: exported from one release, replayed against the code of every later one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django_durable import client, clock
from django_durable.conf import get_settings
from django_durable.definitions import registry
from django_durable.engine import history, payloads
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint, columns_of
from django_durable.engine.journal import Journal
from django_durable.engine.matching import Call
from django_durable.engine.outcomes import Ended, HandBack, Mismatch, Raised, Returned
from django_durable.engine.replay import Replay
from django_durable.exceptions import DurableError
from django_durable.models import Kind, Status

FORMAT = 1
_TIMES = ("started_at", "finished_at", "due_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What today's code does with a recorded history.

    mismatch: why it does not fit, or None. end: "returned", "raised", or "open" where the history ends in a wait.
    error: what the function raised; None too when its steps were undone, since then only the record of it is left.
    """

    mismatch: DurableError | None
    end: str
    value: Any = None
    error: BaseException | None = None

    @property
    def fits(self) -> bool:
        return self.mismatch is None


def export_history(execution: client.Target, *, using: str | None = None) -> dict[str, Any]:
    """One execution's input and checkpoints as JSON-ready data, payloads in plain codec text."""
    row = client.get(execution, using=using)
    checkpoints = history.load(row.id, using=using or get_settings().database)
    return {
        "format": FORMAT,
        "id": str(row.id),
        "workflow": row.workflow,
        "version": row.version,
        "input": payloads.unseal(row.input),
        "status": row.status,
        "history": [_exported(checkpoint) for checkpoint in checkpoints],
    }


def replay(recorded: dict[str, Any]) -> ReplayReport:
    """Run today's code against a recorded history, without a database; no step body runs."""
    definition = registry.find(recorded["workflow"], recorded["version"])
    given = payloads.load(payloads.seal(recorded["input"]))
    outcome = _DryReplay(recorded).run(definition, given["args"], given["kwargs"])
    match outcome:
        case Mismatch(error):
            return ReplayReport(mismatch=error, end="open")
        case Returned(value):
            return ReplayReport(mismatch=None, end="returned", value=value)
        case Raised(error):
            return ReplayReport(mismatch=None, end="raised", error=error)
        case Ended(status=Status.COMPLETED, result=result):
            return ReplayReport(mismatch=None, end="returned", value=payloads.load(result or ""))
        case Ended():
            return ReplayReport(mismatch=None, end="raised")
        case _:
            return ReplayReport(mismatch=None, end="open")


class _DryReplay(Replay):
    """Leaves at the first call that is not settled instead of doing anything."""

    def __init__(self, recorded: dict[str, Any]) -> None:
        nil = UUID(int=0)
        claim = Claim(UUID(recorded["id"]), get_settings().database, nil, "", 0, 1, 0, None, clock.now())
        journal = Journal(claim, inbox=[], cancel_requested_at=None)
        checkpoints = [_imported(checkpoint) for checkpoint in recorded["history"]]
        super().__init__(journal, checkpoints, deadline_at=None, short_wait_seconds=0)

    def enter(self, kind: Kind, name: str, target: str = "") -> Call:
        call = super().enter(kind, name, target)
        if call.recorded is None or not call.recorded.is_settled:
            raise self.leave(HandBack())
        return call

    def progress(self, current: int, total: int | None, message: str) -> None:
        pass


def _exported(checkpoint: Checkpoint) -> dict[str, Any]:
    values = columns_of(checkpoint)
    values["id"] = str(values["id"])
    for name in ("result", "error"):
        values[name] = None if values[name] is None else payloads.unseal(values[name])
    return values | {name: values[name] and values[name].astimezone(UTC).isoformat() for name in _TIMES}


def _imported(values: dict[str, Any]) -> Checkpoint:
    times = {name: values[name] and datetime.fromisoformat(values[name]) for name in _TIMES}
    sealed = {name: values[name] and payloads.seal(values[name]) for name in ("result", "error")}
    return Checkpoint(**values | times | sealed | {"id": UUID(values["id"])})
