"""Delivering events: at least once to each receiver, by leases like the engine's own.

A lease is bounded and not renewed: a receiver that takes longer may be called again beside itself, as after a crash. It
knows the event by its id.
"""

from __future__ import annotations

import logging
import random
import uuid
from contextlib import nullcontext
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import F

from django_durable import clock, dispatch, signals
from django_durable.clock import DatabaseNow
from django_durable.engine import endings, payloads, shutdown
from django_durable.engine.reconnect import persist
from django_durable.engine.transitions import audit
from django_durable.events import EventInfo, Receiver, receivers
from django_durable.exceptions import ConfigurationError, DeliveryConflict, DurableError
from django_durable.models import Delivery, DeliveryStatus

logger = logging.getLogger("django_durable.worker")

LEASE_SECONDS = 60.0
LONGEST_PAUSE_SECONDS = 600.0  # how often a worker that has the receiver is looked for
MOST_CONTENDED_TRIES = 10


def drain(queue: str, *, using: str, ends_at: float) -> int:
    """Deliver what is due on a queue, one after the other; how many attempts were made.

    ends_at: no further one is begun then, by ``clock.monotonic``. Costs nothing where no receiver is registered.
    """
    made = 0
    while receivers and not shutdown.is_stopping():
        delivery = take_next(queue, using=using)
        if delivery is None:
            break
        attempt(delivery, using=using)
        made += 1
        if clock.monotonic() >= ends_at:
            break
    return made


def take_next(queue: str, *, using: str) -> Delivery | None:
    """Lease the delivery that has been due for longest, its event beside it; None: nothing is due."""
    token = uuid.uuid4()
    for _ in range(MOST_CONTENDED_TRIES):
        found = _lease_next(queue, token, using)
        if found is None:
            return None
        leased = Delivery.objects.using(using).held_by(token).filter(pk=found).select_related("event")
        if (delivery := leased.annotate(leased_at=DatabaseNow()).first()) is not None:
            return delivery
    return None


def _lease_next(queue: str, token: UUID, using: str) -> UUID | None:
    """The one that was tried to lease: with a row lock no other can be faster, without one somebody may have been."""
    deliveries = Delivery.objects.using(using)
    due = deliveries.filter(queue=queue).due().order_by("due_at")
    can_skip = connections[using].features.has_select_for_update_skip_locked
    with transaction.atomic(using=using, savepoint=False) if can_skip else nullcontext():
        first = due.select_for_update(skip_locked=True) if can_skip else due
        found: UUID | None = first.values_list("pk", flat=True).first()
        if found is not None:
            until = DatabaseNow() + timedelta(seconds=LEASE_SECONDS)
            deliveries.filter(pk=found).due().update(token=token, attempts=F("attempts") + 1, due_at=until)
    return found


def attempt(delivery: Delivery, *, using: str) -> None:
    """Call the receiver of a leased delivery, outside any transaction of ours, and record what came of it."""
    event = delivery.event
    receiver = receivers.find(event.name, delivery.receiver)
    if receiver is None:
        missing = f"No receiver {delivery.receiver!r} of {event.name!r} is registered here: restore it, or retry later."
        _put_back(delivery, ConfigurationError(missing), using)
        return
    try:
        payload = payloads.load(event.payload)
    except Exception as unreadable:  # the codec's, or the project's cipher's: other code may have what it takes
        _put_back(delivery, unreadable, using)
        return
    most = receiver.retry.max_attempts
    if most is not None and delivery.attempts > most:
        begun = f"{delivery.attempts - 1} attempts were begun and {most} are allowed"
        used = DurableError(
            f"{begun}: the last one lost its worker, or retry= was changed. Find out, then retry the delivery."
        )
        _settle(delivery, using, _failure(used))
        return
    told = EventInfo(
        id=event.id,
        name=event.name,
        payload=payload,
        execution_id=event.execution_id,
        attempt=delivery.attempts,
    )
    try:
        receiver.fn(told)
    except Exception as error:
        _record_failure(delivery, receiver, error, using)
    else:
        done = {"status": DeliveryStatus.DELIVERED, "delivered_at": DatabaseNow(), "due_at": None, "error": None}
        _settle(delivery, using, done)


def _record_failure(delivery: Delivery, receiver: Receiver, error: Exception, using: str) -> None:
    event = delivery.event
    delay = receiver.retry.next_delay_seconds(
        error, attempt=delivery.attempts, elapsed_seconds=_age_seconds(delivery), random=random.Random()
    )
    _settle(delivery, using, _failure(error, again_in=delay))
    signals.send_on_commit(
        signals.delivery_failed,
        sender=Delivery,
        using=using,
        execution_id=event.execution_id,
        event_id=event.id,
        event=event.name,
        receiver=receiver.name,
        attempt=delivery.attempts,
        type_name=endings.type_name(error),
        will_retry=delay is not None,
    )


def _age_seconds(delivery: Delivery) -> float:
    """From the emit to this attempt, by the database's clock."""
    leased_at: datetime = getattr(delivery, "leased_at")  # noqa: B009 - an annotation is no attribute to a type checker
    return (leased_at - delivery.event.created_at).total_seconds()


def _failure(error: Exception, *, again_in: float | None = None) -> dict[str, Any]:
    text = endings.error_text(error)
    if again_in is None:
        return {"status": DeliveryStatus.FAILED, "due_at": None, "error": text}
    return {"due_at": DatabaseNow() + timedelta(seconds=again_in), "error": text}


def _put_back(delivery: Delivery, error: Exception, using: str) -> None:
    """For a worker with other code; no attempt of the receiver's. The pause doubles with the age of the event."""
    pause = min(max(_age_seconds(delivery), 1.0), LONGEST_PAUSE_SECONDS)
    _settle(delivery, using, {**_failure(error, again_in=pause), "attempts": F("attempts") - 1})


def _settle(delivery: Delivery, using: str, changes: dict[str, Any]) -> None:
    """Under the fence: who comes too late changes nothing."""
    leased = Delivery.objects.using(using).filter(pk=delivery.pk).held_by(delivery.token)
    # Repeating it needs no look-up: once it has happened, no row has that token.
    if not persist(using, lambda: leased.update(**changes, token=None), written=lambda: None):
        logger.warning("Delivery %s took longer than its lease; it is tried again.", delivery.pk)


def retry(delivery_id: UUID, *, using: str, actor: str, reason: str) -> None:
    """Make a delivery that failed, or waits for its next attempt, due now, with all its attempts before it.

    One transaction with its audit entry. Raises DeliveryConflict.
    """
    with transaction.atomic(using=using):
        rows = Delivery.objects.using(using).filter(pk=delivery_id)
        idle = rows.exclude(status=DeliveryStatus.DELIVERED).filter(token=None)
        before = idle.select_for_update().values("event_id", "receiver", "queue", "status", "attempts").first()
        due_now = {"status": DeliveryStatus.PENDING, "due_at": DatabaseNow(), "attempts": 0}
        if before is None or not idle.update(**due_now):
            status = rows.values_list("status", flat=True).first()
            raise DeliveryConflict(delivery_id, status or "")
        execution_id = rows.values_list("event__execution_id", flat=True).get()
        told = {**before, "event_id": str(before["event_id"])}
        audit(using, execution_id, kind="delivery_retried", actor=actor, reason=reason, before=told)
        dispatch.drain_after_commit(before["queue"], using=using, delay_seconds=0.0)
