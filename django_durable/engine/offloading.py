"""Large payloads as files of a Django storage; their rows hold references.

A file is written before its row and has a name of its own, so no two rows share one, but those of one execution that
were given the same text: whoever deletes the execution may delete the file. What copies a payload to another execution
writes another file (``payloads.copied``). A transaction that is rolled back leaves a file that nobody refers to;
``sweep`` finds these.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import Storage, storages
from django.db import connections, models
from django.db.models import Q

from django_durable import clock
from django_durable.conf import get_settings
from django_durable.exceptions import CodecError, ConfigurationError
from django_durable.models import (
    Delivery,
    Execution,
    OutboxEvent,
    Schedule,
    SetAsideStep,
    Signal,
    Step,
    WebhookDelivery,
)
from django_durable.models.identity import new_id

logger = logging.getLogger("django_durable.worker")

PREFIX = "durable:file:"  # no codec text begins so, and neither does what a cipher makes of one
FOLDER = "durable-payloads"
SWEPT_AFTER = timedelta(days=2)  # far longer than a transaction
PAGE = 1000

# Every column that holds payloads, with the way to its execution.
COLUMNS: list[tuple[type[models.Model], str, tuple[str, ...]]] = [
    (Execution, "pk", ("input", "result", "error")),
    (Step, "execution", ("result", "error")),
    (Signal, "execution", ("payload",)),
    (OutboxEvent, "execution", ("payload",)),
    (Delivery, "event__execution", ("error",)),
    (SetAsideStep, "execution", ("result", "error")),
]
# And those that belong to none, or outlive it: their files are left to ``sweep``.
OTHERS: list[tuple[type[models.Model], str, tuple[str, ...]]] = [
    (Schedule, "", ("input",)),
    (WebhookDelivery, "", ("error",)),
]
_all_in_rows: ContextVar[bool] = ContextVar("django_durable_all_in_rows", default=False)


@contextmanager
def all_in_rows() -> Iterator[None]:
    """Nothing is written to files inside: what is encoded here is never stored."""
    token = _all_in_rows.set(True)
    try:
        yield
    finally:
        _all_in_rows.reset(token)


def put(text: str) -> str:
    """The text, or a reference to the file that it was written to. A storage that fails leaves it in the row."""
    most = get_settings().payload_offload_bytes
    if most is None or len(text) * 4 <= most or _all_in_rows.get():
        return text
    content = text.encode()
    if len(content) <= most:
        return text
    name = f"{FOLDER}/{clock.now():%Y-%m-%d}/{new_id().hex}"
    try:
        saved = _storage().save(name, ContentFile(content))
    except ConfigurationError:
        raise
    except Exception:  # whatever a storage raises; the row has room
        logger.warning("A payload of %s bytes could not be written to its storage.", len(content), exc_info=True)
        return text
    return f"{PREFIX}{hashlib.sha256(content).hexdigest()}:{saved}"


def get(text: str) -> str:
    """What ``put`` was given. Raises CodecError for a file that is gone or is not what was written."""
    if not text.startswith(PREFIX):
        return text
    digest, _, name = text.removeprefix(PREFIX).partition(":")
    try:
        with _storage().open(name) as file:
            content = file.read()
    except ConfigurationError:
        raise
    except Exception as error:
        raise CodecError(f"The payload's file {name!r} cannot be read: {type(error).__name__}") from error
    if hashlib.sha256(content).hexdigest() != digest:
        raise CodecError(f"The payload's file {name!r} is not what was written.")
    return str(content.decode())


def _storage() -> Storage:
    alias = get_settings().payload_storage
    if alias is None:
        raise ConfigurationError("A payload is in a file: set DURABLE['PAYLOAD_STORAGE'] to its alias in STORAGES.")
    return storages[alias]


# -- deleting ------------------------------------------------------------------------------------------


def files_of(execution_ids: Collection[UUID], *, using: str) -> list[str]:
    """The files that these executions refer to; no statement where there is no storage for any."""
    if get_settings().payload_storage is None:
        return []
    files: set[str] = set()
    for model, path, columns in COLUMNS:
        rows = model._base_manager.using(using).filter(**{f"{path}__in": execution_ids})
        files.update(_referred(rows, columns))
    return sorted(files)


def _referred(rows: models.QuerySet[Any], columns: Iterable[str]) -> Iterator[str]:
    for column in columns:
        texts = rows.filter(Q(**{f"{column}__startswith": PREFIX})).values_list(column, flat=True)
        yield from (text.removeprefix(PREFIX).partition(":")[2] for text in texts.iterator())


def delete(files: Iterable[str]) -> None:
    """After the commit that took the last reference; a storage that fails leaves them to ``sweep``."""
    for name in files:
        try:
            _storage().delete(name)
        except Exception:
            logger.warning("The payload's file %s could not be deleted.", name, exc_info=True)


def sweep(*, ends_at: float) -> int:
    """Delete the files to which no row of any database refers; how many. Reads the tables once for each page of files.

    The files are listed first, so that each that is old and in use has its row by then. ends_at: no further page is
    begun then, by ``clock.monotonic``.
    """
    if get_settings().payload_storage is None:
        return 0
    deleted = 0
    for page in _old_files():
        orphans = page - _all_referred(page)
        delete(orphans)
        deleted += len(orphans)
        if clock.monotonic() >= ends_at:
            break
    return deleted


def _old_files() -> Iterator[set[str]]:
    last = f"{clock.now() - SWEPT_AFTER:%Y-%m-%d}"
    storage = _storage()
    try:
        days = sorted(day for day in storage.listdir(FOLDER)[0] if day < last)
    except FileNotFoundError:
        return
    for day in days:
        names = sorted(storage.listdir(f"{FOLDER}/{day}")[1])
        for start in range(0, len(names), PAGE):
            yield {f"{FOLDER}/{day}/{name}" for name in names[start : start + PAGE]}


def _all_referred(page: set[str]) -> set[str]:
    found: set[str] = set()
    for using in connections:
        if Execution._meta.db_table not in connections[using].introspection.table_names():
            continue
        for model, _, columns in (*COLUMNS, *OTHERS):
            found.update(name for name in _referred(model._base_manager.using(using).all(), columns) if name in page)
    return found
