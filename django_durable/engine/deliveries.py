"""Delivering events: at least once to each receiver, by the leases of ``leasing``.

A receiver that takes longer than its lease may be called again beside itself. It knows the event by its id.
"""

from __future__ import annotations

import random
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import F

from django_durable import clock, dispatch, signals
from django_durable.engine import endings, leasing, payloads, shutdown
from django_durable.engine.audit import audit
from django_durable.events import EventInfo, Receiver, receivers
from django_durable.exceptions import ConfigurationError
from django_durable.models import AuditKind, Delivery, DeliveryStatus

LONGEST_PAUSE_SECONDS = 600.0  # how often a worker that has the receiver is looked for


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
    rows = Delivery.objects.using(using).filter(queue=queue)
    taken: Delivery | None = leasing.take_next(rows, beside="event", using=using)
    return taken


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
    if (used := leasing.used_up(delivery.attempts, receiver.retry.max_attempts)) is not None:
        leasing.settle(delivery, using, leasing.failure(used))
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
        leasing.settle(delivery, using, leasing.delivered())


def _record_failure(delivery: Delivery, receiver: Receiver, error: Exception, using: str) -> None:
    event = delivery.event
    delay = receiver.retry.next_delay_seconds(
        error, attempt=delivery.attempts, elapsed_seconds=_age_seconds(delivery), random=random.Random()
    )
    leasing.settle(delivery, using, leasing.failure(error, again_in=delay))
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


def _put_back(delivery: Delivery, error: Exception, using: str) -> None:
    """For a worker with other code; no attempt of the receiver's. The pause doubles with the age of the event."""
    pause = min(max(_age_seconds(delivery), 1.0), LONGEST_PAUSE_SECONDS)
    leasing.settle(delivery, using, {**leasing.failure(error, again_in=pause), "attempts": F("attempts") - 1})


def retry(delivery_id: UUID, *, using: str, actor: str, reason: str) -> None:
    """Make a delivery that failed, or waits for its next attempt, due now, with all its attempts before it.

    One transaction with its audit entry. Raises DeliveryConflict.
    """
    with transaction.atomic(using=using):
        rows = Delivery.objects.using(using)
        before = leasing.make_due(rows, delivery_id, "event_id", "receiver", "queue")
        execution_id = rows.filter(pk=delivery_id).values_list("event__execution_id", flat=True).get()
        told = {**before, "event_id": str(before["event_id"])}
        after = {"status": DeliveryStatus.PENDING, "attempts": 0}
        kind = AuditKind.DELIVERY_RETRIED
        audit(using, execution_id, kind=kind, actor=actor, reason=reason, before=told, after=after)
        dispatch.drain_after_commit(before["queue"], using=using, delay_seconds=0.0)
