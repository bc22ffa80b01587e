"""A fresh, migrated database, and the floor: one-row INSERT + COMMIT through the bare driver."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from celery import current_app
from django.apps import apps
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connection, connections

TABLE = "floor"


def create(using: str = "default", *, flush_ms: float = 0.0) -> None:
    """Drop and make a database of the benchmarks, and migrate it.

    flush_ms: PostgreSQL, for every session of this database: what a slower disk would add to each flush of the log, the
    floor's included. It is the server's own ``commit_delay``.
    """
    database = connections[using]
    name = database.settings_dict["NAME"]
    database.close()
    if database.vendor == "sqlite":
        for suffix in ("", "-wal", "-shm"):
            Path(f"{name}{suffix}").unlink(missing_ok=True)
    else:
        quoted = database.ops.quote_name(name)
        with database._nodb_cursor() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {quoted}")
            cursor.execute(f"CREATE DATABASE {quoted}")
            if flush_ms:
                cursor.execute(f"ALTER DATABASE {quoted} SET commit_delay = {round(flush_ms * 1000)}")
                cursor.execute(f"ALTER DATABASE {quoted} SET commit_siblings = 0")
    # Also the tables of the tests' apps, for their checker.
    call_command("migrate", database=using, run_syncdb=True, verbosity=0)


def clear() -> None:
    """No executions, no hints: what an earlier measure left must not be worked on in this one."""
    tables = [model._meta.db_table for model in apps.get_app_config("django_durable").get_models()]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables))
    if connection.vendor != "sqlite":
        current_app.control.purge()


def commits_per_second(count: int) -> float:
    """Rows of a checkpoint's width inserted one by one, each with its own commit."""
    driver, mark = _driver()
    cursor = driver.cursor()
    cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
    cursor.execute(f"CREATE TABLE {TABLE} (id INTEGER PRIMARY KEY, name VARCHAR(200), result TEXT)")
    insert = f"INSERT INTO {TABLE} (id, name, result) VALUES ({mark}, {mark}, {mark})"
    began = time.perf_counter()
    for number in range(count):
        cursor.execute(insert, (number, "nothing", "[1,1]"))
    spent = time.perf_counter() - began
    driver.close()
    return count / spent


def _driver() -> tuple[Any, str]:
    """A bare connection in autocommit, with the durability that Django's has."""
    parameters = connection.get_connection_params()
    if connection.vendor == "postgresql":
        import psycopg

        wanted = {key: parameters[key] for key in ("dbname", "host", "port", "user", "password") if parameters.get(key)}
        return psycopg.connect(**wanted, autocommit=True), "%s"
    if connection.vendor == "mysql":
        import MySQLdb

        return MySQLdb.connect(
            **{key: value for key, value in parameters.items() if key in {"database", "host", "port", "user"}},
            autocommit=True,
        ), "%s"
    driver = sqlite3.connect(parameters["database"], isolation_level=None)
    driver.execute("PRAGMA journal_mode=WAL")
    return driver, "?"
