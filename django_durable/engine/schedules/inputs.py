"""What a tick starts: the stored input with its nominal time filled in.

``{scheduled_at}`` stands for that time as ISO 8601 text in UTC, like ``2026-03-01T02:00:00+00:00``, in every text of
the arguments and in the key. It is text and no datetime, so that a template has the type that the function takes. It is
put into the encoded arguments, where no other character can be meant, and nothing of a value is ever looked up by it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from django_durable import codec
from django_durable.definitions import PreparedStart, registry
from django_durable.engine import payloads
from django_durable.models import Schedule
from django_durable.names import check_key
from django_durable.options import PRIORITIES, StartOptions
from django_durable.schedule_spec import PLACEHOLDER


def prepared(schedule: Schedule, nominal_at: datetime) -> PreparedStart:
    """Raises UnknownWorkflowError, TypeError, CodecError, InvalidOptionError, PayloadErasedError."""
    definition = registry.find(schedule.workflow)
    given = codec.decode(filled(payloads.unseal(schedule.input), nominal_at))
    definition.check_arguments(tuple(given["args"]), given["kwargs"])
    options = StartOptions(
        key=check_key(filled(schedule.key, nominal_at), "key") if schedule.key else None,
        queue=schedule.queue or None,
        priority=None if schedule.priority is None else PRIORITIES[schedule.priority - 1],
        labels=schedule.labels,
    )
    return PreparedStart(definition, options, tuple(given["args"]), given["kwargs"])


def filled(text: str, nominal_at: datetime) -> str:
    return text.replace(PLACEHOLDER, nominal_at.astimezone(UTC).isoformat())
