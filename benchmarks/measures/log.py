"""Bytes that an execution adds to the database's log: what replication, backups and the disk have to carry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from django.db import connection

from benchmarks import database, workflows
from benchmarks.figures import Figure, Target
from benchmarks.measures.quiet import without_hints
from benchmarks.sizes import Size
from django_durable.engine import worker

STEPS = 2
WARM_UP = 100

# What this database's transactions wrote, other databases of the server left out; full-page images apart. A record
# takes 8-byte steps in the log, and each of its 8 kB pages a header of 24 bytes.
POSTGRES_RECORDS = r"""
    WITH records AS (SELECT * FROM pg_get_wal_records_info(%s, %s)),
    here AS (SELECT xid FROM records WHERE block_ref LIKE %s)
    SELECT concat_ws(' ', resource_manager, record_type, relname) AS kind, count(*),
        sum((record_length - fpi_length + 7) / 8 * 8) * 8192.0 / 8168, sum(fpi_length)
    FROM records LEFT JOIN pg_class ON relfilenode::text = substring(block_ref FROM 'rel \d+/\d+/(\d+)')
    WHERE block_ref LIKE %s OR xid::text <> '0' AND xid IN (SELECT xid FROM here)
    GROUP BY kind ORDER BY 3 DESC
"""


@without_hints
def wal(size: Size) -> list[Figure]:
    """Executions of two steps, start to end, in this process."""
    database.clear()
    return {"postgresql": _postgres, "mysql": _mysql, "sqlite": _sqlite}[connection.vendor](size)


def _postgres(size: Size) -> list[Figure]:
    target = Target(2_200, of="value", at_most=True)
    if not _scalar("SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_walinspect'"):
        _run(WARM_UP)  # before PostgreSQL 15: page images and other databases count too
        position = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')"
        return [replace(_difference("wal per execution", size, lambda: int(_scalar(position))), target=target)]
    kinds = postgres_records(size)
    written = sum(float(total) for _, _, total, _ in kinds) / size.logged
    images = sum(float(total) for *_, total in kinds) / size.logged
    return [
        Figure("wal per execution", "bytes", [written], target=target),
        Figure("wal, page images", "bytes", [images]),
    ]


def postgres_records(size: Size) -> list[tuple[str, int, float, int]]:
    """(kind, records, bytes without page images, bytes of page images) of ``size.logged`` executions."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_walinspect")
        cursor.execute("CHECKPOINT")  # the first change of a page after this one logs the whole page ...
    _run(WARM_UP)  # ... which happens here
    began = _scalar("SELECT pg_current_wal_insert_lsn()")
    _run(size.logged)
    ended = _scalar("SELECT pg_current_wal_insert_lsn()")
    workflows.steps.start(STEPS)  # its commit waits for the disk, so all before it can be read back
    with connection.cursor() as cursor:
        here = f"%/{_scalar('SELECT oid FROM pg_database WHERE datname = current_database()')}/%"
        cursor.execute(POSTGRES_RECORDS, [began, ended, here, here])
        return cursor.fetchall()


def _mysql(size: Size) -> list[Figure]:
    """InnoDB's redo log; whatever else the server does meanwhile is counted too."""
    _run(WARM_UP)
    return [_difference("wal per execution", size, lambda: int(_row("SHOW STATUS LIKE 'Innodb_lsn_current'")[1]))]


def _sqlite(size: Size) -> list[Figure]:
    """Growth of the write-ahead file, which holds whole pages."""
    file = Path(f"{connection.settings_dict['NAME']}-wal")
    _row("PRAGMA wal_autocheckpoint = 0")
    _row("PRAGMA wal_checkpoint(TRUNCATE)")
    figure = _difference("wal per execution", size, lambda: file.stat().st_size)
    connection.close()  # and with it the pragma
    return [figure]


def _difference(name: str, size: Size, written: Callable[[], int]) -> Figure:
    before = written()
    _run(size.logged)
    return Figure(name, "bytes", [(written() - before) / size.logged])


def _run(count: int) -> None:
    for _ in range(count):
        worker.advance_one(workflows.steps.start(STEPS).id, using="default")


def _scalar(sql: str) -> Any:
    return _row(sql)[0]


def _row(sql: str) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()
