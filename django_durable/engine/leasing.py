"""What is delivered at least once: leased, attempted, settled under the fence; the same for receivers and webhooks.

A lease is bounded and not renewed: what takes longer may be attempted again beside itself, as after a crash. Its token
is the fence of the outcome.
"""

from __future__ import annotations

import logging
import uuid
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import F

from django_durable.clock import DatabaseNow
from django_durable.engine import endings
from django_durable.engine.reconnect import persist
from django_durable.exceptions import DeliveryConflict, DurableError
from django_durable.models import DeliveryStatus

logger = logging.getLogger("django_durable.worker")

LEASE_SECONDS = 60.0
MOST_CONTENDED_TRIES = 10

Rows = Any  # a queryset of deliveries of one kind; their managers' types have nothing in common


def take_next(rows: Rows, *, beside: str, using: str) -> Any:
    """Lease that of the rows that has been due for longest; None: nothing is due.

    beside: the relation that is loaded with it. ``leased_at``: the database's time.
    """
    token = uuid.uuid4()
    for _ in range(MOST_CONTENDED_TRIES):
        found = _lease_next(rows, token, using)
        if found is None:
            return None
        leased = rows.model.objects.using(using).held_by(token).filter(pk=found).select_related(beside)
        if (delivery := leased.annotate(leased_at=DatabaseNow()).first()) is not None:
            return delivery
    return None


def _lease_next(rows: Rows, token: UUID, using: str) -> UUID | None:
    """The one that was tried to lease: with a row lock no other can be faster, without one somebody may have been."""
    due = rows.due().order_by("due_at")
    can_skip = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using, savepoint=False) if can_skip else nullcontext():
        first = due.select_for_update(skip_locked=True) if can_skip else due
        found: UUID | None = first.values_list("pk", flat=True).first()
        if found is not None:
            until = DatabaseNow() + timedelta(seconds=LEASE_SECONDS)
            rows.filter(pk=found).due().update(token=token, attempts=F("attempts") + 1, due_at=until)
    return found


def used_up(attempts: int, most: int | None) -> DurableError | None:
    """Why an attempt that was just leased may not be made any more, if so."""
    if most is None or attempts <= most:
        return None
    begun = f"{attempts - 1} attempts were begun and {most} are allowed"
    return DurableError(
        f"{begun}: the last one lost its worker, or retry= was changed. Find out, then retry the delivery."
    )


def delivered() -> dict[str, Any]:
    return {"status": DeliveryStatus.DELIVERED, "delivered_at": DatabaseNow(), "due_at": None, "error": None}


def failure(error: BaseException, *, again_in: float | None = None) -> dict[str, Any]:
    """again_in: seconds; None: it is given up."""
    text = endings.error_text(error)
    if again_in is None:
        return {"status": DeliveryStatus.FAILED, "due_at": None, "error": text}
    return {"due_at": DatabaseNow() + timedelta(seconds=again_in), "error": text}


def settle(delivery: Any, using: str, changes: dict[str, Any]) -> bool:
    """Under the fence: who comes too late changes nothing."""
    leased = type(delivery).objects.using(using).filter(pk=delivery.pk).held_by(delivery.token)
    # Repeating it needs no look-up: once it has happened, no row has that token.
    is_ours = bool(persist(using, lambda: leased.update(**changes, token=None), written=lambda: None))
    if not is_ours:
        logger.warning("Delivery %s took longer than its lease; it is tried again.", delivery.pk)
    return is_ours


def make_due(rows: Rows, delivery_id: UUID, *facts: str) -> dict[str, Any]:
    """Make one that failed, or waits for its next attempt, due now, with all its attempts before it.

    facts: fields whose values before are returned, beside its status and attempts. Raises DeliveryConflict.
    Transaction: must be called inside of one.
    """
    wanted = rows.filter(pk=delivery_id)
    idle = wanted.exclude(status=DeliveryStatus.DELIVERED).filter(token=None)
    before: dict[str, Any] | None = idle.select_for_update().values(*facts, "status", "attempts").first()
    if before is None or not idle.update(status=DeliveryStatus.PENDING, due_at=DatabaseNow(), attempts=0):
        raise DeliveryConflict(_why_not(delivery_id, wanted.values_list("status", flat=True).first()))
    return before


def _why_not(delivery_id: UUID, status: str | None) -> str:
    if status is None:
        return f"There is no delivery {delivery_id}; give the id of a Delivery, not of its event."
    if status == DeliveryStatus.PENDING:
        return f"Delivery {delivery_id} is being tried at this moment; look again in a minute."
    return f"Delivery {delivery_id} is {status}: there is nothing to retry."
