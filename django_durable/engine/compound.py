"""Starting, signalling and ending an execution in as few statements as the database can.

PostgreSQL takes the rows of several tables in one statement, which is its own transaction: one round trip where the
ORM makes four or five. The others get the same rows by the same texts, one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any, cast
from uuid import UUID

from django.db import IntegrityError, connections, models, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper
from django.db.models.sql.subqueries import UpdateQuery

from django_durable.clock import DatabaseNow
from django_durable.engine import compiled
from django_durable.engine.prepared import hot_cursor
from django_durable.engine.statements import SQL, now_sql
from django_durable.models import AuditEntry, Execution, Signal, Timer
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
    """Insert an execution and its timer; False: its key is taken, nothing was written.

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
    taken = " ON CONFLICT (workflow, key) WHERE key IS NOT NULL DO NOTHING" if execution.key is not None else ""
    with marking_errors(connection), hot_cursor(connection) as cursor:
        cursor.execute(f"WITH born AS ({born}{taken} RETURNING id) {queued}", born_params + queued_params)
        return bool(cursor.rowcount)


def _insert_one_by_one(connection: BaseDatabaseWrapper, execution: Execution, timer: Timer) -> bool:
    with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
        if execution.key is None:
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
    try:
        with transaction.atomic(using=using):  # a savepoint: a refused insert must not poison the caller
            signal.save(using=using, force_insert=True)
    except IntegrityError:
        if signal.signal_id is None:
            raise
        return queue, False
    return queue, True


def _accept_at_once(connection: BaseDatabaseWrapper, signal: Signal) -> tuple[str, bool] | None:
    bump, bump_params = compiled.statement(_bump, using=connection.alias, execution_id=signal.execution_id)
    keep, keep_params = _insert(connection, signal, source="bumped", seq="wake_seq")
    arbiter = " ON CONFLICT (execution_id, signal_id) WHERE signal_id IS NOT NULL DO NOTHING"
    repeated = arbiter if signal.signal_id is not None else ""
    sql = (
        f"WITH bumped AS ({bump} RETURNING wake_seq, queue), kept AS ({keep}{repeated} RETURNING seq) "  # noqa: S608
        "SELECT queue, EXISTS (SELECT 1 FROM kept) FROM bumped"
    )
    with marking_errors(connection), hot_cursor(connection) as cursor:
        cursor.execute(sql, [*bump_params, *keep_params])
        return cursor.fetchone()  # type: ignore[no-any-return]


def _bump(using: str, execution_id: UUID) -> UpdateQuery:
    """``TimerQuerySet.bump``, not run."""
    query = cast(UpdateQuery, Timer.objects.using(using).filter(pk=execution_id).query.chain(UpdateQuery))
    query.add_update_values(TimerQuerySet.news())
    return query


def _insert(connection: BaseDatabaseWrapper, row: models.Model, *, source: str = "", **taken: str) -> SQL:
    """INSERT of one instance as it is; source: once for each row of that query. taken: columns whose value it gives."""
    head, fields = _insert_into(connection.alias, type(row))
    places: list[str] = []
    params: list[Any] = []
    for field, name in fields:
        given = taken.get(name)
        place, param = (given, ()) if given else _place(connection, field, getattr(row, name))
        places.append(place)
        params += param
    values = f"SELECT {', '.join(places)} FROM {source}" if source else f"VALUES ({', '.join(places)})"  # noqa: S608
    return f"{head} {values}", params


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


_NULL: tuple[str, Sequence[Any]] = ("NULL", ())
_EMPTY_TEXT: tuple[str, Sequence[Any]] = ("''", ())
_EMPTY_JSON: tuple[str, Sequence[Any]] = ("'{}'::jsonb", ())
