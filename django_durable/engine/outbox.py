"""ctx.emit: an event is recorded once, with its checkpoint and one delivery for each receiver, or not at all.

Which receivers it has is decided here, so a deploy before the delivery neither loses one (its row waits for a worker
that has that receiver) nor doubles one (there is one row for each).
"""

from __future__ import annotations

from functools import partial
from uuid import UUID

from django.db import transaction

from django_durable import dispatch, signals
from django_durable.clock import DatabaseNow
from django_durable.engine import payloads
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import fence, insert_checkpoint_of
from django_durable.engine.matching import Matcher
from django_durable.events import receivers
from django_durable.models import Delivery, Kind, OutboxEvent


def emit(matcher: Matcher, event: str, payload: object) -> None:
    """One transaction; a replay does nothing. Raises CodecError, in every run, before the call counts."""
    text = payloads.dump(payload)
    call = matcher.enter(Kind.EMIT, f"emit:{event}", target=event)
    if call.recorded is None:
        checkpoint = call.checkpoint(finished_at=matcher.claim.now())
        matcher.record(call, checkpoint, partial(_record, matcher.claim, event, text))


def _record(claim: Claim, event: str, payload: str, *checkpoints: Checkpoint) -> bool:
    """checkpoints: the last one is the event's. False: news has come, nothing was written."""
    with transaction.atomic(using=claim.using):
        if not fence(claim):
            return False
        for checkpoint in checkpoints:
            insert_checkpoint_of(claim, checkpoint)
        event_id = checkpoints[-1].id
        OutboxEvent.objects.using(claim.using).create(
            id=event_id,
            execution_id=claim.execution_id,
            name=event,
            payload=payload,
            created_at=claim.now(),
        )
        _address(claim, event, event_id)
        signals.send_on_commit(
            signals.event_emitted,
            sender=OutboxEvent,
            using=claim.using,
            execution_id=claim.execution_id,
            event_id=event_id,
            event=event,
            payload=payloads.load(payload),
        )
    return True


def _address(claim: Claim, event: str, event_id: UUID) -> None:
    """One delivery for each receiver; workers hear of it after the commit."""
    addressed = [
        Delivery(event_id=event_id, receiver=receiver.name, queue=claim.queue, due_at=DatabaseNow())
        for receiver in receivers.of(event)
    ]
    if addressed:
        Delivery.objects.using(claim.using).bulk_create(addressed)
        dispatch.drain_after_commit(claim.queue, using=claim.using, delay_seconds=0.0)
