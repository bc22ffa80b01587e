"""The feed: what happened, in one order, to be read from any position on.

Rows are written without a position and get it here, once they are committed: so positions appear in their order, and
nothing ever appears below one that was read. Who numbers is decided by compare-and-set on ``FeedHead``. That is done by
who reads, so where nobody does it costs nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connections, transaction
from django.db.models import Exists, OuterRef, QuerySet

from django_durable.engine import payloads
from django_durable.engine.reconnect import persist
from django_durable.exceptions import InvalidOptionError
from django_durable.models import AuditEntry, Execution, FeedHead, OutboxEvent

BATCH = 500  # rows that get their positions in one transaction
MOST_BATCHES = 20  # before a read goes on with what is there; the rest is the next one's
EVENT = "event:"  # begins the kind of an emitted event, before its name

_TABLES: tuple[Any, ...] = (AuditEntry, OutboxEvent)


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEntry:
    """One thing that happened."""

    position: int
    id: UUID
    kind: str  # of the audit entry; "event:" and the name for an emitted event
    execution_id: UUID | None
    workflow: str  # empty: it concerns no execution, or one that was deleted
    at: datetime
    actor: str  # empty: the engine
    reason: str
    before: dict[str, Any]
    after: dict[str, Any]
    payload: Any  # of an emitted event, decoded, if it was asked for and was not erased


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedPage:
    """entries: in their order. position: where the next read goes on."""

    entries: tuple[FeedEntry, ...]
    position: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which entries; what is empty does not choose."""

    kinds: Collection[str] = ()
    workflows: Collection[str] = ()
    execution_id: UUID | None = None

    def audited(self, using: str) -> Any:
        """Entries of the audit trail; None: none is wanted."""
        kinds = [kind for kind in self.kinds if not kind.startswith(EVENT)]
        if self.kinds and not kinds:
            return None
        found = AuditEntry.objects.using(using)
        return self._of_executions(found.filter(kind__in=kinds) if kinds else found.all(), using)

    def emitted(self, using: str) -> Any:
        """Emitted events; None: none is wanted."""
        names = [kind.removeprefix(EVENT) for kind in self.kinds if kind.startswith(EVENT)]
        if self.kinds and not names:
            return None
        found = OutboxEvent.objects.using(using)
        return self._of_executions(found.filter(name__in=names) if names else found.all(), using)

    def _of_executions(self, found: Any, using: str) -> Any:
        if self.execution_id is not None:
            found = found.filter(execution_id=self.execution_id)
        if self.workflows:
            owners = Execution.objects.using(using).filter(pk=OuterRef("execution_id"), workflow__in=self.workflows)
            found = found.filter(Exists(owners))
        return found


def number(*, using: str) -> None:
    """Give positions to what was committed without one, the oldest first; bounded.

    Not inside a caller's transaction: if that were rolled back, a position that was read would be given out again.
    """
    for _ in range(MOST_BATCHES):
        if not _number_batch(using):
            return


def _number_batch(using: str) -> int:
    if _is_in_a_callers_transaction(using):
        return 0
    # Repeating it needs no look-up: what has a position is not found again.
    return persist(using, lambda: _number_some(using), written=lambda: None)


def _is_in_a_callers_transaction(using: str) -> bool:
    """A TestCase's own is none: it ends after everything that could read."""
    connection: Any = connections[using]
    return any(not block._from_testcase for block in connection.atomic_blocks) or not (
        connection.in_atomic_block or connection.get_autocommit()
    )


def _number_some(using: str) -> int:
    """How many had none; somebody else may have been faster, then nothing is written."""
    last = _head(using)
    found = sorted((row for table in _TABLES for row in _unnumbered(table, using)), key=_age)[:BATCH]
    if not found:
        return 0
    with transaction.atomic(using=using):
        # First, and with the row's lock from here on: who comes second waits, sees another number and writes nothing.
        if _heads(using).filter(position=last).update(position=last + len(found)):
            for position, row in enumerate(found, start=last + 1):
                row.position = position
            for table in _TABLES:
                ours = [row for row in found if type(row) is table]
                table.objects.using(using).bulk_update(ours, ["position"])
    return len(found)


def _unnumbered(table: Any, using: str) -> Iterable[Any]:
    return table.objects.using(using).unnumbered().only("id", "created_at")[:BATCH]  # type: ignore[no-any-return]


def _age(row: Any) -> tuple[datetime, UUID]:
    return row.created_at, row.id


def _heads(using: str) -> QuerySet[FeedHead]:
    return FeedHead.objects.using(using).filter(pk=FeedHead.ONLY)


def _head(using: str) -> int:
    last = _heads(using).values_list("position", flat=True).first()
    if last is None:
        FeedHead.objects.using(using).bulk_create([FeedHead()], ignore_conflicts=True)
    return last or 0


def head(*, using: str) -> int:
    """The last position there is, once everything that is committed has one."""
    number(using=using)
    return _heads(using).values_list("position", flat=True).first() or 0


def end(*, using: str) -> int:
    """As ``head``, however much there is to number: what is committed by now must not come behind it."""
    while _number_batch(using):
        pass
    return head(using=using)


def read(wanted: Wanted, *, after: int, limit: int, using: str, has_payloads: bool = False) -> FeedPage:
    """The next entries behind a position. Raises InvalidOptionError for one that was never given out."""
    # Asked before the rows: what comes up to here is committed, what is numbered meanwhile is for the next read.
    last = head(using=using)
    if after > last:
        raise InvalidOptionError(
            f"after={after}: the feed ends at {last}. Positions are those of one database; begin at feed_position()."
        )
    entries = between(wanted, after=after, until=last, limit=limit, using=using, has_payloads=has_payloads)
    return FeedPage(entries=entries, position=entries[-1].position if len(entries) == limit else last)


def between(
    wanted: Wanted, *, after: int, until: int, limit: int, using: str, has_payloads: bool = False
) -> tuple[FeedEntry, ...]:
    """The first entries behind ``after`` and up to ``until``, all of which are committed."""
    rows: list[Any] = []
    for found in (wanted.audited(using), wanted.emitted(using)):
        if found is not None:
            ordered = found.filter(position__gt=after, position__lte=until).order_by("position")
            rows += (ordered if has_payloads else _light(ordered))[:limit]
    rows = sorted(rows, key=lambda row: row.position)[:limit]
    return tuple(_entries(rows, has_payloads, using))


def _light(found: Any) -> Any:
    return found.defer("payload") if found.model is OutboxEvent else found


def _entries(rows: list[Any], has_payloads: bool, using: str) -> Iterable[FeedEntry]:
    owners = Execution.objects.using(using).filter(pk__in={row.execution_id for row in rows})
    workflows: dict[UUID | None, str] = dict(owners.values_list("pk", "workflow"))
    for row in rows:
        is_event = isinstance(row, OutboxEvent)
        yield FeedEntry(
            position=row.position,
            id=row.id,
            kind=f"{EVENT}{row.name}" if is_event else row.kind,
            execution_id=row.execution_id,
            workflow=workflows.get(row.execution_id, ""),
            at=row.created_at,
            actor="" if is_event else row.actor,
            reason="" if is_event else row.reason,
            before={} if is_event else row.before,
            after={} if is_event else row.after,
            payload=payloads.load_unless_erased(row.payload) if is_event and has_payloads else None,
        )
