"""The step whose body is running, as that body may ask for it."""

from __future__ import annotations

import uuid
from contextvars import ContextVar
from dataclasses import dataclass

from django_durable.exceptions import NotInWorkflowError


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInfo:
    """What a running step body may know about itself."""

    execution_id: uuid.UUID
    step_id: str
    attempt: int  # from 1

    @property
    def idempotency_key(self) -> str:
        """The same for every run of this step in this execution, and for no other; give it to the outside world."""
        return str(uuid.uuid5(self.execution_id, self.step_id))


running_step: ContextVar[StepInfo] = ContextVar("django_durable_step")


def current_step() -> StepInfo:
    """The step whose body is running. Raises NotInWorkflowError elsewhere."""
    try:
        return running_step.get()
    except LookupError:
        raise NotInWorkflowError("current_step() works only while a step's body runs inside a workflow.") from None
