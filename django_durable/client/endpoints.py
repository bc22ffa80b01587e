"""Endpoints outside that are told what happens."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import models

from django_durable import clock
from django_durable.client.feeding import names
from django_durable.client.targets import actor_of, alias_of, id_of
from django_durable.engine import feed
from django_durable.engine.webhooks import addresses, delivering, endpoints
from django_durable.exceptions import InvalidOptionError
from django_durable.models import WebhookDelivery, WebhookEndpoint

Endpoint = WebhookEndpoint | UUID | str
KEPT = timedelta(hours=24)  # how long a secret that was replaced signs too


def add_webhook(
    url: str,
    *,
    kinds: Collection[str] | None = None,
    workflows: Collection[str] | None = None,
    include_payload: bool = False,
    after: int | None = None,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> tuple[WebhookEndpoint, str]:
    """Have an endpoint told of the entries of the feed. Returns it and its secret, which is never shown again.

    kinds, workflows: of the entries, as for ``feed``; None for all. include_payload: of emitted events; else only ids
    and kinds leave. after: a position of the feed; None for what happens from now on (inside a transaction
    also for what nobody has read yet).
    Raises InvalidOptionError. Transaction: the caller's.
    """
    addresses.parse(url)
    return endpoints.add(
        url,
        kinds=names(kinds, "kinds"),
        workflows=names(workflows, "workflows"),
        include_payload=_flag(include_payload, "include_payload"),
        after=_position(after, alias_of(using)),
        using=alias_of(using),
        actor=actor_of(actor),
        reason=reason,
    )


def update_webhook(
    endpoint: Endpoint,
    *,
    url: str | None = None,
    kinds: Collection[str] | None = None,
    workflows: Collection[str] | None = None,
    include_payload: bool | None = None,
    active: bool | None = None,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> WebhookEndpoint:
    """Change what is given; an empty list of kinds or workflows is all of them.

    active: False stops sending and routing; True goes on where it stopped, with what has come meanwhile.
    Raises WebhookNotFoundError, InvalidOptionError. Transaction: the caller's.
    """
    changes: dict[str, Any] = {}
    if url is not None:
        addresses.parse(url)
        changes["url"] = url
    if kinds is not None:
        changes["kinds"] = names(kinds, "kinds")
    if workflows is not None:
        changes["workflows"] = names(workflows, "workflows")
    if include_payload is not None:
        changes["include_payload"] = _flag(include_payload, "include_payload")
    if active is not None:
        changes["active"] = _flag(active, "active")
    if not changes:
        raise InvalidOptionError("update_webhook(...): give what is to change.")
    return endpoints.update(id_of(endpoint), changes, using=alias_of(using), actor=actor_of(actor), reason=reason)


def remove_webhook(endpoint: Endpoint, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """Forget an endpoint and its deliveries. Raises WebhookNotFoundError. Transaction: the caller's."""
    endpoints.remove(id_of(endpoint), using=alias_of(using), actor=actor_of(actor), reason=reason)


def webhooks(*, using: str | None = None) -> models.QuerySet[WebhookEndpoint]:
    """All endpoints, the oldest first, without their secrets."""
    found = WebhookEndpoint.objects.using(alias_of(using))
    return found.defer("secret", "previous_secret").order_by("created_at", "id")


def rotate_webhook_secret(
    endpoint: Endpoint,
    *,
    keep: timedelta | float = KEPT,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> str:
    """Give an endpoint a new secret, and return it. keep: how long the one before signs too; 0: it was found out.

    Raises WebhookNotFoundError, InvalidOptionError. Transaction: the caller's.
    """
    return endpoints.rotate_secret(
        id_of(endpoint),
        keep_seconds=clock.to_seconds(keep, "keep"),
        using=alias_of(using),
        actor=actor_of(actor),
        reason=reason,
    )


def test_webhook(endpoint: Endpoint, *, using: str | None = None) -> WebhookDelivery:
    """Send an endpoint a message of type ``webhook.test``; the delivery says what came of it, once a worker has.

    Raises WebhookNotFoundError, DeliveryConflict for one that is not active. Transaction: the caller's.
    """
    return delivering.test(id_of(endpoint), using=alias_of(using))


def retry_webhook(
    delivery: WebhookDelivery | UUID | str, *, reason: str = "", actor: object = "", using: str | None = None
) -> None:
    """Send what an endpoint has failed to take, or will be sent later, now; all attempts begin anew.

    Raises DeliveryConflict if it is delivered, being sent at this moment, or gone. Transaction: the caller's.
    """
    delivering.retry(id_of(delivery), using=alias_of(using), actor=actor_of(actor), reason=reason)


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise InvalidOptionError(f"{what}={value!r}: give True or False.")
    return value


def _position(after: int | None, using: str) -> int:
    if after is None:
        return feed.end(using=using)
    last = feed.head(using=using)
    if not isinstance(after, int) or isinstance(after, bool) or not 0 <= after <= last:
        raise InvalidOptionError(
            f"after={after!r}: give a position of the feed, from 0 to {last}, or None for its end."
        )
    return after
