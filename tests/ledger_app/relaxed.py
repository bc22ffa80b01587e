"""Commits that do not wait for the disk, for tests whose processes die and whose server does not.

What a process handed to the operating system or to the server outlives that process; only a power cut needs the
disk. Waiting for it would make a sweep several times longer and a race rarer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

_STATEMENTS = {"sqlite": "PRAGMA synchronous = OFF", "postgresql": "SET synchronous_commit = off"}


@contextmanager
def commits_without_disk() -> Iterator[None]:
    connection_created.connect(_relax)
    try:
        yield
    finally:
        connection_created.disconnect(_relax)


def _relax(connection: BaseDatabaseWrapper, **_: object) -> None:
    if connection.vendor in _STATEMENTS:
        with connection.cursor() as cursor:
            cursor.execute(_STATEMENTS[connection.vendor])
