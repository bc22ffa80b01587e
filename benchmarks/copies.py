"""Rows by the hundred thousand: a table copied into itself, in SQL."""

from __future__ import annotations

from uuid import UUID

from django.db import connection, models


def copy(model: type[models.Model], changes: dict[str, str], condition: str, beside: str = "") -> None:
    """INSERT ... SELECT of a table into itself. changes: column to SQL."""
    columns = [str(field.column) for field in model._meta.concrete_fields]
    table = connection.ops.quote_name(model._meta.db_table)
    names = ", ".join(map(connection.ops.quote_name, columns))
    values = ", ".join(changes.get(column) or f"{table}.{connection.ops.quote_name(column)}" for column in columns)
    _execute(f"INSERT INTO {table} ({names}) SELECT {values} FROM {table}{beside} {condition}")


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def new_id() -> str:
    if connection.vendor == "postgresql":
        return "gen_random_uuid()"
    if connection.vendor == "sqlite":
        return "lower(hex(randomblob(16)))"
    return "UUID()" if connection.features.has_native_uuid_field else "REPLACE(UUID(), '-', '')"


def literal(value: UUID) -> str:
    return f"'{value}'" if connection.features.has_native_uuid_field else f"'{value.hex}'"
