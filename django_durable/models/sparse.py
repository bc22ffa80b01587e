"""Indexes without entries for the rows that have nothing to find, where the database can leave them out.

Most executions have no key, no parent and no subject, most timers no lease; entries for them would be a third of what a
start writes. MySQL and MariaDB have no partial indexes: there all rows are in, and a unique constraint means the same,
for it never compares NULLs.
"""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Q


class SparseIndex(models.Index):
    """kept: the rows that are in, where the database can; a query has to imply it in order to use the index."""

    def __init__(self, *, kept: Q, **options: Any) -> None:
        super().__init__(**options)
        self.kept = kept

    def deconstruct(self) -> Any:
        path, args, options = super().deconstruct()
        return path, args, {**options, "kept": self.kept}

    def create_sql(self, model: Any, schema_editor: Any, using: str = "", **options: Any) -> Any:
        # Not as `condition`: Django warns, on MySQL and MariaDB, that it cannot be kept there.
        can = schema_editor.connection.features.supports_partial_indexes
        fields = [f"{'-' * bool(order)}{name}" for name, order in self.fields_orders]
        condition = self.kept if can else None
        built = models.Index(fields=fields, name=self.name, condition=condition, opclasses=self.opclasses)
        return built.create_sql(model, schema_editor, using=using, **options)


class SparseUnique(models.UniqueConstraint):
    """Unique over the fields; rows in which one of them is NULL are left out. kept: which, default the last."""

    def __init__(self, *, kept: str = "", **options: Any) -> None:
        super().__init__(**options)
        self.kept = kept or self.fields[-1]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparseUnique) and self.kept == other.kept and super().__eq__(other)

    __hash__ = models.UniqueConstraint.__hash__

    def deconstruct(self) -> Any:
        path, args, options = super().deconstruct()
        return path, args, options if self.kept == self.fields[-1] else {**options, "kept": self.kept}

    def constraint_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._built(schema_editor).constraint_sql(model, schema_editor)

    def create_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._built(schema_editor).create_sql(model, schema_editor)

    def remove_sql(self, model: Any, schema_editor: Any) -> Any:
        return self._built(schema_editor).remove_sql(model, schema_editor)

    def _built(self, schema_editor: Any) -> models.UniqueConstraint:
        # Not as `condition`: where that cannot be kept, Django makes no constraint at all.
        can = schema_editor.connection.features.supports_partial_indexes
        kept = Q(**{f"{self.kept}__isnull": False}) if can else None
        return models.UniqueConstraint(fields=self.fields, name=self.name, condition=kept)
