"""Deleting one closed execution by hand; what is deleted by its age is ``retention``'s."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from django_durable.engine import retention
from django_durable.engine.audit import audit
from django_durable.engine.orders import Verb, lock_for
from django_durable.exceptions import ExecutionConflict
from django_durable.models import CLOSED

DELETE = Verb(
    "delete",
    "deleted",
    CLOSED,
    does="delete it and its history; its audit trail stays",
    only_if="nobody reads it any more",
)


def delete(execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    with transaction.atomic(using=using):
        execution = lock_for(DELETE, execution_id, using=using).execution
        if not retention.delete(execution, using=using):
            raise ExecutionConflict(
                f"Execution {execution_id} is still read: by a parent that is open or has it in the results of a map, "
                "by what it was continued as, by a receiver of its events, or by somebody at this moment. Nothing was "
                "changed."
            )
        before = {"status": execution.status, "workflow": execution.workflow}
        audit(using, execution_id, kind=DELETE.done, actor=actor, reason=reason, before=before)
