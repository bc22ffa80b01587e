"""A schedule as code describes it, and as a row holds it."""

from __future__ import annotations

import json
from typing import Any

from django_durable import codec
from django_durable.cadence import Cadence, Excluded, is_reinterpreted
from django_durable.clock import to_instant, to_seconds
from django_durable.definitions import WorkflowDefinition
from django_durable.engine import payloads, starting
from django_durable.engine.queues import known_queues
from django_durable.engine.schedules import times
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Priority, Schedule
from django_durable.options import PriorityName
from django_durable.schedule_spec import ScheduleSpec

_PRIORITY_NAMES: dict[int, PriorityName] = {number: name for name, number in starting.PRIORITY.items()}


def columns_of(spec: ScheduleSpec, definition: WorkflowDefinition[..., Any]) -> dict[str, Any]:
    """What a row holds of it, by column; its input as plain text. Raises TypeError, CodecError, InvalidOptionError."""
    if spec.queue is not None and spec.queue not in known_queues():
        raise InvalidOptionError(
            f"Queue {spec.queue!r} is not known: add it to DURABLE['QUEUES'], or use one of {known_queues()}."
        )
    return {
        "workflow": definition.name,
        "input": starting.encoded_input(definition, tuple(spec.args), dict(spec.kwargs or {})),
        **_options_of(spec),
    }


def unsaved(spec: ScheduleSpec) -> Schedule:
    """A row of no workflow, to look at its times."""
    return Schedule(name=spec.id or "", **_options_of(spec))


def _options_of(spec: ScheduleSpec) -> dict[str, Any]:
    return {
        "cadence": json.dumps(spec.cadence.dump()),
        "cadence_hash": spec.cadence.fingerprint(),
        "timezone": zone_of(spec.cadence),
        "overlap": spec.overlap,
        "catch_up": spec.catch_up,
        "catch_up_seconds": to_seconds(spec.catch_up_window, "catch_up_window"),
        "jitter_seconds": to_seconds(spec.jitter, "jitter"),
        "starts_at": None if spec.starts_at is None else to_instant(spec.starts_at, "starts_at"),
        "ends_at": None if spec.ends_at is None else to_instant(spec.ends_at, "ends_at"),
        "max_runs": spec.max_runs,
        "pause_after_failures": spec.pause_after_failures,
        "excluded": {} if spec.excluded is None else spec.excluded.dump(),
        "labels": dict(spec.labels or {}),
        "queue": spec.queue or "",
        "priority": None if spec.priority is None else Priority(starting.PRIORITY[spec.priority]),
        "key": spec.key or "",
    }


def spec_of(row: Schedule) -> ScheduleSpec:
    """What a row says, to be changed in part. Raises InvalidOptionError if its cadence is refused by now."""
    given = codec.decode(payloads.unseal(row.input))
    return ScheduleSpec(
        times.cadence_of(row.cadence),
        id=row.name,
        args=tuple(given["args"]),
        kwargs=given["kwargs"],
        overlap=row.overlap,  # type: ignore[arg-type]
        catch_up=row.catch_up,  # type: ignore[arg-type]
        catch_up_window=row.catch_up_seconds,
        jitter=row.jitter_seconds,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        max_runs=row.max_runs,
        pause_after_failures=row.pause_after_failures,
        excluded=Excluded.load(row.excluded) if row.excluded else None,
        labels=row.labels,
        queue=row.queue or None,
        priority=None if row.priority is None else _PRIORITY_NAMES[row.priority],
        key=row.key or None,
    )


def zone_of(cadence: Cadence) -> str:
    """Intervals run in UTC."""
    return getattr(cadence, "timezone", "UTC")


def differences(row: Schedule, columns: dict[str, Any], *, accepts: bool = False) -> dict[str, tuple[Any, Any]]:
    """What a row holds and what it should, by column, where the two differ.

    Cadences are compared by their meaning: another way to write the same one is no change. accepts: but one that
    another version of the parser has read is to be stored as this one reads it.
    """
    held = {name: getattr(row, name) for name in columns}
    held["input"] = payloads.unseal(row.input)
    found = {name: (held[name], value) for name, value in columns.items() if held[name] != value}
    if accepts and is_reinterpreted(json.loads(row.cadence)):
        found["cadence_hash"] = (row.cadence_hash, columns["cadence_hash"])
    if "cadence_hash" not in found:
        found.pop("cadence", None)
    return found
