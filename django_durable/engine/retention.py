"""What may be deleted, and its deletion in small transactions of a bounded number of rows.

An execution is expired when the policy of its workflow and status says so. It is still kept while somebody reads it:
an open parent, the parent of a map whose results are ranges of ids, a chain of which there is a last one, an event that
is not delivered, or that webhooks have not told yet. Children that outlive their parent, open or closed, go on without
it.

Nothing is found and deleted in one go: what was found is locked and looked at once more, and everything that is locked
by somebody else is left to the next batch, so pruning never waits for a worker or for another prune.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections, models, transaction
from django.db.models import Count, Exists, OuterRef, Q

from django_durable.clock import DatabaseNow
from django_durable.conf import get_settings
from django_durable.definitions import registry
from django_durable.engine import archiving, offloading
from django_durable.exceptions import UnknownWorkflowError
from django_durable.models import (
    CLOSED,
    AuditEntry,
    Delivery,
    Execution,
    LogLine,
    OutboxEvent,
    ScheduleTick,
    SetAsideStep,
    Signal,
    Slot,
    Status,
    Step,
    WebhookDelivery,
    WebhookEndpoint,
)
from django_durable.retention import FOREVER, Retention

BATCH = 500  # executions that one transaction deletes
MOST_ROWS = 20_000  # that go with them all, but for the first one's

# What goes with an execution, in an order that the database allows, by the way to it. No ``AuditEntry``: that has a
# retention of its own. No ``FanOut``: its row is gone when the last child has ended.
DEPENDENTS: list[tuple[type[models.Model], str]] = [
    (Delivery, "event__execution"),
    (OutboxEvent, "execution"),
    (Signal, "execution"),
    (LogLine, "execution"),
    (SetAsideStep, "execution"),
    (Slot, "execution"),
    (Step, "execution"),
]


class Ended(NamedTuple):
    """An execution that was found; it is deleted only as long as it is still this."""

    id: UUID
    status: str
    finished_at: datetime
    parent_id: UUID | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which executions to look for: all that are expired, or fewer.

    before: those that have ended before then, instead of what the policies say.
    """

    workflow: str | None = None
    status: str | None = None
    before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one batch has done. is_last: there was no more to find; what is in use elsewhere may be left."""

    deleted: int
    is_last: bool
    archive: str | None = None  # the file that holds them


def policy(workflow: str, status: str) -> timedelta | None:
    """How long such executions are kept after their end; None: for ever."""
    said = None
    with suppress(UnknownWorkflowError):  # its code is gone, or not here
        said = registry.find(workflow).retention.after(status)
    if said is None:
        said = Retention.of(get_settings().retention, "DURABLE['RETENTION']").after(status)
    return None if said == FOREVER else said


def has_policy() -> bool:
    """Whether anything is ever deleted; no statement."""
    policies = [definition.retention for definition in registry]
    policies.append(Retention.of(get_settings().retention, "DURABLE['RETENTION']"))
    return any(kept.after(status) not in (None, FOREVER) for kept in policies for status in CLOSED)


# -- finding -------------------------------------------------------------------------------------------


def expired(wanted: Wanted, *, using: str) -> Iterator[models.QuerySet[Execution]]:
    """What may be deleted, for each workflow and status: a range of an index, the oldest first."""
    told = list(_told(using))
    names = [wanted.workflow] if wanted.workflow is not None else _names(using)
    statuses = [wanted.status] if wanted.status is not None else sorted(CLOSED)
    for name in names:
        for status in statuses:
            before: Any = wanted.before
            if before is None and (age := policy(name, status)) is not None:
                before = DatabaseNow() - age
            if before is not None:
                ended = Execution.objects.using(using).ended(name, status, before=before)
                yield ended.filter(*_unread(status), *told)


def _names(using: str) -> Iterator[str]:
    """The workflows that have executions, by one probe of the index for each."""
    names = Execution.objects.using(using).order_by("workflow").values_list("workflow", flat=True)
    name = names.first()
    while name is not None:
        yield name
        name = names.filter(workflow__gt=name).first()


def _unread(status: str) -> Iterator[Any]:
    """Nobody will read it any more."""
    executions = Execution.objects.all()
    yield Q(parent=None) | (Q(fan_out=None) & Exists(executions.closed().filter(pk=OuterRef("parent"))))
    pending = Delivery.objects.filter(event__execution=OuterRef("pk"), due_at__isnull=False)
    yield ~Exists(pending)
    if status == Status.CONTINUED:
        yield ~Exists(executions.last_of(OuterRef("chain")))  # type: ignore[arg-type]


def _told(using: str) -> Iterator[Any]:
    """Webhooks do not need it any more: names and payloads are read late. Nothing to ask where there are none."""
    if get_settings().webhook_queue is None:
        return
    active = WebhookEndpoint.objects.using(using).filter(active=True).values_list("pk", "position", "include_payload")
    endpoints = list(active)
    if not endpoints:
        return
    last = min(position for _, position, _ in endpoints)
    readers = [pk for pk, _, has_payloads in endpoints if has_payloads]
    unsent = WebhookDelivery.objects.filter(endpoint__in=readers, entry_id=OuterRef("pk"), due_at__isnull=False)
    unrouted = Q(position__isnull=True) | Q(position__gt=last)
    yield ~Exists(AuditEntry.objects.filter(unrouted, execution_id=OuterRef("pk")))
    events = OutboxEvent.objects.filter(execution=OuterRef("pk"))
    yield ~Exists(events.filter(unrouted | Exists(unsent) if readers else unrouted))


def find(wanted: Wanted, *, size: int, using: str) -> list[Ended]:
    """Up to so many that may be deleted."""
    found: list[Ended] = []
    for rows in expired(wanted, using=using):
        found += [Ended(*row) for row in rows.values_list(*Ended._fields)[: size - len(found)]]
        if len(found) == size:
            break
    return found


def _light(found: list[Ended], using: str) -> list[Ended]:
    """As many as have no more rows than one transaction should delete."""
    counted: Counter[UUID] = Counter()
    for model, path in DEPENDENTS:
        rows = model._base_manager.using(using).filter(**{f"{path}__in": [row.id for row in found]})
        counted.update(dict(rows.values_list(path).annotate(Count("pk")).order_by()))
    kept: list[Ended] = []
    number = 0
    for row in found:
        number += counted[row.id]
        if kept and number > MOST_ROWS:
            break
        kept.append(row)
    return kept


def count(wanted: Wanted, *, using: str) -> dict[tuple[str, str], int]:
    """How many may be deleted now, by workflow and status."""
    counted: dict[tuple[str, str], int] = {}
    for rows in expired(wanted, using=using):
        for name, status, number in rows.order_by().values_list("workflow", "status").annotate(Count("pk")):
            counted[name, status] = number
    return counted


# -- deleting ------------------------------------------------------------------------------------------


def prune(wanted: Wanted | None = None, *, size: int = BATCH, using: str) -> Batch:
    """Delete one batch, after it was archived where there is an archive; at most one transaction with row locks.

    Transaction: none may be open, since the archive's file has to be there before.
    """
    found = find(wanted or Wanted(), size=size, using=using)
    if not found:
        return Batch(deleted=0, is_last=True)
    light = _light(found, using)
    children = _children(light, size, using)
    if children is None:
        return Batch(deleted=0, is_last=False)
    archive = archiving.write([row.id for row in light], using=using)
    with transaction.atomic(using=using):
        ids = _lock(light, children, using)
        files = offloading.files_of(ids, using=using)
        _delete(ids, using)
    offloading.delete(files)
    is_last = not ids or (len(light) == len(found) < size)
    return Batch(deleted=len(ids), is_last=is_last, archive=archive)


def _children(found: list[Ended], size: int, using: str) -> dict[UUID, UUID] | None:
    """The parents of their children, by child. None: there were too many at once, and some were separated from theirs.

    Of these each has ended, so nothing but the family tree is lost if the parent should stay after all.
    """
    children = Execution.objects.using(using).filter(parent__in=[row.id for row in found])
    rows = children.order_by("pk").values_list("pk", "parent_id")[: size + 1]
    page = {child: parent for child, parent in rows if parent is not None}
    if len(page) > size and _orphan(children.closed().filter(pk__in=page), using):
        return None
    return page


def _lock(found: list[Ended], children: dict[UUID, UUID], using: str) -> list[UUID]:
    """Those that are still as they were found, when they and all that belongs to them is locked by nobody else."""
    family = {row.id for row in found} | {row.parent_id for row in found if row.parent_id} | children.keys()
    rows = locked(Execution.objects.using(using).filter(pk__in=family).order_by("pk"), using)
    held = {row[0]: Ended(*row) for row in rows.values_list(*Ended._fields)}
    lost = {parent for child, parent in children.items() if child not in held}
    kept = [row.id for row in found if row.id not in lost and _is_still(row, held)]
    deliveries = Delivery.objects.using(using).filter(event__execution__in=kept).order_by("pk")
    # Blocking, in order: who has one of these locked delivers it or retries it by hand, and is soon done.
    pending = {execution for execution, due in _events_of(deliveries, using) if due is not None}
    return [execution_id for execution_id in kept if execution_id not in pending]


def _is_still(row: Ended, held: dict[UUID, Ended]) -> bool:
    if held.get(row.id) != row:
        return False
    return row.parent_id is None or (row.parent_id in held and held[row.parent_id].status in CLOSED)


def _events_of(deliveries: models.QuerySet[Delivery], using: str) -> list[Any]:
    of = ("self",) if connections[using].features.has_select_for_update_of else ()
    locking = deliveries.select_for_update(of=of) if connections[using].features.has_select_for_update else deliveries
    return list(locking.values_list("event__execution", "due_at"))


def locked(rows: models.QuerySet[Execution], using: str) -> models.QuerySet[Execution]:
    """These rows with a lock, without those that somebody else has locked. Inside a transaction, before it reads."""
    features = connections[using].features
    if features.has_select_for_update:
        return rows.select_for_update(skip_locked=features.has_select_for_update_skip_locked)
    # SQLite has one lock for all that write, and who has read before taking it may be refused it.
    Execution.objects.using(using).filter(finished_at=None, pk__in=rows.values("pk")[:1]).update(finished_at=None)
    return rows


def delete(execution: Execution, *, using: str) -> bool:
    """Delete one that has ended, now and whatever the policies say, without archiving it; False: somebody reads it yet.

    Transaction: must be called inside one that has its row locked.
    """
    rows = Execution.objects.using(using).filter(pk=execution.pk)
    found = [Ended(*row) for row in rows.filter(*_unread(execution.status)).values_list(*Ended._fields)]
    children = _children(found, BATCH, using) if found else None
    ids = _lock(found, children, using) if children is not None else []
    if not ids:
        return False
    files = offloading.files_of(ids, using=using)
    _delete(ids, using)
    transaction.on_commit(partial(offloading.delete, files), using=using)
    return True


def _delete(ids: list[UUID], using: str) -> None:
    """The rows that go with them, and them. Who is left behind forgets them."""
    _orphan(Execution.objects.using(using).filter(parent__in=ids), using)
    ScheduleTick.objects.using(using).filter(execution__in=ids).update(execution=None)
    for model, column in DEPENDENTS:
        rows = model._base_manager.using(using).filter(**{f"{column}__in": ids})
        rows._raw_delete(using=using)
    Execution.objects.using(using).closed().filter(pk__in=ids)._raw_delete(using=using)


def _orphan(children: models.QuerySet[Execution], using: str) -> int:
    """They outlive their parent, forget it, and are from now on about what it was about: so an erasure finds them."""
    for (subject_type, subject_id), heirs in _heirs(children, using).items():
        rows = Execution.objects.using(using).filter(pk__in=heirs)
        rows.update(subject_type=subject_type, subject_id=subject_id)
    return children.update(parent=None)


def _heirs(children: models.QuerySet[Execution], using: str) -> dict[tuple[str, ...], list[UUID]]:
    """Those that are about nothing by themselves, by what the nearest above them is about."""
    heirs: defaultdict[tuple[str, ...], list[UUID]] = defaultdict(list)
    above = dict(children.filter(subject_type="").order_by("pk").values_list("pk", "parent_id"))
    while above:
        rows = Execution.objects.using(using).filter(pk__in=set(above.values())).order_by("pk")
        known = {row[0]: row[1:] for row in rows.values_list("pk", "parent_id", "subject_type", "subject_id")}
        for child, ancestor in list(above.items()):
            parent_id, *subject = known.get(ancestor, (None, "", ""))
            if all(subject):
                heirs[tuple(subject)].append(child)
            if all(subject) or parent_id is None:
                del above[child]
            else:
                above[child] = parent_id
    return heirs


def prune_audit(*, size: int = BATCH, using: str) -> int:
    """Delete one batch of the audit trail, but nothing about what is still open; how many entries."""
    age = get_settings().audit_retention
    if age is None:
        return 0
    is_open = Exists(Execution.objects.open().filter(pk=OuterRef("execution_id")))
    entries = AuditEntry.objects.using(using)
    old = entries.filter(~is_open, created_at__lt=DatabaseNow() - age).order_by("created_at")
    ids = list(old.values_list("pk", flat=True)[:size])
    entries.filter(pk__in=ids)._raw_delete(using=using)
    return len(ids)


def prune_webhooks(*, size: int = BATCH, using: str) -> int:
    """Delete one batch of what webhooks have told or given up, kept as long as the audit trail; how many."""
    age = get_settings().audit_retention
    if age is None:
        return 0
    settled = WebhookDelivery.objects.using(using).filter(due_at__isnull=True)
    ids = list(settled.order_by("pk").values_list("pk", flat=True)[:size])  # the oldest: ids sort by creation
    if not ids:
        return 0
    return settled.filter(pk__in=ids, created_at__lt=DatabaseNow() - age)._raw_delete(using=using)
