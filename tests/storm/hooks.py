"""An endpoint for webhooks in the storm's own process, and what it must have been told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.models import DeliveryStatus, OutboxEvent, WebhookDelivery, WebhookEndpoint
from tests.engine import webhook_server
from tests.engine.webhook_server import Receiver
from tests.ledger_app.ledger import Ledger
from tests.ledger_app.receivers import EVENT
from tests.storm.clients import patiently

PATIENCE = timedelta(seconds=20)  # how long a message may be due before somebody must have sent it


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Told of every event that is emitted from now on."""
    with webhook_server.receiving() as receiver:
        wanted = [f"event:{EVENT}"]
        _, receiver.secret = patiently("default", lambda: client.add_webhook(receiver.url, kinds=wanted))
        yield receiver


def violations(receiver: Receiver, ledger: Ledger, *, using: str = "direct") -> Iterator[str]:
    """One message for each event, also of an execution that is pruned; what is delivered was received."""
    yield from (f"the endpoint was sent what it cannot verify: {text}" for text in receiver.refused)
    endpoint = WebhookEndpoint.objects.using(using).get()
    messages = list(WebhookDelivery.objects.using(using))
    received = Counter(receiver.ids)
    for message in messages:
        about = f"the message {message.pk} of {message.execution_id}"
        if message.status == DeliveryStatus.DELIVERED and not received[str(message.pk)]:
            yield f"{about} is delivered, and was never received"
        if received[str(message.pk)] > message.attempts:
            yield f"{about} was received {received[str(message.pk)]} times in {message.attempts} attempts"
    if unknown := received.keys() - {str(message.pk) for message in messages}:
        yield f"received messages that nobody sent: {sorted(unknown)}"
    told = {str(message.entry_id) for message in messages}
    routed = OutboxEvent.objects.using(using).filter(position__lte=endpoint.position).values_list("pk", flat=True)
    pruned = [event for line in ledger.lines("pruned") for event in line["events"]]
    for event in {*map(str, routed), *pruned} - told:
        yield f"nobody was told of the event {event}{', which is pruned' if event in pruned else ''}"
    if endpoint.paused_until is None and endpoint.active:
        overdue = WebhookDelivery.objects.using(using).filter(due_at__lt=DatabaseNow() - PATIENCE)
        for message in overdue:
            yield f"the message {message.pk} of {message.execution_id} has been due since {message.due_at}"


def summary(receiver: Receiver) -> str:
    return f"{len(set(receiver.ids))} of {WebhookDelivery.objects.using('direct').count()}"
