"""Why an order to an execution is refused: nobody has a timer row for it."""

from __future__ import annotations

from uuid import UUID

from django_durable.exceptions import ExecutionClosedError, ExecutionNotFoundError
from django_durable.models import Execution


def not_open(execution_id: UUID, *, using: str) -> ExecutionNotFoundError | ExecutionClosedError:
    """The error to raise when the timer is gone: it has ended, or it never existed."""
    status = Execution.objects.using(using).filter(pk=execution_id).values_list("status", flat=True).first()
    if status is None:
        return ExecutionNotFoundError(execution_id)
    return ExecutionClosedError(execution_id, status)
