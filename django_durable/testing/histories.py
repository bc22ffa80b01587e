"""Recorded histories in tests: exported from one release, replayed against the code of every later one."""

from __future__ import annotations

from typing import Any

from django_durable import client
from django_durable.conf import get_settings
from django_durable.engine import dry_run, recordings
from django_durable.engine.dry_run import ReplayReport


def export_history(execution: client.Target, *, using: str | None = None) -> dict[str, Any]:
    """One execution's input and checkpoints as JSON-ready data, payloads in plain codec text."""
    row = client.get(execution, using=using)
    return recordings.exported(recordings.read(row.id, using=using or get_settings().database))


def replay(recorded: dict[str, Any]) -> ReplayReport:
    """Run today's code against a recorded history, without a database; no step body runs.

    Raises UnknownWorkflowError, InvalidOptionError for data that ``export_history`` did not make.
    """
    return dry_run.replay(recordings.imported(recorded))
