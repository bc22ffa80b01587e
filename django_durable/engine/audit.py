"""The audit trail: entries in the transaction of the change that they tell, as many as ``DURABLE["AUDIT"]`` asks for.

What is not kept at a level costs no statement there. What people do is kept at every level.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import transaction

from django_durable import signals
from django_durable.clock import DatabaseNow
from django_durable.conf import AUDIT_LEVELS, get_settings
from django_durable.engine import compound
from django_durable.models import ACTS, AuditEntry, AuditKind, Execution, audit_level

_KINDS = frozenset(AuditKind)


def keeps(kind: str) -> bool:
    """Whether an entry of that kind is written at the level of the settings."""
    return AUDIT_LEVELS.index(audit_level(kind)) <= AUDIT_LEVELS.index(get_settings().audit)


def keeps_steps() -> bool:
    """Asked for every checkpoint."""
    return get_settings().audit == AUDIT_LEVELS[-1]


def audit(
    using: str,
    execution_id: UUID | None,
    *,
    kind: str,
    actor: str = "",
    reason: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """One entry, if that kind is kept; what a person did is told to ``operator_acted`` too. One INSERT.

    Transaction: must be called in that of the change.
    """
    if keeps(kind):
        told = entry(execution_id, kind=kind, actor=actor, reason=reason, before=before, after=after)
        told.save(using=using, force_insert=True)
    if kind in ACTS or kind not in _KINDS:
        act = {"execution_id": execution_id, "verb": str(kind), "actor": actor, "reason": reason}
        signals.send_on_commit(signals.operator_acted, sender=Execution, using=using, **act)


def entry(
    execution_id: UUID | None,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    **what: Any,
) -> AuditEntry:
    """A new one, not yet written."""
    told = {"before": _plain(before or {}), "after": _plain(after or {})}
    return AuditEntry(execution_id=execution_id, created_at=DatabaseNow(), **told, **what)


def entry_if_kept(execution_id: UUID, *, kind: str, **what: Any) -> AuditEntry | None:
    """For a write that takes the entry along."""
    return entry(execution_id, kind=kind, **what) if keeps(kind) else None


def whole(using: str, kind: str) -> AbstractContextManager[object]:
    """``compound.whole`` around a change that this kind tells, if that is kept."""
    return transaction.atomic(using=using) if keeps(kind) else compound.whole(using)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON can hold it."""
    return {name: _text(value) if isinstance(value, datetime | UUID) else value for name, value in values.items()}


def _text(value: datetime | UUID) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
