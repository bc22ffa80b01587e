"""The endpoints: made, changed and removed by people, disabled by the engine; each with its audit entry."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from django_durable.clock import DatabaseNow
from django_durable.engine import payloads
from django_durable.engine.audit import audit
from django_durable.engine.webhooks import signing
from django_durable.exceptions import WebhookNotFoundError
from django_durable.models import WebhookEndpoint
from django_durable.models.webhook import WebhookEndpointQuerySet

HEALTHY: dict[str, Any] = {"failures": 0, "failing_since": None, "paused_until": None}


def add(
    url: str,
    *,
    kinds: list[str],
    workflows: list[str],
    include_payload: bool,
    after: int,
    using: str,
    actor: str,
    reason: str,
) -> tuple[WebhookEndpoint, str]:
    """The endpoint, and its secret: this is the only time that it is told."""
    secret = signing.new_secret()
    endpoint = WebhookEndpoint(
        url=url,
        kinds=kinds,
        workflows=workflows,
        include_payload=include_payload,
        position=after,
        secret=payloads.seal(secret),
        created_at=DatabaseNow(),
    )
    with transaction.atomic(using=using):
        endpoint.save(using=using, force_insert=True)
        _told(endpoint.id, "webhook_added", using=using, actor=actor, reason=reason)
    return found(endpoint.id, using=using), secret


def update(endpoint_id: UUID, changes: dict[str, Any], *, using: str, actor: str, reason: str) -> WebhookEndpoint:
    """Raises WebhookNotFoundError."""
    if "active" in changes:
        changes = {**changes, **HEALTHY, "disabled_reason": ""}
    with transaction.atomic(using=using):
        before = locked(endpoint_id, using=using)
        was = {name: getattr(before, name) for name in changes if name not in HEALTHY}
        _only(endpoint_id, using).update(**changes)
        _told(endpoint_id, "webhook_updated", using=using, actor=actor, reason=reason, **was)
    return found(endpoint_id, using=using)


def remove(endpoint_id: UUID, *, using: str, actor: str, reason: str) -> None:
    """Its deliveries go with it. Raises WebhookNotFoundError."""
    with transaction.atomic(using=using):
        locked(endpoint_id, using=using).delete()
        _told(endpoint_id, "webhook_removed", using=using, actor=actor, reason=reason)


def rotate_secret(endpoint_id: UUID, *, keep_seconds: float, using: str, actor: str, reason: str) -> str:
    """A new secret; for so long the one before signs too. Raises WebhookNotFoundError."""
    secret = signing.new_secret()
    with transaction.atomic(using=using):
        before = locked(endpoint_id, using=using)
        _only(endpoint_id, using).update(
            secret=payloads.seal(secret),
            previous_secret=before.secret if keep_seconds else None,
            previous_until=DatabaseNow() + timedelta(seconds=keep_seconds) if keep_seconds else None,
        )
        _told(endpoint_id, "webhook_secret_rotated", using=using, actor=actor, reason=reason)
    return secret


def disable(endpoint: WebhookEndpoint, reason: str, *, using: str) -> None:
    """By the engine; that of several workers which was first says so."""
    with transaction.atomic(using=using):
        if _only(endpoint.pk, using).active().update(active=False, disabled_reason=reason):
            _told(endpoint.pk, "webhook_disabled", using=using, reason=reason)


def locked(endpoint_id: UUID, *, using: str) -> WebhookEndpoint:
    """For this transaction."""
    row = _only(endpoint_id, using).select_for_update().first()
    if row is None:
        raise WebhookNotFoundError(endpoint_id)
    return row


def found(endpoint_id: UUID, *, using: str) -> WebhookEndpoint:
    row = _only(endpoint_id, using).first()
    if row is None:
        raise WebhookNotFoundError(endpoint_id)
    return row


def _only(endpoint_id: UUID, using: str) -> WebhookEndpointQuerySet:
    return WebhookEndpointQuerySet(WebhookEndpoint, using=using).filter(pk=endpoint_id)


def _told(endpoint_id: UUID, kind: str, *, using: str, actor: str = "", reason: str = "", **was: Any) -> None:
    """No URL in it: some carry a secret of their receiver's."""
    known = {name: value for name, value in was.items() if name != "url"}
    audit(using, None, kind=kind, actor=actor, reason=reason, before={"endpoint_id": str(endpoint_id), **known})
