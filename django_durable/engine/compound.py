"""Starting, signalling and ending an execution in as few statements as the database can.

PostgreSQL takes the rows of several tables in one statement, which is its own transaction: one round trip where the
ORM makes four or five. The others get the same rows by the same texts, one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, NamedTuple, cast
from uuid import UUID

from django.db import IntegrityError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models.sql.subqueries import UpdateQuery

from django_durable.clock import DatabaseNow
from django_durable.engine import compiled
from django_durable.engine.prepared import hot_cursor
from django_durable.engine.statements import SQL, now_sql
from django_durable.models import AuditEntry, Execution, FanOut, Signal, Timer
from django_durable.models.timer import TimerQuerySet


def whole(using: str) -> AbstractContextManager[object]:
    """A transaction around what this module writes, where one statement is none by itself."""
    connection = connections[using]
    is_whole = connection.vendor == "postgresql" and (connection.in_atomic_block or connection.get_autocommit())
    return nullcontext() if is_whole else transaction.atomic(using=using)


def marking_errors(connection: BaseDatabaseWrapper) -> AbstractContextManager[None]:
    """Tell Django, as its own writes do, that a failed statement has broken the caller's transaction.

    A caller that catches the error would otherwise see its COMMIT answered by a silent ROLLBACK, and its hooks run.
    """
    return transaction.mark_for_rollback_on_error(using=connection.alias)


def insert_execution(execution: Execution, timer: Timer, *, using: str) -> bool:
    """Insert an execution and its timer; False: its key, or coalescing key, is taken, and nothing was written.

    Both may hold expressions of ``DatabaseNow``. Transaction: joins the surrounding one, or is its own.
    """
    connection = connections[using]
    if connection.vendor == "postgresql":
        is_new = _insert_at_once(connection, execution, timer)
    else:
        is_new = _insert_one_by_one(connection, execution, timer)
    for row in (execution, timer) if is_new else ():
        row._state.adding, row._state.db = False, using
    return is_new


def _insert_at_once(connection: BaseDatabaseWrapper, execution: Execution, timer: Timer) -> bool:
    born, born_params = _insert(connection, execution)
    queued, queued_params = _insert(connection, timer, source="born")
    taken = _ON_CONFLICT if _may_be_refused(execution) else ""
    with marking_errors(connection), hot_cursor(connection) as cursor:
        cursor.execute(f"WITH born AS ({born}{taken} RETURNING id) {queued}", born_params + queued_params)
        return bool(cursor.rowcount)


def insert_many(rows: Sequence[models.Model], *, using: str) -> None:
    """Insert rows of one table in one statement; their values are plain. Raises IntegrityError."""
    connection = connections[using]
    head, fields = _insert_into(using, type(rows[0]))
    placed = [_places(connection, fields, row) for row in rows]
    values = ", ".join(f"({', '.join(places)})" for places, _ in placed)
    with marking_errors(connection), connection.cursor() as cursor:
        cursor.execute(f"{head} VALUES {values}", [param for _, params in placed for param in params])
    for row in rows:
        row._state.adding, row._state.db = False, using


def _may_be_refused(execution: Execution) -> bool:
    return execution.key is not None or execution.coalesce_key is not None


def _insert_one_by_one(connection: BaseDatabaseWrapper, execution: Execution, timer: Timer) -> bool:
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if not _may_be_refused(execution):
            cursor.execute(*_insert(connection, execution))
        elif not _insert_first(connection, cursor, execution):
            return False
        cursor.execute(*_insert(connection, timer))
    return True


def _insert_first(connection: BaseDatabaseWrapper, cursor: CursorWrapper, execution: Execution) -> bool:
    """Insert, or learn that the key is taken; a savepoint keeps the caller's transaction whole."""
    try:
        with transaction.atomic(using=connection.alias):
            cursor.execute(*_insert(connection, execution))
    except IntegrityError:
        return False
    return True


def close_execution(
    execution: Execution, changes: Mapping[str, Any], told: AuditEntry | None, *, token: UUID, using: str
) -> bool:
    """Delete the timer under its token and end the execution; False: no lease, nothing written.

    changes: the execution's columns by field name. told: for the audit trail.
    Transaction: must be called inside of ``whole``.
    """
    connection = connections[using]
    if connection.vendor == "postgresql":
        return _close_at_once(connection, execution, changes, told, token)
    if not Timer.objects.using(using).held_by(execution.pk, token)._raw_delete(using=using):
        return False
    Execution.objects.using(using).filter(pk=execution.pk).update(**changes)
    if told is not None:
        told.save(using=using, force_insert=True)
    return True


def _close_at_once(
    connection: BaseDatabaseWrapper,
    execution: Execution,
    changes: Mapping[str, Any],
    told: AuditEntry | None,
    token: UUID,
) -> bool:
    audit, audit_params = _insert(connection, told, source="gone") if told is not None else ("", [])
    sql = _close(connection.alias, tuple(changes), audit)
    with marking_errors(connection), hot_cursor(connection) as cursor:
        cursor.execute(sql, [execution.pk, token, *audit_params, *changes.values()])
        return bool(cursor.rowcount)


@cache
def _close(using: str, changed: Sequence[str], audit: str) -> str:
    quoted = connections[using].ops.quote_name
    return (
        f"WITH gone AS (DELETE FROM {quoted(Timer._meta.db_table)} WHERE execution_id = %s AND token = %s "  # noqa: S608
        f"RETURNING execution_id){f', told AS ({audit})' if audit else ''} "
        f"UPDATE {quoted(Execution._meta.db_table)} SET {', '.join(f'{quoted(name)} = %s' for name in changed)} "
        "WHERE id IN (SELECT execution_id FROM gone)"
    )


def accept_signal(signal: Signal, *, using: str) -> tuple[str, bool] | None:
    """Bump the execution's timer and store the signal under the number that this gives.

    Returns the queue, and False for a ``signal_id`` that is there already; None: no timer, nothing was written.
    Transaction: must be called inside of ``whole``.
    """
    connection = connections[using]
    if connection.vendor == "postgresql":
        return _accept_at_once(connection, signal)
    timers = Timer.objects.using(using).filter(pk=signal.execution_id)
    if not timers.bump():
        return None
    signal.seq, queue = timers.values_list("wake_seq", "queue").get()
    if signal.signal_id is not None and _is_known(signal, using):
        return queue, False
    try:
        with transaction.atomic(using=using):  # a savepoint: a refused insert must not poison the caller
            signal.save(using=using, force_insert=True)
    except IntegrityError:
        if signal.signal_id is None:
            raise
        return queue, False
    return queue, True


def _is_known(signal: Signal, using: str) -> bool:
    """By an execution that this one continues: no constraint spans the two. That one takes no signals any more."""
    assert signal.signal_id is not None
    return Signal.objects.using(using).accepted(signal.execution_id, signal.signal_id).exists()


def _accept_at_once(connection: BaseDatabaseWrapper, signal: Signal) -> tuple[str, bool] | None:
    bump, bump_params = compiled.statement(_bump, using=connection.alias, execution_id=signal.execution_id)
    keep, keep_params = _insert(connection, signal, source="bumped", seq="wake_seq")
    arbiter = " ON CONFLICT (execution_id, signal_id) WHERE signal_id IS NOT NULL DO NOTHING"
    repeated = ""
    known_params: list[Any] = []
    if signal.signal_id is not None:
        known, known_params = _known(connection.alias), [signal.signal_id, signal.execution_id]
        repeated = f" WHERE NOT EXISTS ({known}){arbiter}"
    sql = (
        f"WITH bumped AS ({bump} RETURNING wake_seq, queue), kept AS ({keep}{repeated} RETURNING seq) "  # noqa: S608
        "SELECT queue, EXISTS (SELECT 1 FROM kept) FROM bumped"
    )
    with marking_errors(connection), hot_cursor(connection) as cursor:
        cursor.execute(sql, [*bump_params, *keep_params, *known_params])
        return cursor.fetchone()  # type: ignore[no-any-return]


@cache
def _known(using: str) -> str:
    """``_is_known``, for the parameters signal_id and execution_id; costs an index probe where there is no chain."""
    quoted = connections[using].ops.quote_name
    signals, executions = quoted(Signal._meta.db_table), quoted(Execution._meta.db_table)
    return (
        f"SELECT 1 FROM {executions} earlier JOIN {signals} sent ON sent.execution_id = earlier.id "  # noqa: S608
        f"AND sent.signal_id = %s WHERE earlier.chain = (SELECT chain FROM {executions} WHERE id = %s)"
    )


def _bump(using: str, execution_id: UUID) -> UpdateQuery:
    """``TimerQuerySet.bump``, not run."""
    query = cast(UpdateQuery, Timer.objects.using(using).filter(pk=execution_id).query.chain(UpdateQuery))
    query.add_update_values(TimerQuerySet.news())
    return query


class Counted(NamedTuple):
    """A fan-out after one of its children was counted down; held: that child has not had its turn."""

    remaining: int
    failed: UUID | None
    last: UUID | None
    held: bool


def count_down(fan_out: UUID, execution_id: UUID, *, has_failed: bool, using: str) -> Counted | None:
    """Count down a fan-out by one of its children that ends in this transaction; None: it is gone."""
    connection = connections[using]
    if connection.vendor == "postgresql":
        with hot_cursor(connection) as cursor:
            cursor.execute(_count_down(using), [has_failed, execution_id, fan_out, execution_id])
            row = cursor.fetchone()
        return Counted(*row) if row else None
    found = FanOut.objects.using(using).filter(pk=fan_out)
    is_first = models.When(fails_fast=True, failed__isnull=True, then=models.Value(execution_id))
    failed = {"failed": models.Case(is_first, default=models.F("failed"))} if has_failed else {}
    if not found.update(remaining=models.F("remaining") - 1, **failed):
        return None
    held = Timer.objects.using(using).filter(pk=execution_id, held=True).exists()
    return Counted(*found.values_list("remaining", "failed", "last").get(), held)


@cache
def _count_down(using: str) -> str:
    quoted = connections[using].ops.quote_name
    return (
        f"UPDATE {quoted(FanOut._meta.db_table)} SET remaining = remaining - 1, "  # noqa: S608
        "failed = CASE WHEN %s AND fails_fast THEN COALESCE(failed, %s) ELSE failed END WHERE id = %s RETURNING "
        "remaining, failed, last, "
        f"COALESCE((SELECT held FROM {quoted(Timer._meta.db_table)} WHERE execution_id = %s), false)"
    )


def _insert(connection: BaseDatabaseWrapper, row: models.Model, *, source: str = "", **taken: str) -> SQL:
    """INSERT of one instance as it is; source: once for each row of that query. taken: columns whose value it gives."""
    head, fields = _insert_into(connection.alias, type(row))
    places, params = _places(connection, fields, row, **taken)
    values = f"SELECT {', '.join(places)} FROM {source}" if source else f"VALUES ({', '.join(places)})"  # noqa: S608
    return f"{head} {values}", params


def _places(
    connection: BaseDatabaseWrapper, fields: list[tuple[models.Field[Any, Any], str]], row: models.Model, **taken: str
) -> tuple[list[str], list[Any]]:
    places: list[str] = []
    params: list[Any] = []
    for field, name in fields:
        given = taken.get(name)
        place, param = (given, ()) if given else _place(connection, field, getattr(row, name))
        places.append(place)
        params += param
    return places, params


@cache
def _insert_into(using: str, model: type[models.Model]) -> tuple[str, list[tuple[models.Field[Any, Any], str]]]:
    """The beginning of the statement, and the fields in its order with the names of their attributes."""
    quoted = connections[using].ops.quote_name
    fields = [(field, field.attname) for field in model._meta.concrete_fields]
    columns = ", ".join(quoted(str(field.column)) for field, _ in fields)
    return f"INSERT INTO {quoted(model._meta.db_table)} ({columns})", fields


def _place(connection: BaseDatabaseWrapper, field: models.Field[Any, Any], value: Any) -> tuple[str, Sequence[Any]]:
    """Most columns of a new row are empty: a literal is cheaper than a parameter."""
    if value is None:
        return _NULL
    if value == "":
        return _EMPTY_TEXT
    if type(value) is DatabaseNow:
        return now_sql(connection)
    if hasattr(value, "resolve_expression"):
        compiler = Timer.objects.using(connection.alias).query.get_compiler(connection=connection)
        sql, params = compiler.compile(value.resolve_expression(compiler.query))
        return sql, params
    if connection.vendor != "postgresql":
        return "%s", (field.get_db_prep_save(value, connection),)
    if isinstance(field, models.JSONField):
        return _EMPTY_JSON if value == {} else ("%s::jsonb", (json.dumps(value, cls=field.encoder),))
    return "%s", (value,)


_ON_CONFLICT = " ON CONFLICT DO NOTHING"  # with the two unique keys that a start may have; its id is new
_NULL: tuple[str, Sequence[Any]] = ("NULL", ())
_EMPTY_TEXT: tuple[str, Sequence[Any]] = ("''", ())
_EMPTY_JSON: tuple[str, Sequence[Any]] = ("'{}'::jsonb", ())
