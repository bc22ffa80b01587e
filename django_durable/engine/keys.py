"""Keys: who holds one, and when one that has ended gives it up.

A key is held by the row whose ``key_scope`` says where. To give it up only that column is emptied: the row still shows
its key. Whoever takes a key over empties it and inserts a new row in one transaction, so that the key is held by one of
the two at every moment, and others who want it wait for that commit.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Q

from django_durable.clock import DatabaseNow
from django_durable.conf import get_settings
from django_durable.definitions import WorkflowDefinition
from django_durable.exceptions import ExecutionConflict
from django_durable.models import UNSUCCESSFUL, Execution
from django_durable.models.execution import ExecutionQuerySet
from django_durable.options import StartOptions


@dataclass(frozen=True, slots=True)
class Rules:
    """What a start says of the execution that has its key: when does it give it up?

    after_failure: once it has ended without success. retention_seconds: so long after any end; None: never.
    """

    after_failure: bool = False
    retention_seconds: float | None = None

    @property
    def keeps_all(self) -> bool:
        return not self.after_failure and self.retention_seconds is None

    def giving_up(self) -> Q:
        """Only what has ended has ``finished_at`` and these statuses."""
        found = Q(status__in=sorted(UNSUCCESSFUL)) if self.after_failure else Q()
        if self.retention_seconds is not None:
            found |= Q(finished_at__lte=DatabaseNow() - timedelta(seconds=self.retention_seconds))
        return found


KEEP_ALL = Rules()


def rules(definition: WorkflowDefinition[..., object], options: StartOptions) -> Rules:
    if options.key is None:
        return KEEP_ALL
    retention = definition.key_retention_seconds
    if retention is None:
        retention = get_settings().key_retention_seconds
    return Rules(options.if_failed == "new", retention)


def holder(wanted: Execution, using: str) -> ExecutionQuerySet:
    """The row that holds the key of ``wanted``."""
    return Execution.objects.using(using).filter(key=wanted.key, key_scope=wanted.key_scope)


def free(wanted: Execution, rules: Rules, *, using: str) -> None:
    """Have the holder of a key give it up, if it has ended and the rules say so.

    Compare-and-set: of two who come at once one does, and the other finds the first one's execution. It is looked for
    by a plain SELECT, and before the insert: on MariaDB an insert that is refused leaves a shared lock, and two who
    have that and want to change the row would wait for each other. Transaction: must be called inside the insert's.
    """
    found = holder(wanted, using).filter(rules.giving_up()).values_list("pk", flat=True).first()
    if found is not None:
        holder(wanted, using).filter(rules.giving_up(), pk=found).update(key_scope=None)


def existing(wanted: Execution, using: str) -> Execution:
    """Whoever has the key, if it is the same start. Raises ExecutionConflict."""
    found = holder(wanted, using).first()
    if found is None:
        raise ExecutionConflict(
            f"The key {wanted.key!r} of {wanted.key_scope!r} was just taken by a transaction that this one cannot see; "
            "start again in a new transaction."
        )
    check_same(found, wanted)
    found.disposition = "existing"
    return found


def check_same(found: Execution, wanted: Execution) -> None:
    """Raise ExecutionConflict unless both are of one workflow with the same input."""
    if found.workflow != wanted.workflow:
        raise ExecutionConflict(
            f"Execution {found.id} of {found.workflow!r} already has the key {wanted.key!r} in the scope "
            f"{wanted.key_scope!r}. Use another key, or wait until that one gives it up."
        )
    if found.input_hash != wanted.input_hash:
        raise ExecutionConflict(
            f"Execution {found.id} already has the key {wanted.key!r} of {wanted.workflow!r} with other input. "
            "Use another key, or the same arguments."
        )
