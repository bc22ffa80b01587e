"""Forgetting one subject: what closed executions about it hold goes, and a row that says so remains.

The rows keep their ids, workflow, status and times, so lists, parents and the audit trail stay whole. Everything that
a person may have put there is overwritten, also the id of the subject, by which nothing finds them afterwards. That is
why those who are about it come last: whoever dies half-way finds all of them again.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connections, models, transaction
from django.db.models import Case, Value, When

from django_durable import signals
from django_durable.engine import forcing, offloading
from django_durable.engine.audit import entry
from django_durable.engine.payloads import ERASED
from django_durable.exceptions import ExecutionClosedError, ExecutionConflict
from django_durable.models import AuditEntry, Delivery, Execution, LogLine, Signal, WebhookDelivery

PAGE = 200  # executions of one transaction
ERASURE = "erased"  # kind of the audit entry

# Beside the payloads (``offloading.COLUMNS``): what else may name a person, by the way to its execution.
TEXTS: list[tuple[type[models.Model], str, dict[str, Any]]] = [
    (
        Execution,
        "pk",
        {
            "subject_id": "",
            "key": None,
            "input_hash": "",
            "labels": {},
            "cancel_reason": "",
            "key_scope": None,
            "coalesce_key": None,
            "waiting_for": "",
            "progress_message": "",
            "progress_current": None,
            "progress_total": None,
        },
    ),
    (Signal, "execution", {"signal_id": None}),
    (LogLine, "execution", {"message": ""}),
    (AuditEntry, "execution_id", {"reason": "", "before": {}, "after": {}}),
]


def erase(subject_type: str, subject_id: str, *, terminate: bool, using: str, actor: str, reason: str) -> int:
    """Erase the executions about a subject, their descendants and the copies of these; how many were not erased before.

    terminate: those that are open, before it. Raises ExecutionConflict for one that is open or whose events are not all
    delivered, before anything is erased. Transaction: the caller's, or one for each page.
    """
    executions = Execution.objects.using(using)
    about = list(executions.filter(subject_type=subject_type, subject_id=subject_id).values_list("pk", flat=True))
    below = _descendants(about, using)
    if terminate:
        for execution_id in executions.open().filter(pk__in=[*about, *below]).values_list("pk", flat=True):
            with suppress(ExecutionClosedError):
                forcing.terminate(execution_id, using=using, actor=actor, reason=reason)
    _refuse_live([*about, *below], using)
    erased = 0
    for ids in (below, about):
        for start in range(0, len(ids), PAGE):
            erased += _erase(ids[start : start + PAGE], using, actor, reason)
    return erased


def _descendants(parents: list[UUID], using: str) -> list[UUID]:
    found: dict[UUID, None] = {}
    level = parents
    while level:
        rows = Execution.objects.using(using)
        # Its copies too: those of a child have no subject and no parent.
        near = [
            *rows.filter(parent__in=level).values_list("pk", flat=True),
            *rows.filter(origin__in=level).values_list("pk", flat=True),
        ]
        level = [each for each in near if each not in found and each not in parents]
        found |= dict.fromkeys(level)
    return list(found)


def _refuse_live(ids: Collection[UUID], using: str) -> None:
    open_ones = Execution.objects.using(using).open().filter(pk__in=ids)
    for execution_id, status in open_ones.values_list("pk", "status")[:1]:
        raise ExecutionConflict(
            f"Execution {execution_id} is {status}: it needs what is to be erased. Nothing was erased by this call or "
            "page. Wait for its end, cancel it, or give terminate=True."
        )
    pending = Delivery.objects.using(using).filter(event__execution__in=ids, due_at__isnull=False)
    for execution_id in pending.values_list("event__execution", flat=True)[:1]:
        raise ExecutionConflict(
            f"Events of execution {execution_id} are not delivered yet. Let a worker deliver them, or delete these "
            "deliveries, and erase again."
        )


def _erase(ids: list[UUID], using: str, actor: str, reason: str) -> int:
    """One transaction; the rows are locked, so that none is opened again meanwhile."""
    with transaction.atomic(using=using):
        rows = Execution.objects.using(using).filter(pk__in=ids).exclude(input=ERASED).order_by("pk")
        if not connections[using].features.has_select_for_update:
            Execution.objects.using(using).filter(pk__in=ids, finished_at=None).update(finished_at=None)
        ids = list(rows.select_for_update().values_list("pk", flat=True))
        _refuse_live(ids, using)
        files = offloading.files_of(ids, using=using)
        for model, path, columns in offloading.COLUMNS:
            _overwrite(model, path, ids, {column: _erased(column) for column in columns}, using)
        for model, path, values in TEXTS:
            _overwrite(model, path, ids, values, using)
        WebhookDelivery.objects.using(using).filter(execution_id__in=ids).delete()  # what was told of it, or was to be
        _tell(ids, using, actor, reason)
        transaction.on_commit(partial(offloading.delete, files), using=using)
    return len(ids)


def _tell(ids: list[UUID], using: str, actor: str, reason: str) -> None:
    """As ``audit`` does, for all at once."""
    entries = [entry(each, kind=ERASURE, actor=actor, reason=reason) for each in ids]
    AuditEntry.objects.using(using).bulk_create(entries)
    for each in ids:
        act = {"execution_id": each, "verb": ERASURE, "actor": actor, "reason": reason}
        signals.send_on_commit(signals.operator_acted, sender=Execution, using=using, **act)


def _overwrite(model: type[models.Model], path: str, ids: list[UUID], values: dict[str, Any], using: str) -> None:
    rows = model._base_manager.using(using)
    if "__" in path:  # not every database updates through a join
        rows = rows.filter(pk__in=list(rows.filter(**{f"{path}__in": ids}).values_list("pk", flat=True)))
    else:
        rows = rows.filter(**{f"{path}__in": ids})
    rows.update(**values)


def _erased(column: str) -> Case:
    """Where there was nothing, nothing was erased."""
    return Case(When(**{f"{column}__isnull": True}, then=None), default=Value(ERASED))
