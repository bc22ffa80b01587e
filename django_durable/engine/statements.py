"""The hot statements, written once as SQL: claiming what is due, and recording a checkpoint under the fence.

With ``compound`` and ``compiled``, the only raw SQL of the package and the only places that ask which database this is.
The ORM cannot say ``INSERT ... SELECT`` or ``UPDATE ... RETURNING``. Identifiers come from the models; every value is a
parameter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connections, models
from django.db.backends.base.base import BaseDatabaseWrapper

from django_durable import clock
from django_durable.clock import DatabaseNow, database_now_sql
from django_durable.engine.history import FIELDS, Checkpoint, values_of
from django_durable.engine.prepared import hot_cursor
from django_durable.models import Delivery, Priority, Schedule, Slot, Step, Timer

if TYPE_CHECKING:
    Field = models.Field[Any, Any]

SQL = tuple[str, list[Any]]


def now_sql(connection: BaseDatabaseWrapper) -> SQL:
    """The clock that decides, as SQL for this connection."""
    if not clock.is_frozen():
        return database_now_sql(connection) % (), []
    compiler = Timer.objects.using(connection.alias).query.get_compiler(connection=connection)
    sql, params = DatabaseNow().as_sql(compiler, connection)
    return sql, list(params)


def next_due(connection: BaseDatabaseWrapper, queue: str, *, locked: bool = False) -> SQL:
    """A scalar sub-query: the id of the most urgent due execution of a queue, or NULL.

    One probe per priority, highest first, each the first entry of an index range; later ones are not evaluated
    once one has an answer. Ordering by (priority, due_at) in one query would sort the whole backlog.
    locked: keep it for this transaction and pass over what others keep, where the database can.
    """
    table, pk = _quoted(connection, Timer._meta.db_table), _column(connection, Timer, "execution")
    now, now_params = now_sql(connection)
    lock = " FOR UPDATE SKIP LOCKED" if locked and connection.vendor == "postgresql" else ""
    probe = (
        f"(SELECT {pk} FROM {table} WHERE queue = %s AND priority = %s AND due_at <= {now} "  # noqa: S608
        f"ORDER BY due_at LIMIT 1{lock})"
    )
    params: list[Any] = []
    for priority in sorted(Priority):
        params += [queue, int(priority), *now_params]
    return f"COALESCE({', '.join([probe] * len(Priority))})", params


def find_due(using: str, queue: str) -> UUID | None:
    """The most urgent due execution of a queue; unlocked, another worker may take it first."""
    connection = connections[using]
    sql, params = next_due(connection, queue)
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql}", params)
        found = cursor.fetchone()[0]
    return None if found is None else UUID(str(found))


def claim_returning(
    using: str, *, execution_id: UUID | None, queue: str | None, token: UUID, holder: str, lease: timedelta
) -> tuple[Any, ...] | None:
    """PostgreSQL: claim one execution, by id or the next of a queue, and read it, in one statement.

    The commit of a claim need not wait for the disk: losing it loses nothing, the row is simply due again.
    Returns (execution_id, queue, wake_seq, claims, progress, refused_since, database now), or None.
    """
    connection = connections[using]
    table = _quoted(connection, Timer._meta.db_table)
    now, now_params = now_sql(connection)
    if execution_id is not None:
        wanted, wanted_params = "%s", [execution_id]
    else:
        assert queue is not None
        wanted, wanted_params = next_due(connection, queue, locked=True)
    sql = (
        f"UPDATE {table} SET token = %s, holder = %s, claims = claims + 1, due_at = {now} + %s "  # noqa: S608
        f"WHERE execution_id = {wanted} AND due_at <= {now} "
        f"RETURNING execution_id, queue, wake_seq, claims, progress, refused_since, {now}, "
        "set_config('synchronous_commit', 'off', true)"
    )
    params = [token, holder, *now_params, lease, *wanted_params, *now_params, *now_params]
    with hot_cursor(connection) as cursor:
        cursor.execute(sql, params)
        row = cursor.fetchone()
    return None if row is None else row[:-1]


def insert_checkpoint(
    using: str, execution_id: UUID, checkpoint: Checkpoint, *, token: UUID, wake_seq: int | None
) -> bool:
    """Insert one step row if, in that very statement, the lease still holds; False wrote nothing.

    wake_seq: also refuse when news has come since; None: do not ask.
    Where the database can, the timer row stays share-locked until the commit, so that no new holder can load a
    history that lacks this row. Transaction: joins the surrounding one, or is its own.
    """
    connection = connections[using]
    values = values_of(checkpoint)
    sql, fields = _checkpoint_insert(using, tuple([value is None for value in values]), wake_seq is not None)
    params = [value for value in values if value is not None]
    params += (execution_id, token) if wake_seq is None else (execution_id, token, wake_seq)
    with hot_cursor(connection) as cursor:
        cursor.execute(sql, _adapted(params, fields, connection))
        return bool(cursor.rowcount == 1)


@cache
def _checkpoint_insert(using: str, empty: Sequence[bool], compares_news: bool) -> tuple[str, list[Field]]:
    """The statement and the field of each parameter; written once for each set of columns that are NULL."""
    connection = connections[using]
    written = [_field(Step, name) for name in FIELDS]
    fence = [_field(Timer, name) for name in ("execution", "token", *(["wake_seq"] if compares_news else []))]
    names = ", ".join(_quoted(connection, str(field.column)) for field in written)
    columns = list(zip(written, empty, strict=True))
    values = ["NULL" if is_empty else _placeholder(field, connection) for field, is_empty in columns]
    where = " AND ".join(f"{_quoted(connection, str(field.column))} = %s" for field in fence)
    sql = (
        f"INSERT INTO {_quoted(connection, Step._meta.db_table)} ({_column(connection, Step, 'execution')}, {names}) "  # noqa: S608
        f"SELECT {_column(connection, Timer, 'execution')}, {', '.join(values)} "
        f"FROM {_quoted(connection, Timer._meta.db_table)} WHERE {where}{_share_lock(connection)}"
    )
    return sql, [*(field for field, is_empty in columns if not is_empty), *fence]


def _adapted(values: list[Any], fields: list[Field], connection: BaseDatabaseWrapper) -> list[Any]:
    """What the driver takes. PostgreSQL's takes every type that is stored here as it is."""
    if connection.vendor == "postgresql":
        return values
    return [field.get_db_prep_save(value, connection) for field, value in zip(fields, values, strict=True)]


def any_due(using: str, queues: Sequence[str], also: Mapping[str, SQL] | None = None) -> list[str]:
    """Those of the queues that hold anything due, executions or deliveries, in one statement.

    also: further questions by name, each a condition in SQL; the names of those that hold stand behind the queues.

    Not by EXISTS: after a backlog the planner takes a due row for easy to come by, and reads the sleepers for it.
    """
    further = also or {}
    connection = connections[using]
    probes = [(next_due(connection, queue), _next_delivery(connection, queue)) for queue in queues]
    due = [f"COALESCE({probe}, {delivery}) IS NOT NULL" for (probe, _), (delivery, _) in probes]
    sql = ", ".join([*due, *(condition for condition, _ in further.values())])
    params = [param for both in probes for _, own in both for param in own]
    with hot_cursor(connection) as cursor:
        cursor.execute(f"SELECT {sql}", [*params, *(param for _, own in further.values() for param in own)])
        row = cursor.fetchone()
    return [name for name, holds in zip([*queues, *further], row, strict=True) if holds]


def any_given_back(using: str) -> SQL:
    """For ``any_due``: slots that nobody has handed on. Ordered so that it reads the index where they come first."""
    connection = connections[using]
    table, execution = _quoted(connection, Slot._meta.db_table), _column(connection, Slot, "execution")
    return f"(SELECT 1 FROM {table} WHERE {execution} IS NULL ORDER BY {execution} LIMIT 1) IS NOT NULL", []  # noqa: S608


def any_schedule(using: str) -> SQL:
    """For ``any_due``: a schedule that is due, or has ticks that wait."""
    connection = connections[using]
    table = _quoted(connection, Schedule._meta.db_table)
    now, params = now_sql(connection)
    due = f"(SELECT 1 FROM {table} WHERE due_at <= {now} ORDER BY due_at LIMIT 1)"  # noqa: S608
    waiting = f"(SELECT 1 FROM {table} WHERE buffered > 0 ORDER BY buffered LIMIT 1)"  # noqa: S608
    return f"COALESCE({due}, {waiting}) IS NOT NULL", params


def move_schedules(using: str, columns: Sequence[str], rows: Sequence[tuple[Sequence[Any], UUID, int]]) -> int:
    """Set those columns of each schedule that has the version given with it, and raise that; how many had it.

    rows: values in the order of the columns, the schedule's id, its version. ``QuerySet.update`` for each would cost
    four times the CPU. Transaction: must be called inside of one.
    """
    connection = connections[using]
    fields = [_field(Schedule, name) for name in (*columns, "id", "version")]
    *changed, pk, version = [_quoted(connection, str(field.column)) for field in fields]
    sql = (
        f"UPDATE {_quoted(connection, Schedule._meta.db_table)} SET {', '.join(f'{name} = %s' for name in changed)}, "  # noqa: S608
        f"{version} = {version} + 1 WHERE {pk} = %s AND {version} = %s"
    )
    with hot_cursor(connection) as cursor:
        cursor.executemany(sql, [_adapted([*values, pk, seen], fields, connection) for values, pk, seen in rows])
        return int(cursor.rowcount)


def _next_delivery(connection: BaseDatabaseWrapper, queue: str) -> SQL:
    """A scalar sub-query: the id of the delivery of a queue that has been due for longest, or NULL."""
    now, now_params = now_sql(connection)
    table = _quoted(connection, Delivery._meta.db_table)
    sql = f"(SELECT id FROM {table} WHERE queue = %s AND due_at <= {now} ORDER BY due_at LIMIT 1)"  # noqa: S608
    return sql, [queue, *now_params]


def _share_lock(connection: BaseDatabaseWrapper) -> str:
    return {"postgresql": " FOR SHARE", "mysql": " LOCK IN SHARE MODE"}.get(connection.vendor, "")


def _placeholder(field: Field, connection: BaseDatabaseWrapper) -> str:
    # In SELECT position PostgreSQL cannot infer a parameter's type from the target column.
    if connection.vendor == "postgresql":
        return f"%s::{field.rel_db_type(connection) if field.is_relation else field.cast_db_type(connection)}"
    return "%s"


def _quoted(connection: BaseDatabaseWrapper, name: str) -> str:
    return connection.ops.quote_name(name)


def _column(connection: BaseDatabaseWrapper, model: type[models.Model], field: str) -> str:
    return _quoted(connection, str(_field(model, field).column))


def _field(model: type[models.Model], name: str) -> Field:
    field = model._meta.get_field(name)
    assert isinstance(field, models.Field)
    return field
