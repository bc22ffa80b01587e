"""What the probes share: the database they look at, and bounds that keep a polled report harmless."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

from django.db import connections, transaction

from django_durable.clock import DatabaseNow
from django_durable.conf import Settings
from django_durable.engine import statements
from django_durable.engine.presence import SILENT_SECONDS
from django_durable.models import Node, NodeKind

MOST_ROWS = 500  # read by one question; what there is beyond is "or more"
MOST_COUNTED = 1000
MOST_QUEUES = 50
MOST_EXAMPLES = 3
PROBE_SECONDS = 2  # PostgreSQL ends a question that takes longer


@dataclass
class Look:
    """One look at one database. now: its clock."""

    using: str
    settings: Settings
    now: datetime
    asks_broker: bool = False

    @property
    def connection(self) -> Any:
        return connections[self.using]

    @cached_property
    def workers(self) -> list[Node]:
        """Those that said within the last minute that they are there."""
        nodes = Node.objects.using(self.using).heard_within(SILENT_SECONDS)
        return list(nodes.filter(kind=NodeKind.WORKER).order_by("name")[:MOST_ROWS])

    def readers_of(self, queue: str) -> list[str]:
        return [node.name for node in self.workers if queue in node.queues]

    def seconds_since(self, at: datetime) -> float:
        return round((self.now - at).total_seconds(), 1)

    @contextmanager
    def bounded(self) -> Iterator[None]:
        """Ends what takes too long, and undoes nothing else when it fails. Only PostgreSQL has both for reads.

        Not on SQLite: its transactions would take the one lock for writing.
        """
        if self.connection.vendor != "postgresql":
            yield
            return
        is_own = not self.connection.in_atomic_block  # else the limit would stay for the caller's statements
        with transaction.atomic(using=self.using):
            if is_own:
                with self.connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL statement_timeout = '{PROBE_SECONDS}s'")
            yield


def database_now(using: str) -> datetime:
    """The clock that decides; needs no row of any table."""
    connection: Any = connections[using]
    sql, params = statements.now_sql(connection)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}", params)
        value = cursor.fetchone()[0]
    expression = DatabaseNow()
    for convert in [*connection.ops.get_db_converters(expression), *expression.get_db_converters(connection)]:
        value = convert(value, expression, connection)
    found: datetime = value
    return found


def at_least(count: int, most: int) -> str:
    """A bounded count for people."""
    return f"{most:,} or more" if count >= most else f"{count:,}"


def duration(seconds: float) -> str:
    """For people: 45 s, 12 min, 3.5 h, 2 days."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"
