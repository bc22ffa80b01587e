"""Starts in one batch, beside inserting the same rows through a cursor."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from django.db import connection, models, transaction

from benchmarks import database, workflows
from benchmarks.figures import Figure, Target
from benchmarks.measures.quiet import without_hints
from benchmarks.sizes import Size
from django_durable import client
from django_durable.models import Execution, Timer

PAGE = 500


@without_hints
def batch(size: Size) -> list[Figure]:
    """``client.start_many`` in a transaction of its own; floor: the rows of both tables, ready made, in one as well."""
    seconds, floors = [], []
    for _ in range(size.rounds):
        database.clear()
        starts = [workflows.steps.prepare(1) for _ in range(size.batch)]
        seconds.append(_timed(lambda starts=starts: client.start_many(starts)))
        rows = {model: _rows(model) for model in (Execution, Timer)}
        database.clear()
        floors.append(_timed(lambda rows=rows: _insert(rows)))
    database.clear()
    rates, floor_rates = ([size.batch / spent for spent in found] for found in (seconds, floors))
    return [
        Figure(f"batch of {size.batch:,}", "s", seconds, floors, Target(3, of="value", at_most=True)),
        Figure("batch, rate", "starts/s", rates, floor_rates),
    ]


def _timed(act: Any) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _rows(model: type[models.Model]) -> list[list[Any]]:
    """As the driver takes them."""
    fields = model._meta.concrete_fields
    stored = model._default_manager.values_list(*(field.attname for field in fields))
    return [
        [field.get_db_prep_save(value, connection) for field, value in zip(fields, row, strict=True)] for row in stored
    ]


def _insert(rows: dict[type[models.Model], list[list[Any]]]) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        for model, values in rows.items():
            for at in range(0, len(values), PAGE):
                cursor.execute(*_statement(model, values[at : at + PAGE]))


def _statement(model: type[models.Model], values: Sequence[list[Any]]) -> tuple[str, list[Any]]:
    quoted = connection.ops.quote_name
    columns = ", ".join(quoted(str(field.column)) for field in model._meta.concrete_fields)
    row = f"({', '.join(['%s'] * len(values[0]))})"
    places = ", ".join([row] * len(values))
    sql = f"INSERT INTO {quoted(model._meta.db_table)} ({columns}) VALUES {places}"
    return sql, [value for each in values for value in each]
