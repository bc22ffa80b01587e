"""ctx.emit: an event is recorded once, with its checkpoint and one delivery for each receiver, or not at all.

Which receivers it has is decided here, so a deploy before the delivery neither loses one (its row waits for a worker
that has that receiver) nor doubles one (there is one row for each). It is recorded together with what comes next, but
never later than the body of the next step begins: that may take long.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from django_durable import dispatch, signals
from django_durable.clock import DatabaseNow
from django_durable.engine import payloads
from django_durable.engine.claims import Claim
from django_durable.engine.matching import Matcher
from django_durable.events import receivers
from django_durable.models import Delivery, Kind, OutboxEvent


def emit(matcher: Matcher, step_id: str | None, event: str, payload: object) -> None:
    """No statement of its own; a replay does nothing. Raises CodecError, in every run, before the call counts."""
    text = payloads.dump(payload)
    call = matcher.enter(Kind.EMIT, step_id or f"emit:{event}", target=event)
    if call.recorded is None:
        now = matcher.claim.now()
        checkpoint = call.checkpoint(finished_at=now)
        emitted = OutboxEvent(
            id=checkpoint.id,
            execution_id=matcher.execution_id,
            name=event,
            payload=text,
            created_at=now,
        )
        told = matcher.stored(payloads.load, text)
        matcher.defer(call, replace(checkpoint, beside=partial(_record, matcher.claim, emitted, told)))


def _record(claim: Claim, event: OutboxEvent, told: Any) -> None:
    """In the transaction of the event's checkpoint. told: what Django's receivers get."""
    event.save(using=claim.using, force_insert=True)
    _address(claim, event.name, event.id)
    signals.send_on_commit(
        signals.event_emitted,
        sender=OutboxEvent,
        using=claim.using,
        execution_id=event.execution_id,
        event_id=event.id,
        event=event.name,
        payload=told,
    )


def _address(claim: Claim, event: str, event_id: UUID) -> None:
    """One delivery for each receiver; workers hear of it after the commit."""
    addressed = [
        Delivery(event_id=event_id, receiver=receiver.name, queue=claim.queue, due_at=DatabaseNow())
        for receiver in receivers.of(event)
    ]
    if addressed:
        Delivery.objects.using(claim.using).bulk_create(addressed)
        dispatch.drain_after_commit(claim.queue, using=claim.using, delay_seconds=0.0)
