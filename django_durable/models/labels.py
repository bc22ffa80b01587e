"""Labels: how a database finds the executions that carry some.

PostgreSQL has an inverted index over the labels of those that have any, so the others pay nothing for it. MySQL,
MariaDB and SQLite have none that fits: they read the newest executions first, until a page is full.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.lookups import Exact

HAS_LABELS = ~Q(labels={})


def carrying(labels: Mapping[str, str], vendor: str) -> list[Any]:
    """The conditions under which an execution has all of these labels."""
    if vendor == "sqlite":  # which has no containment
        return [Exact(_label(name), Value(value)) for name, value in labels.items()]
    return [Q(labels__contains=dict(labels)), HAS_LABELS]  # the latter: what the index is limited to


def _label(name: str) -> Func:
    return Func(F("labels"), Value(f'$."{name}"'), function="JSON_EXTRACT", output_field=models.TextField())


class LabelIndex(models.Index):
    """Inverted where the database can; elsewhere by age, which is also the order of an unfiltered list."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"fields": ["-created_at"], **options})

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **options: Any) -> Any:
        if schema_editor.connection.vendor != "postgresql":
            return super().create_sql(model, schema_editor, using=using, **options)
        assert self.name is not None
        inverted = models.Index(fields=["labels"], name=self.name, opclasses=["jsonb_path_ops"], condition=HAS_LABELS)
        return inverted.create_sql(model, schema_editor, using=" USING gin")
