"""What is told of leases: that one was lost, or taken over from a worker that has not given it back."""

from __future__ import annotations

import logging

from django.db import Error, transaction

from django_durable import signals
from django_durable.engine.audit import audit, keeps
from django_durable.engine.claims import Claim
from django_durable.models import AuditKind, Execution

logger = logging.getLogger("django_durable.execution")


def tell_lost(claim: Claim) -> None:
    """By the loser, who may write nothing of the execution any more: only that this has happened."""
    about = {"execution_id": claim.execution_id}
    signals.send_on_commit(signals.lease_lost, sender=Execution, using=claim.using, **about)
    if not keeps(AuditKind.LEASE_LOST):
        return
    try:
        with transaction.atomic(using=claim.using):
            audit(claim.using, claim.execution_id, kind=AuditKind.LEASE_LOST, after={"claims": claim.claims})
    except Error:  # it may be why the lease was lost
        logger.warning("That the lease of %s was lost was not written.", claim.execution_id, exc_info=True)


def tell_recovered(claim: Claim, execution: Execution) -> None:
    """By the one who took it over, under its lease."""
    told = {"claims": claim.claims}
    if keeps(AuditKind.LEASE_RECOVERED):
        with transaction.atomic(using=claim.using):
            if not claim.timers().update(token=claim.token):
                return
            audit(claim.using, execution.id, kind=AuditKind.LEASE_RECOVERED, after=told)
    about = {"execution_id": execution.id, "workflow": execution.workflow, **told}
    signals.send_on_commit(signals.lease_recovered, sender=Execution, using=claim.using, **about)
