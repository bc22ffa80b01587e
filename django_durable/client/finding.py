"""Finding executions: lists, pages, counts, and the relatives of one."""

from __future__ import annotations

from typing import Any

from django.db import models

from django_durable.client.reading import get
from django_durable.client.targets import Target, alias_of
from django_durable.engine import family as families
from django_durable.engine import pages
from django_durable.engine.filters import Filter
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Execution
from django_durable.models.subject import address_of


def find(where: Filter | None = None, *, using: str | None = None, **conditions: Any) -> models.QuerySet[Execution]:
    """Executions, newest first, without payloads. conditions: the fields of ``Filter``.

    Raises InvalidOptionError. For long lists there is ``page``.
    """
    found = _filter(where, conditions).select(using=alias_of(using))
    return found.without_payloads().order_by("-created_at")


def page(
    where: Filter | None = None,
    *,
    after: str | None = None,
    before: str | None = None,
    size: int = 50,
    using: str | None = None,
    **conditions: Any,
) -> pages.Page:
    """One page of a list, newest first, without payloads; as quick deep inside of it as at its beginning.

    after, before: ``next`` or ``previous`` of another page with the same filter. size: at most 500.
    Raises InvalidOptionError.
    """
    return pages.page(_filter(where, conditions), after=after, before=before, size=size, using=alias_of(using))


def count(where: Filter | None = None, *, at_most: int = 1000, using: str | None = None, **conditions: Any) -> int:
    """How many there are; ``at_most`` means that many or more. Raises InvalidOptionError."""
    return pages.count(_filter(where, conditions), at_most=at_most, using=alias_of(using))


def executions_for(subject: models.Model, *, using: str | None = None) -> models.QuerySet[Execution]:
    """The executions that were started with this row as their ``subject``, newest first, without payloads.

    Raises InvalidOptionError for what is no saved instance.
    """
    found = Execution.objects.using(alias_of(using)).about(*address_of(subject))
    return found.without_payloads().order_by("-created_at")


def family(execution: Target, *, at_most: int = 100, using: str | None = None) -> families.Family:
    """Its parents, its first children, and those that it was continued from and as.

    at_most: how many children, and how many of the chain on either side.
    Raises ExecutionNotFoundError, InvalidOptionError.
    """
    return families.take(get(execution, using=using), at_most=at_most, using=alias_of(using))


def _filter(where: Filter | None, conditions: dict[str, Any]) -> Filter:
    if where is None:
        return Filter.of(conditions)
    if conditions:
        raise InvalidOptionError(f"Give a Filter or conditions, not both: {', '.join(conditions)}.")
    return where
