"""Subjects: the rows of other apps that executions are about.

An execution keeps the address of its subject, no foreign key: nothing is added to the subject's table, and when the row
is deleted its executions stay, with an address that leads nowhere. A row that later gets the same primary key is found
with the executions of the one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import models

from django_durable.conf import get_settings
from django_durable.exceptions import InvalidOptionError
from django_durable.models.execution import Execution, ExecutionQuerySet


def address_of(subject: object) -> tuple[str, str]:
    """("app_label.model", primary key as text) of a saved instance; a proxy's is that of its concrete model.

    Raises InvalidOptionError.
    """
    if not isinstance(subject, models.Model) or subject.pk is None:
        raise InvalidOptionError(f"subject={subject!r}: give a saved model instance.")
    concrete = subject._meta.concrete_model
    assert concrete is not None
    return concrete._meta.label_lower, str(subject.pk)


class SubjectManager(models.Manager.from_queryset(ExecutionQuerySet)):  # type: ignore[misc]
    """The executions of one row, newest first, without payloads."""

    def __init__(self, subject: models.Model, name: str) -> None:
        super().__init__()
        self.model, self._db = Execution, get_settings().database
        self._subject, self._name = subject, name

    def get_queryset(self) -> ExecutionQuerySet:
        cached: ExecutionQuerySet | None = getattr(self._subject, "_prefetched_objects_cache", {}).get(self._name)
        return self._apply_rel_filters(self._all()) if cached is None else cached

    def _apply_rel_filters(self, found: ExecutionQuerySet) -> ExecutionQuerySet:
        """By the name that Django looks for when it prefetches with a queryset."""
        return found.about(*address_of(self._subject))

    def get_prefetch_querysets(self, instances: Sequence[models.Model], querysets: Any = None) -> tuple[Any, ...]:
        """What ``prefetch_related`` asks for."""
        found = querysets[0] if querysets else self._all()
        label = address_of(instances[0])[0]
        found = found.filter(subject_type=label, subject_id__in=[str(instance.pk) for instance in instances])
        return found, lambda row: row.subject_id, lambda instance: str(instance.pk), False, self._name, False

    def _all(self) -> ExecutionQuerySet:
        found: ExecutionQuerySet = super().get_queryset()
        return found.without_payloads().order_by("-created_at")


class SubjectExecutions:
    """``order.executions``, as a reverse manager of Django's."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: models.Model | None, owner: type | None = None) -> Any:
        return self if instance is None else SubjectManager(instance, self._name)


class DurableSubject(models.Model):
    """A base for models that executions are about: ``class Order(DurableSubject, models.Model)``.

    Adds ``executions`` and no column; no migration comes of it.
    """

    executions = SubjectExecutions()

    class Meta:
        abstract = True
