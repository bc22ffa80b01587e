"""The archive of deleted executions, ``DURABLE["ARCHIVE"]``, read back."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator
from typing import Any

from django_durable.engine import archiving

__all__ = ["files", "read"]


def files() -> Iterator[str]:
    """The names of its files, the oldest first."""
    storage = archiving.storage_of_archive()
    try:
        days = sorted(storage.listdir(archiving.FOLDER)[0])
    except FileNotFoundError:
        return
    for day in days:
        folder = f"{archiving.FOLDER}/{day}"
        yield from (f"{folder}/{name}" for name in sorted(storage.listdir(folder)[1]))


def read(name: str) -> Iterator[dict[str, Any]]:
    """The executions of one file, each as ``durable_export`` writes it, with its row, signals, events and audit beside,
    and the steps that were set aside.

    Payloads are plain codec text. A crash may have archived an execution twice: take one of each ``id``. A file whose
    writer died is read as far as it goes; its executions are in a later one too.
    Raises what the project's cipher raises; ConfigurationError without an archive.
    """
    with archiving.storage_of_archive().open(name) as file:
        for line in _whole_lines(file):
            yield archiving.opened(json.loads(line))


def _whole_lines(file: Any) -> Iterator[bytes]:
    try:
        with gzip.open(file) as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    yield line
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return
