"""One execution as it is recorded: read from the tables, or from what some release exported.

An export holds payloads in plain codec text, whatever cipher the tables are under, so that it can be read elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import NoneType
from typing import Any
from uuid import UUID

from django.db.models import F

from django_durable.engine import history, payloads
from django_durable.engine.history import Checkpoint, PendingSignal, columns_of
from django_durable.exceptions import ExecutionNotFoundError, InvalidOptionError
from django_durable.models import CLOSED, Execution

FORMAT = 1
_TIMES = ("started_at", "finished_at", "due_at")
_PAYLOADS = ("result", "error")
_TEXTS = ("name", "kind", "status", "target")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """All that a replay needs. Payloads are sealed, as the tables hold them."""

    id: UUID
    workflow: str
    version: int
    status: str
    input: str
    history: list[Checkpoint]
    seed: UUID | None = None  # of its random numbers, if not its id
    inbox: list[PendingSignal] = field(default_factory=list)  # not exported: what is pending is no history yet

    @property
    def is_closed(self) -> bool:
        return self.status in CLOSED


def read(execution_id: UUID, *, using: str) -> Recording:
    """An execution as it is now. Raises ExecutionNotFoundError.

    Three SELECTs without a transaction. Each is whole by itself, but a live execution may move on between them: then
    the inbox is newer than the history, and that is newer than the status.
    """
    columns = ("id", "workflow", "version", "status", "input")
    executions = Execution.objects.using(using).filter(pk=execution_id)
    row = executions.values(*columns, seed=F("random_seed")).first()
    if row is None:
        raise ExecutionNotFoundError(execution_id)
    return Recording(
        **row,
        history=history.load(execution_id, using=using),
        inbox=history.load_inbox(execution_id, using=using),
    )


def exported(recording: Recording, *, opening: Callable[[str], str] = payloads.unseal) -> dict[str, Any]:
    """JSON-ready data. opening: what its payloads go through."""
    return {
        "format": FORMAT,
        "id": str(recording.id),
        "workflow": recording.workflow,
        "version": recording.version,
        "input": opening(recording.input),
        "status": recording.status,
        "seed": recording.seed and str(recording.seed),
        "history": [_exported(checkpoint, opening) for checkpoint in recording.history],
    }


def _exported(checkpoint: Checkpoint, opening: Callable[[str], str]) -> dict[str, Any]:
    values = columns_of(checkpoint)
    values["id"] = str(values["id"])
    for name in _PAYLOADS:
        values[name] = None if values[name] is None else opening(values[name])
    return values | {name: values[name] and values[name].astimezone(UTC).isoformat() for name in _TIMES}


def imported(data: object) -> Recording:
    """What ``exported`` gave, in this release or an older one. Raises InvalidOptionError for anything else."""
    try:
        return _imported(data)
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise InvalidOptionError(
            f"This is no exported history of format {FORMAT}: {type(error).__name__}: {error}. "
            "Write one with `manage.py durable_export`."
        ) from error


def _imported(data: Any) -> Recording:
    if data["format"] != FORMAT:
        raise ValueError(f"its format is {data['format']!r:.50}")
    return Recording(
        id=UUID(data["id"]),
        workflow=_typed(data, "workflow", str),
        version=_typed(data, "version", int),
        status=_typed(data, "status", str),
        input=payloads.seal(_typed(data, "input", str)),
        seed=UUID(data["seed"]) if data.get("seed") else None,
        history=[_checkpoint(values, position) for position, values in enumerate(_typed(data, "history", list))],
    )


def _checkpoint(values: Any, position: int) -> Checkpoint:
    if values["position"] != position:
        raise ValueError(f"position {values['position']!r:.50} stands where {position} should")
    for name in _TEXTS:
        _typed(values, name, str)
    times = {name: values[name] and datetime.fromisoformat(values[name]) for name in _TIMES}
    sealed = {name: values[name] and payloads.seal(_typed(values, name, str, NoneType)) for name in _PAYLOADS}
    return Checkpoint(**values | times | sealed | {"id": UUID(values["id"])})


def _typed(values: Any, name: str, *types: type) -> Any:
    value = values[name]
    if not isinstance(value, types):
        raise TypeError(f"{name} is {value!r:.50}")
    return value
