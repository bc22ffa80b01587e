"""Limits that nobody gives back: somebody has waited there for long, and this is who holds the slots."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import UUID

from django_durable.health.findings import Finding, kind
from django_durable.health.look import MOST_EXAMPLES, MOST_ROWS, Look, duration
from django_durable.models import Slot

WAITING_LONG_SECONDS = 3600.0

FULL_LIMITS = kind(
    "full_limits",
    "At which limits has somebody waited for long?",
    warning=f"for more than {WAITING_LONG_SECONDS / 3600:.0f} h",
    fix="Look at the executions that hold its slots: cancel what waits in vain, raise the capacity, or let those that "
    "wait lend their slots (`Limit(..., while_waiting=False)`). A slot of a step is held by a body that runs.",
)


def find_full_limits(look: Look) -> Iterator[Finding]:
    """One finding for each limit, by the oldest that waits there."""
    rows = Slot.objects.using(look.using).waiting().filter(execution__isnull=False).order_by("id")
    oldest: dict[UUID, tuple[UUID, str]] = {}
    for slot, limit, name, key in rows.values_list("id", "limit", "limit__name", "limit__key")[:MOST_ROWS]:
        oldest.setdefault(limit, (slot, f"{name} {key}".rstrip()))
    found = False
    for limit, (slot, about) in oldest.items():
        age = look.seconds_since(_made_at(slot))
        if age > WAITING_LONG_SECONDS:
            found = True
            yield _full(look, limit, about, age)
    if not found:
        yield FULL_LIMITS.ok("None.", limits=len(oldest))


def _full(look: Look, limit: UUID, about: str, age: float) -> Finding:
    held = Slot.objects.using(look.using).filter(limit=limit, execution__isnull=False).held()
    holders = list(held.order_by("id").values_list("execution_id", "execution__status")[:MOST_EXAMPLES])
    told = ", ".join(f"{pk} ({status})" for pk, status in holders) or "nobody"
    return FULL_LIMITS.warn(
        f"Somebody has waited for a slot of {about} for {duration(age)}; held by {told}.",
        limit=about,
        age_seconds=age,
        examples=[str(pk) for pk, _ in holders],
    )


def _made_at(key: UUID) -> datetime:
    """A UUIDv7 begins with the milliseconds since 1970."""
    return datetime.fromtimestamp((key.int >> 80) / 1000, tz=UTC)
