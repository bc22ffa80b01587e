"""A start that has been checked, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import transaction

from django_durable import dispatch, signals
from django_durable.engine import audit, compound, history, keys
from django_durable.engine.history import Checkpoint
from django_durable.engine.keys import KEEP_ALL, Rules
from django_durable.models import AuditKind, Execution, Step, Timer


@dataclass(frozen=True, slots=True)
class NewStart:
    """An execution and its timer, checked and not yet written. inherited: what its history begins with."""

    execution: Execution
    timer: Timer
    inherited: Checkpoint | None = None
    rules: Rules = KEEP_ALL  # for whoever has its key

    def insert(self, *, using: str) -> bool:
        """False: its key, or coalescing key, is taken; nothing was written. Transaction: the caller's, or its own."""
        execution = self.execution
        with audit.whole(using, AuditKind.STARTED) if self.rules.keeps_all else transaction.atomic(using=using):
            if not self.rules.keeps_all:
                keys.free(execution, self.rules, using=using)
            if not compound.insert_execution(execution, self.timer, using=using):
                return False
            if self.inherited is not None:
                Step.objects.using(using).create(execution=execution, **history.columns_of(self.inherited))
            if not self.timer.held:
                dispatch.wake(execution.id, queue=execution.queue, using=using)
            self.tell(using=using)
        return True

    def tell(self, *, using: str) -> None:
        """In the transaction of the insert."""
        execution = self.execution
        after = {"status": execution.status, "workflow": execution.workflow, "version": execution.version}
        audit.audit(using, execution.id, kind=AuditKind.STARTED, after=after)
        about = {"execution_id": execution.id, "workflow": execution.workflow}
        signals.send_on_commit(signals.execution_started, sender=Execution, using=using, **about)
