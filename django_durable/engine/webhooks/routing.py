"""From the feed to deliveries: what an endpoint wants of what lies behind its position, once."""

from __future__ import annotations

import json
from collections.abc import Iterable

from django.db import transaction

from django_durable.clock import DatabaseNow
from django_durable.engine import feed
from django_durable.engine.feed import FeedEntry, Wanted
from django_durable.models import WebhookDelivery, WebhookEndpoint

WINDOW = 500  # positions that one transaction passes


def route(*, using: str) -> None:
    """Make the deliveries of each endpoint that is behind the feed; a window of it, the rest is the next call's."""
    last = feed.head(using=using)
    behind = WebhookEndpoint.objects.using(using).filter(active=True, position__lt=last)
    for endpoint in behind.order_by("id"):
        _route(endpoint, min(last, endpoint.position + WINDOW), using)


def _route(endpoint: WebhookEndpoint, until: int, using: str) -> None:
    wanted = Wanted(kinds=endpoint.kinds, workflows=endpoint.workflows)
    entries = feed.between(wanted, after=endpoint.position, until=until, limit=WINDOW, using=using)
    with transaction.atomic(using=using):
        mine = WebhookEndpoint.objects.using(using).filter(pk=endpoint.pk, active=True, position=endpoint.position)
        # First: who comes second waits here, and finds that it has been done.
        if mine.update(position=until):
            WebhookDelivery.objects.using(using).bulk_create(_addressed(endpoint, entries))


def _addressed(endpoint: WebhookEndpoint, entries: Iterable[FeedEntry]) -> Iterable[WebhookDelivery]:
    for entry in entries:
        yield WebhookDelivery(
            endpoint=endpoint,
            entry_id=entry.id,
            kind=entry.kind,
            execution_id=entry.execution_id,
            body=_body(entry),
            due_at=DatabaseNow(),
            created_at=DatabaseNow(),
        )


def _body(entry: FeedEntry) -> str:
    """Ids and kinds only: who receives it asks for the rest, as somebody who may."""
    data = {
        "id": str(entry.id),
        "position": entry.position,
        "execution_id": None if entry.execution_id is None else str(entry.execution_id),
        "workflow": entry.workflow,
    }
    return json.dumps({"type": entry.kind, "timestamp": entry.at.isoformat(), "data": data})
