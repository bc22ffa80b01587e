"""The archive: what is about to be deleted, as lines of JSON in a file of a Django storage.

The file is there, on the disk where the storage is one, before the rows go. A crash in between has the batch archived
once more, under another name; none is lost. Nothing is ever overwritten or deleted here.

A line is what ``recordings`` exports, and beside it what a replay does not need. Its payloads are sealed as the tables
hold them, but for what was in files: that is in the line.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage, Storage, storages
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models

from django_durable import clock
from django_durable.conf import get_settings
from django_durable.engine import history, offloading, payloads, recordings
from django_durable.engine.history import Checkpoint
from django_durable.engine.recordings import Recording
from django_durable.exceptions import ConfigurationError
from django_durable.models import AuditEntry, Delivery, Execution, LogLine, OutboxEvent, SetAsideStep, Signal, Step

FOLDER = "durable-archive"
_SEALED = {"input", "result", "error", "payload"}
_NEVER_SEALED = {"labels", "before", "after"}  # whose names are the project's and the verbs'
_REPLAYED = {"id", "workflow", "version", "status", "input"}  # what `recordings` exports


def write(execution_ids: Collection[UUID], *, using: str) -> str | None:
    """Write one batch to a new file; its name, or None where there is no archive. One SELECT for each table."""
    if get_settings().archive is None:
        return None
    storage = storage_of_archive()
    lines = "".join(json.dumps(line, cls=Times) + "\n" for line in _lines(execution_ids, using))
    # Of the same batch the same name, to which a storage that has it already adds something.
    batch = hashlib.sha256("".join(sorted(map(str, execution_ids))).encode()).hexdigest()[:16]
    name = f"{FOLDER}/{clock.now():%Y-%m-%d}/{batch}.jsonl.gz"
    saved = storage.save(name, ContentFile(gzip.compress(lines.encode(), mtime=0)))
    _flush(storage, saved)
    return saved


def storage_of_archive() -> Storage:
    alias = get_settings().archive
    if alias is None:
        raise ConfigurationError("There is no archive: set DURABLE['ARCHIVE'] to its alias in STORAGES.")
    return storages[alias]


def _flush(storage: Storage, name: str) -> None:
    """To the disk, where the storage is one."""
    if not isinstance(storage, FileSystemStorage):
        return
    path = storage.path(name)
    for each in (path, os.path.dirname(path)):
        descriptor = os.open(each, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class Times(DjangoJSONEncoder):
    """Full microseconds."""

    def default(self, o: Any) -> Any:
        return o.astimezone(UTC).isoformat() if isinstance(o, datetime) else super().default(o)


# -- lines ---------------------------------------------------------------------------------------------


def _lines(execution_ids: Collection[UUID], using: str) -> Iterator[dict[str, Any]]:
    histories: defaultdict[UUID, list[Checkpoint]] = defaultdict(list)
    steps = Step.objects.using(using).filter(execution__in=execution_ids).order_by("position")
    for execution_id, *row in steps.values_list("execution", *history.FIELDS):
        histories[execution_id].append(Checkpoint(*row))
    beside = {
        "signals": _grouped(Signal, "execution_id", execution_ids, using),
        "events": _grouped(OutboxEvent, "execution_id", execution_ids, using),
        "deliveries": _grouped(Delivery, "event__execution_id", execution_ids, using),
        "audit": _grouped(AuditEntry, "execution_id", execution_ids, using),
        "set_aside": _grouped(SetAsideStep, "execution_id", execution_ids, using),
        "log_lines": _grouped(LogLine, "execution_id", execution_ids, using),
    }
    for execution in Execution.objects.using(using).filter(pk__in=execution_ids).order_by("pk"):
        recording = Recording(**{name: getattr(execution, name) for name in _REPLAYED}, history=histories[execution.pk])
        row = {field.attname: getattr(execution, field.attname) for field in Execution._meta.concrete_fields}
        rest = {name: value for name, value in _inlined(row).items() if name not in _REPLAYED}
        line = recordings.exported(recording, opening=offloading.get) | {"sealed": True, "execution": rest}
        yield line | {name: found[execution.pk] for name, found in beside.items()}


def _grouped(
    model: type[models.Model], path: str, execution_ids: Collection[UUID], using: str
) -> defaultdict[UUID, list[dict[str, Any]]]:
    found: defaultdict[UUID, list[dict[str, Any]]] = defaultdict(list)
    columns = [field.attname for field in model._meta.concrete_fields]
    rows = model._base_manager.using(using).filter(**{f"{path}__in": execution_ids}).order_by("pk")
    for row in rows.values(*columns, of_execution=models.F(path)):
        found[row.pop("of_execution")].append(_inlined(row))
    return found


def _inlined(row: dict[str, Any]) -> dict[str, Any]:
    return {name: offloading.get(value) if name in _SEALED and value else value for name, value in row.items()}


def opened(line: dict[str, Any]) -> dict[str, Any]:
    """A line with its payloads as plain codec text, by today's cipher: then ``recordings.imported`` takes it."""
    sealed = line.pop("sealed", False)
    return _opened(line) if sealed else line


def _opened(value: Any) -> Any:
    if isinstance(value, list):
        return [_opened(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {name: each if name in _NEVER_SEALED else _opened_column(name, each) for name, each in value.items()}


def _opened_column(name: str, value: Any) -> Any:
    return _text(value) if name in _SEALED else _opened(value)


def _text(sealed: Any) -> Any:
    return payloads.unseal(sealed) if isinstance(sealed, str) and sealed not in ("", payloads.ERASED) else sealed
