"""What is recorded: checkpoints as plain values, and the inbox of signals not yet consumed."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from django_durable.engine import compiled
from django_durable.models import SETTLED, SetAsideStep, Signal, Step, StepStatus


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One row of ``Step`` without the model around it; field names are the columns'."""

    position: int
    name: str
    kind: str
    started_at: datetime
    status: str = StepStatus.COMPLETED
    target: str = ""
    result: str | None = None
    error: str | None = None
    attempts: int = 0
    finished_at: datetime | None = None
    due_at: datetime | None = None
    id: UUID = field(default_factory=Step._meta.get_field("id").get_default)
    # Writes what belongs to it, in the transaction that records it. Only of what is deferred.
    beside: Callable[[], None] | None = field(default=None, compare=False, repr=False)

    @property
    def is_settled(self) -> bool:
        return self.status in SETTLED


RETRIED = "retried"  # by which order what will run again was set aside
FIELDS = tuple(name for name in Checkpoint.__dataclass_fields__ if name != "beside")
values_of: Callable[[Checkpoint], tuple[Any, ...]] = attrgetter(*FIELDS)  # dataclasses.astuple copies every value


def columns_of(checkpoint: Checkpoint) -> dict[str, Any]:
    """The values by field name."""
    return dict(zip(FIELDS, values_of(checkpoint), strict=True))


def load(execution_id: UUID, *, using: str) -> list[Checkpoint]:
    """The whole history in order. One SELECT, no model instances."""
    return [Checkpoint(*row) for row in compiled.rows(_history, using=using, execution_id=execution_id)]


def _history(using: str, execution_id: UUID) -> QuerySet[Step, tuple[Any, ...]]:
    return Step.objects.using(using).history(execution_id).values_list(*FIELDS)


def find(checkpoint_id: UUID, *, using: str) -> Checkpoint | None:
    """One checkpoint, to learn whether a commit without reply has happened."""
    row = Step.objects.using(using).filter(pk=checkpoint_id).values_list(*FIELDS).first()
    return Checkpoint(*row) if row else None


def load_runs(execution_id: UUID, *, using: str) -> Counter[str]:
    """How often each step completed before somebody had the execution go on from before it."""
    rows = SetAsideStep.objects.using(using).filter(execution_id=execution_id, set_aside_by=RETRIED)
    return Counter(rows.filter(status=StepStatus.COMPLETED).values_list("name", flat=True))


class PendingSignal(NamedTuple):
    id: uuid.UUID
    name: str
    payload: str


def load_inbox(execution_id: UUID, *, using: str) -> list[PendingSignal]:
    """Signals accepted and not consumed, in acceptance order. Read after ``wake_seq``, never before it."""
    return [PendingSignal(*row) for row in compiled.rows(_inbox, using=using, execution_id=execution_id)]


def _inbox(using: str, execution_id: UUID) -> QuerySet[Signal, tuple[Any, ...]]:
    return Signal.objects.using(using).pending(execution_id).values_list("id", "name", "payload")
