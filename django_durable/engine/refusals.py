"""Why an order to an execution is refused."""

from __future__ import annotations

from uuid import UUID

from django_durable.engine import chains
from django_durable.exceptions import ExecutionClosedError, ExecutionConflict, ExecutionNotFoundError
from django_durable.models import Execution, Status


def not_open(execution_id: UUID, *, using: str) -> ExecutionNotFoundError | ExecutionClosedError:
    """The error to raise when the timer is gone: it has ended, or it never existed."""
    row = Execution.objects.using(using).filter(pk=execution_id).values_list("status", "chain").first()
    if row is None:
        return ExecutionNotFoundError(execution_id)
    status, chain = row
    closed = ExecutionClosedError(execution_id, status)
    if status == Status.CONTINUED:
        closed.successor = chains.last_id(chain, using=using)
    return closed


def not_in_compensation(execution_id: UUID, *, using: str) -> ExecutionNotFoundError | ExecutionConflict:
    """The error to raise when there is no compensation to help."""
    status = _status(execution_id, using)
    if status is None:
        return ExecutionNotFoundError(execution_id)
    return ExecutionConflict(f"Execution {execution_id} is {status}, not stuck in a compensation; look at it again.")


def _status(execution_id: UUID, using: str) -> str | None:
    return Execution.objects.using(using).filter(pk=execution_id).values_list("status", flat=True).first()
