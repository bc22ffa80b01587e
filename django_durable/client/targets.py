"""What the calls take: an execution, a database, somebody who acts."""

from __future__ import annotations

from uuid import UUID

from django.db import models

from django_durable.conf import get_settings
from django_durable.definitions import Started
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Delivery, Execution, WebhookDelivery, WebhookEndpoint

Target = Execution | Started | UUID | str


def alias_of(using: str | None) -> str:
    return using or get_settings().database


def id_of(execution: Target | Delivery | WebhookDelivery | WebhookEndpoint) -> UUID:
    if isinstance(execution, str):
        try:
            return UUID(execution)
        except ValueError:
            raise InvalidOptionError(f"{execution!r} is not an execution id; give a UUID.") from None
    found = execution if isinstance(execution, UUID) else getattr(execution, "id", None)
    if not isinstance(found, UUID):
        raise InvalidOptionError(f"{execution!r} is not an execution; give one, or its id.")
    return found


def actor_of(actor: object) -> str:
    """Who did it, as text that outlives the user's row."""
    if isinstance(actor, models.Model):
        return f"{actor._meta.label_lower}:{actor.pk} {actor}"[:200]
    return str(actor)[:200]
