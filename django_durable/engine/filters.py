"""Filter: which executions are meant, as one checked value for the client, commands, the admin and the API.

The indexes of ``Execution`` answer it. What has none of its own, such as ``version``, ``queue`` and the times but
``created_*``, narrows down what the others find.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.db.models import Model, Q

from django_durable.definitions import registry
from django_durable.engine import family, filter_text
from django_durable.engine.filter_checks import CHECKS, TIMES
from django_durable.exceptions import InvalidOptionError
from django_durable.models import CLOSED, Execution, Status
from django_durable.models.execution import STORED, ExecutionQuerySet

# Words for what ``Execution.waiting_for`` shows; anything else is the beginning of such a text.
WAITS = {"signal": "signal ", "child": "child ", "sleep": "timer", "retry": "retry of ", "state": "a condition"}


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Executions for which all that is given is true; nothing given: all.

    Ranges of time go from ``_after``, included, to ``_before``, excluded; aware datetimes.
    Raises InvalidOptionError for what cannot be meant.
    """

    status: str | Iterable[str] | None = None  # one or several, or "open" and "closed" for those that are
    workflow: str | None = None
    version: int | None = None  # with `workflow`
    category: str | None = None  # as registered in this process
    queue: str | None = None
    key: str | None = None
    key_prefix: str | None = None
    id_prefix: str | None = None  # hexadecimal digits, with or without dashes
    labels: Mapping[str, str] | None = None  # all of them
    subject: Model | str | None = None  # a saved instance, or "app_label.model:pk"
    parent: Execution | UUID | str | None = None  # its children
    root: Execution | UUID | str | None = None  # its children, their children and so on
    created_after: datetime | None = None
    created_before: datetime | None = None
    started_after: datetime | None = None
    started_before: datetime | None = None
    finished_after: datetime | None = None
    finished_before: datetime | None = None
    error: str | None = None  # an exception class: "CardDeclined", or exactly "shop.errors.CardDeclined"
    has_error: bool | None = None
    waiting_for: str | None = None  # one of WAITS, or the beginning of what a list shows: "signal orders."
    stuck_reason: str | None = None

    def __post_init__(self) -> None:
        if self.version is not None and self.workflow is None:
            raise InvalidOptionError("version= means little without its workflow; give workflow= too.")
        for name, check in CHECKS.items():
            given = getattr(self, name)
            if given is not None:
                object.__setattr__(self, name, check(name, given))

    @classmethod
    def of(cls, conditions: Mapping[str, Any]) -> Filter:
        """The filter of these conditions by name. Raises InvalidOptionError for a name that does not exist."""
        known = [field.name for field in fields(cls)]
        unknown = [name for name in conditions if name not in known]
        if unknown:
            raise InvalidOptionError(f"{unknown[0]!r} is no condition; give some of {', '.join(known)}.")
        return cls(**conditions)

    @classmethod
    def from_text(cls, texts: Mapping[str, str | Iterable[str]]) -> Filter:
        """The filter of a command line or a query string: ``{"status": "failed,stuck", "label": "tenant=acme"}``.

        As the fields, but ``label`` for each of the labels, numbers, yes or no and ISO 8601 times as text.
        Raises InvalidOptionError.
        """
        return cls.of(filter_text.read(texts))

    @property
    def statuses(self) -> frozenset[Status]:
        """Which of them it lets pass; all of them if it does not ask."""
        given = frozenset(map(Status, self.status or STORED))
        if self.stuck_reason is not None:
            return given & {Status.STUCK}
        return given if self.waiting_for is None else given - CLOSED

    def select(self, *, using: str) -> ExecutionQuerySet:
        """The executions, in no order, with all their columns."""
        found = Execution.objects.using(using).filter(self._conditions())
        if self.statuses != STORED:
            found = found.with_status(self.statuses)
        if self.key_prefix is not None:
            found = found.beginning("key", self.key_prefix)
        if self.labels:
            found = found.labelled(self.labels)
        if self.root is not None:
            found = found.filter(parent__in=family.parents_below(cast(UUID, self.root), using=using))
        return found

    def _conditions(self) -> Q:
        found = Q()
        for name, condition in _CONDITIONS.items():
            given = getattr(self, name)
            if given is not None:
                found &= condition(given)
        return found


# -- conditions that a Q can say -----------------------------------------------------------------------


def _of_category(category: str) -> Q:
    return Q(workflow__in=sorted({info.name for info in registry.workflows() if info.category == category}))


def _with_id(digits: str) -> Q:
    """A range of ids. All of them are UUIDs of version 7, and some databases order only such by their digits."""
    low, high = digits.ljust(32, "0"), digits.ljust(32, "f")
    if len(digits) <= 12:
        low, high = f"{low[:12]}7{low[13:]}", f"{high[:12]}7{high[13:]}"
    if len(digits) <= 16:
        low, high = f"{low[:16]}8{low[17:]}", f"{high[:16]}b{high[17:]}"
    return Q(pk__gte=UUID(low), pk__lte=UUID(high))


def _about(subject: str) -> Q:
    label, _, pk = subject.partition(":")
    return Q(subject_type=label, subject_id=pk)


def _failed_with(error: str) -> Q:
    # With what its index is limited to.
    exactly = Q(error_type=error) if "." in error else Q(error_type__endswith=f".{error}")
    return Q(error_type__gt="") & exactly


def _with_error(wanted: bool) -> Q:
    return Q(error_type__gt="") if wanted else Q(error_type="")


def _waiting(what: str) -> Q:
    begins = WAITS.get(what, what)
    found = Q(waiting_for__startswith=begins) | Q(waiting_for__contains=f"; {begins}")  # one of several
    return found | Q(waiting_for__contains=" children ") if what == "child" else found


def _equals(column: str) -> Callable[[Any], Q]:
    return lambda given: Q(**{column: given})


def _in_range(name: str) -> Callable[[Any], Q]:
    """name: such as ``created_after``."""
    what, _, side = name.partition("_")
    return lambda at: Q(**{f"{what}_at__{'gte' if side == 'after' else 'lt'}": at})


_CONDITIONS: dict[str, Callable[[Any], Q]] = {
    "category": _of_category,
    "id_prefix": _with_id,
    "subject": _about,
    "error": _failed_with,
    "has_error": _with_error,
    "waiting_for": _waiting,
    **{name: _equals(name) for name in ("workflow", "version", "queue", "key", "parent", "stuck_reason")},
    **{name: _in_range(name) for name in TIMES},
}
