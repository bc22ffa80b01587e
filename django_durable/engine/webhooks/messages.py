"""What is sent: the body as it was made when the entry was routed, with the payload if the endpoint is to have it."""

from __future__ import annotations

import dataclasses
import json
from enum import Enum
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from django_durable.engine import payloads
from django_durable.engine.feed import EVENT
from django_durable.engine.webhooks import signing
from django_durable.models import OutboxEvent, WebhookDelivery


def message(delivery: WebhookDelivery, *, using: str) -> tuple[bytes, dict[str, str]]:
    """Body and headers of an attempt. Raises what the codec and the cipher raise, TypeError for a payload without JSON.

    The body is the same at every attempt, and so is the id; time and signature are the attempt's.
    """
    endpoint, at = delivery.endpoint, getattr(delivery, "leased_at")  # noqa: B009 - an annotation of the query
    body = delivery.body
    if endpoint.include_payload and delivery.kind.startswith(EVENT):
        body = _with_payload(delivery, using)
    keys = [payloads.unseal(endpoint.secret)]
    if endpoint.previous_secret and endpoint.previous_until and endpoint.previous_until > at:
        keys.append(payloads.unseal(endpoint.previous_secret))
    sent = body.encode()
    return sent, signing.headers(str(delivery.id), sent, at=at, keys=keys)


def _with_payload(delivery: WebhookDelivery, using: str) -> str:
    """Read at the attempt: not kept twice. None once the event was erased, or deleted with its execution."""
    told = json.loads(delivery.body)
    stored = OutboxEvent.objects.using(using).filter(pk=delivery.entry_id).values_list("payload", flat=True).first()
    told["data"]["payload"] = None if stored is None else payloads.load_unless_erased(stored)
    return json.dumps(told, cls=_Encoder)


class _Encoder(DjangoJSONEncoder):
    """The JSON of other programs: without the codec's marks, so not to be read back by it."""

    def default(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, set | frozenset):
            return list(value)
        if dataclasses.is_dataclass(value):
            return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        if hasattr(value, "model_dump"):  # pydantic's
            return value.model_dump(mode="json")
        return super().default(value)
