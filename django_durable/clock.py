"""Time: the only module that reads it.

Three clocks, one rule each. ``now()`` is this machine's wall clock, good for what people read. ``monotonic()``
measures durations inside one process. ``DatabaseNow()`` is the clock that decides: leases, due times and deadlines
are written and compared by the database, so hosts whose clocks differ cannot fire early or steal a lease.

Tests freeze all three at once (``frozen``); the kit in ``django_durable.testing`` moves them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import DateTimeField, Func, Value
from django.db.models.sql.compiler import SQLCompiler

from django_durable.exceptions import InvalidOptionError

_frozen_at: datetime | None = None


def now() -> datetime:
    """Wall clock of this machine, aware UTC, full microseconds."""
    return _frozen_at or datetime.now(UTC)


def monotonic() -> float:
    """Seconds that never run backwards; only differences mean something."""
    return _frozen_at.timestamp() if _frozen_at else time.monotonic()


def process_seconds() -> float:
    """``monotonic`` that no test freezes: for what concerns the process and not its executions."""
    return time.monotonic()


def is_frozen() -> bool:
    return _frozen_at is not None


class FrozenClock:
    """The handle that ``frozen()`` gives; moves every clock of this process together."""

    def now(self) -> datetime:
        return now()

    def advance(self, by: timedelta) -> None:
        """Move forward; by: > 0. Time never goes back."""
        if by < timedelta(0):
            raise ValueError("The clock only moves forward; give a positive timedelta.")
        self.move_to(now() + by)

    def move_to(self, at: datetime) -> None:
        global _frozen_at
        _frozen_at = max(at.astimezone(UTC), now())


@contextmanager
def frozen(at: datetime | None = None) -> Iterator[FrozenClock]:
    """Stop every clock of this process, the database's as we read it included.

    For tests. Process-wide, so not for code that runs other workers beside it.
    """
    global _frozen_at
    before, _frozen_at = _frozen_at, (at or now()).astimezone(UTC)
    try:
        yield FrozenClock()
    finally:
        _frozen_at = before


class DatabaseNow(Func):
    """The database's current time, at statement start, as an ORM expression.

    Django's own ``Now()`` gives the session's local time on MySQL and MariaDB when the server does not run in UTC,
    which ``USE_TZ = True`` then reads as UTC; this one asks for UTC.
    """

    template = "CURRENT_TIMESTAMP"
    output_field = DateTimeField()

    def as_sql(  # type: ignore[override]
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **extra: Any
    ) -> tuple[str, tuple[str | int, ...]]:
        if _frozen_at is not None:
            sql, params = compiler.compile(Value(_frozen_at, output_field=self.output_field))
            # MySQL would hand a selected literal back as text.
            return (f"CAST({sql} AS DATETIME(6))" if connection.vendor == "mysql" else sql), tuple(params)
        sql, params = super().as_sql(compiler, connection, template=database_now_sql(connection))
        return sql, tuple(params)


_NOW_SQL = {
    # STATEMENT_TIMESTAMP moves inside a transaction; a caller's transaction may be minutes old.
    "postgresql": "STATEMENT_TIMESTAMP()",
    "mysql": "UTC_TIMESTAMP(6)",
    # Same text form as Django stores, so that comparisons are right; SQLite has milliseconds only.
    "sqlite": "STRFTIME('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', 'NOW')",
}


def database_now_sql(connection: BaseDatabaseWrapper) -> str:
    """Template text of the database's clock for this vendor."""
    return _NOW_SQL.get(connection.vendor, "CURRENT_TIMESTAMP")


def to_seconds(duration: timedelta | float, what: str) -> float:
    """A duration argument as seconds, >= 0. Raises InvalidOptionError, naming ``what``, for anything else."""
    if isinstance(duration, timedelta):
        seconds = duration.total_seconds()
    elif isinstance(duration, int | float) and not isinstance(duration, bool):
        seconds = float(duration)
    else:
        raise InvalidOptionError(f"{what}={duration!r}: give a timedelta or a number of seconds.")
    if not 0 <= seconds <= LONGEST_SECONDS:  # also false for NaN
        raise InvalidOptionError(f"{what}={duration!r}: give a duration from 0 to 100 years.")
    return seconds


def to_instant(at: datetime, what: str) -> datetime:
    """A point-in-time argument as aware UTC. Raises InvalidOptionError, naming ``what``, for anything else."""
    if not isinstance(at, datetime):
        raise InvalidOptionError(f"{what}={at!r}: give an aware datetime.")
    if at.utcoffset() is None:
        raise InvalidOptionError(
            f"{what}={at!r} has no time zone: give an aware datetime, like django.utils.timezone.now()."
        )
    return at.astimezone(UTC)


LONGEST_SECONDS = 100 * 366 * 86_400.0
