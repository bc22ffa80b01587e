"""What a family of executions has recorded, as plain data for the model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from django_durable.engine import payloads
from django_durable.models import Execution, Kind, Step
from tests.generated.programs import Block

DECODED = {Kind.WAIT, Kind.WON, Kind.PATCH, Kind.CHILD, Kind.MAP, Kind.JOIN, Kind.UNTIL, Kind.CONTINUE, Kind.LONG}
CHANGES = {Kind.STATE, Kind.UPDATE}


@dataclass(frozen=True)
class Recorded:
    status: str
    attempts: int
    value: Any  # of the kinds in DECODED
    kind: str = ""
    position: int = 0
    finished_at: datetime | None = None

    def __str__(self) -> str:
        return f"{self.status} after {self.attempts} attempts with {self.value!r}"


@dataclass(frozen=True)
class Change:
    """Of the state."""

    position: int
    path: str
    what: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Checkpoints by name, the bodies in the order in which they ran, and how it ended."""

    id: UUID
    chain: UUID  # the first of those that were continued as one another
    program: Block
    parent: UUID | None
    is_of_map: bool
    policy: str
    checkpoints: Mapping[str, Recorded]
    changes: list[Change]
    bodies: list[str]
    status: str
    result: Any
    error_type: str
    error_class: str  # of what was raised; the type may be that of its cause
    compensates: bool  # what the workflow is registered with
    is_cancelled: bool  # it was asked for
    has_deadline: bool
    finished_at: datetime


@dataclass(kw_only=True)
class Circumstances:
    """What happened around a family."""

    died: int = 0  # how often a worker did
    is_serial: bool = True  # bodies run one after the other
    cancelled: set[UUID] = field(default_factory=set)  # by somebody outside
    ends: dict[UUID, int] = field(default_factory=dict)  # after which turn, but for what began and ended in one turn
    deployed_at: datetime | None = None
    is_deployed: bool = True  # at the end
    before_deploy: Mapping[UUID, set[str]] = field(default_factory=dict)  # the names that were recorded then


def family(first: UUID) -> list[UUID]:
    """An execution, what it was continued as, and all below."""
    found, new = [first], [first]
    while new:
        below = Execution.objects.filter(parent_id__in=new) | Execution.objects.filter(chain__in=new)
        new = list(below.exclude(pk__in=found).values_list("pk", flat=True))
        found += new
    return found


def observe(ids: list[UUID], bodies: Iterable[dict[str, Any]]) -> dict[UUID, Observed]:
    """All of them, once they have ended."""
    steps, ran = defaultdict(list), defaultdict(list)
    for step in Step.objects.filter(execution_id__in=ids).order_by("position"):
        steps[step.execution_id].append(step)
    for line in bodies:
        ran[line["execution"]].append(line["step"])
    return {row.pk: _observed(row, steps[row.pk], ran[str(row.pk)]) for row in Execution.objects.filter(pk__in=ids)}


def _observed(row: Execution, steps: list[Step], bodies: list[str]) -> Observed:
    assert row.finished_at is not None
    return Observed(
        id=row.pk,
        chain=row.chain or row.pk,
        program=payloads.load(row.input)["args"][0],
        parent=row.parent_id,
        is_of_map=row.fan_out is not None,
        policy=row.on_parent_close,
        checkpoints={step.name: _recorded(step) for step in steps if step.kind != Kind.UPDATE},
        changes=[
            Change(step.position, step.name, payloads.load(step.result))
            for step in steps
            if step.kind in CHANGES and step.status == "completed" and step.result
        ],
        bodies=bodies,
        status=row.status,
        result=None if row.result is None else payloads.load(row.result),
        error_type=row.error_type.rpartition(".")[2],
        error_class="" if row.error is None else payloads.load_error(row.error).type_name.rpartition(".")[2],
        compensates=row.workflow != "generated.leaving",
        is_cancelled=row.cancel_requested_at is not None,
        has_deadline=row.deadline_at is not None,
        finished_at=row.finished_at,
    )


def _recorded(step: Step) -> Recorded:
    is_decoded = step.kind in DECODED and step.result is not None
    value = payloads.load(step.result) if is_decoded else None
    return Recorded(step.status, step.attempts, value, step.kind, step.position, step.finished_at)
