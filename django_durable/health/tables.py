"""The database itself: how large our tables are, and what makes it slow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.apps import apps

from django_durable.health.findings import Finding, kind
from django_durable.health.look import Look, duration
from django_durable.models import Timer

LARGE_BYTES = 10 * 1024**3
DEAD_TUPLES = 10_000
LONG_TRANSACTION_SECONDS = 300.0

TABLE_SIZE = kind(
    "table_size",
    "How much room do the tables take?",
    warning=f"more than {LARGE_BYTES // 1024**3} GiB together",
    fix="Set DURABLE['RETENTION'] and DURABLE['AUDIT_RETENTION']: without them all is kept for ever. "
    "DURABLE['PAYLOAD_OFFLOAD_BYTES'] keeps large payloads in files.",
)
DEAD_ROWS = kind(
    "dead_rows",
    "Does autovacuum keep up with the timers? (PostgreSQL)",
    warning=f"more than {DEAD_TUPLES:,} dead rows, and twice as many as live ones: claims slow down",
    fix=f"`VACUUM {Timer._meta.db_table}`; see long_transactions for what holds it back; lower "
    f"`autovacuum_vacuum_scale_factor` of that table.",
)
LONG_TRANSACTIONS = kind(
    "long_transactions",
    "Which transactions have been open for long? (PostgreSQL)",
    warning=f"one for more than {LONG_TRANSACTION_SECONDS / 60:.0f} min: it keeps dead rows from being removed",
    fix="End it by `SELECT pg_terminate_backend(pid)` if nobody needs it; set `idle_in_transaction_session_timeout`.",
)

_SIZE_SQL = {
    "postgresql": "SELECT relname, pg_total_relation_size(oid), GREATEST(reltuples, 0)::bigint "
    "FROM pg_class WHERE relkind = 'r' AND relname = ANY(%s) AND pg_table_is_visible(oid)",
    "mysql": "SELECT table_name, data_length + index_length, table_rows "
    "FROM information_schema.tables WHERE table_schema = DATABASE() AND FIND_IN_SET(table_name, %s)",
}


def find_sizes(look: Look) -> Iterator[Finding]:
    sizes = _sizes(look)
    total = sum(size["bytes"] for size in sizes.values())
    largest = max(sizes, key=lambda name: sizes[name]["bytes"]) if sizes else ""
    what = (
        f"{total / 1024**2:,.0f} MiB together; {largest} is the largest, {sizes[largest]['bytes'] / 1024**2:,.0f} MiB."
    )
    grade = TABLE_SIZE.warn if total > LARGE_BYTES else TABLE_SIZE.ok
    yield grade(what, total_bytes=total, tables=sizes)


def _sizes(look: Look) -> dict[str, dict[str, int]]:
    """Bytes with indexes, and about how many rows, by the statistics; on SQLite of the whole file."""
    names = [model._meta.db_table for model in apps.get_app_config("django_durable").get_models()]
    vendor = look.connection.vendor
    if vendor == "sqlite":
        ((pages,),), ((page_bytes,),) = _rows(look, "PRAGMA page_count"), _rows(look, "PRAGMA page_size")
        return {"the whole file": {"bytes": pages * page_bytes, "rows": 0}}
    params = [names] if vendor == "postgresql" else [",".join(names)]
    return {
        name: {"bytes": int(size or 0), "rows": int(rows or 0)}
        for name, size, rows in _rows(look, _SIZE_SQL[vendor], params)
    }


def _rows(look: Look, sql: str, params: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with look.connection.cursor() as cursor:
        cursor.execute(sql, params)
        return list(cursor.fetchall())


def is_bloated(live: int, dead: int) -> bool:
    return dead > max(DEAD_TUPLES, 2 * live)


def find_dead_rows(look: Look) -> Iterator[Finding]:
    if look.connection.vendor != "postgresql":
        return
    found = _rows(
        look,
        "SELECT n_live_tup, n_dead_tup FROM pg_stat_user_tables "
        "WHERE relname = %s AND schemaname = ANY(current_schemas(false))",
        [Timer._meta.db_table],
    )
    for live, dead in found[:1]:
        what = f"The timers' table has {dead:,} dead rows beside {live:,} live ones."
        grade = DEAD_ROWS.warn if is_bloated(live, dead) else DEAD_ROWS.ok
        yield grade(what, live=live, dead=dead)


def find_long_transactions(look: Look) -> Iterator[Finding]:
    """Without their statements, which may hold payloads."""
    if look.connection.vendor != "postgresql":
        return
    rows = _rows(
        look,
        "SELECT pid, application_name, state, EXTRACT(EPOCH FROM clock_timestamp() - xact_start) FROM pg_stat_activity "
        "WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid() "
        "AND xact_start < clock_timestamp() - %s * interval '1 second' ORDER BY xact_start LIMIT 10",
        [LONG_TRANSACTION_SECONDS],
    )
    for pid, application, state, seconds in rows:
        who = f"Process {pid} ({application or 'no application name'}, {state})"
        yield LONG_TRANSACTIONS.warn(
            f"{who} has had a transaction open for {duration(float(seconds))}.",
            pid=pid,
            age_seconds=round(float(seconds)),
        )
    if not rows:
        yield LONG_TRANSACTIONS.ok("None.", count=0)
