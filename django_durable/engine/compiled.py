"""Statements about one execution, whose text the ORM makes once: making it costs more CPU than running it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import QuerySet
from django.db.models.sql import Query

from django_durable import clock
from django_durable.engine.prepared import hot_cursor

Rows = QuerySet[Any, tuple[Any, ...]]
_NOBODY = UUID(int=0)


def rows(select: Callable[[str, UUID], Rows], *, using: str, execution_id: UUID) -> Iterable[tuple[Any, ...]]:
    """The rows of a ``values_list`` query. Only PostgreSQL's driver gives every type as the model has it."""
    if connections[using].vendor != "postgresql":
        return select(using, execution_id)
    with hot_cursor(connections[using]) as cursor:
        cursor.execute(*statement(select, using=using, execution_id=execution_id))
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def statement(make: Callable[[str, UUID], Rows | Query], *, using: str, execution_id: UUID) -> tuple[str, list[Any]]:
    """Text and parameters of what ``make`` gives; made anew where a test's frozen time is one of the parameters."""
    sql, params = _compile(make, using) if clock.is_frozen() else _compiled(make, using)
    return sql, [execution_id if param == _NOBODY else param for param in params]


def _compile(make: Callable[[str, UUID], Rows | Query], using: str) -> tuple[str, tuple[Any, ...]]:
    made = make(using, _NOBODY)
    sql, params = (made.query if isinstance(made, QuerySet) else made).get_compiler(using).as_sql()
    return sql, tuple(params)


_compiled = cache(_compile)
