"""The relatives of an execution: above it, below it, and those that it was continued from and as."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models import Exists, OuterRef

from django_durable.exceptions import InvalidOptionError
from django_durable.models import Execution
from django_durable.models.execution import ExecutionQuerySet

MOST_PARENTS_BELOW = 1_000


@dataclass(frozen=True, slots=True)
class Family:
    """The rows, without payloads. Of many children and of a long chain only some are here.

    copied_from, copies: what it is a restart or a fork of, and those of it.
    """

    execution: Execution
    parents: tuple[Execution, ...]  # its own first, the topmost last
    children: tuple[Execution, ...]  # in the order of their start
    more_children: int  # beyond those; counted up to `at_most`
    chain: tuple[Execution, ...]  # in the order in which they were continued; () if it never was
    copied_from: Execution | None  # None, too, if that one was deleted
    copies: tuple[Execution, ...]  # in the order of their start


def take(execution: Execution, *, at_most: int, using: str) -> Family:
    """at_most: children, and executions of the chain on either side. A SELECT for each parent, and at most six more.

    Raises InvalidOptionError.
    """
    if at_most < 1:
        raise InvalidOptionError(f"at_most={at_most!r}: give 1 or more.")
    rows = Execution.objects.using(using).without_payloads()
    below = rows.filter(parent=execution.pk).order_by("created_at", "pk")
    children = tuple(below[:at_most])
    more = below.values("pk")[at_most : 2 * at_most].count() if len(children) == at_most else 0
    return Family(
        execution,
        parents=_parents(execution, rows),
        children=children,
        more_children=more,
        chain=_chain(execution, rows, at_most),
        copied_from=rows.filter(pk=execution.origin).first() if execution.origin is not None else None,
        copies=tuple(rows.filter(origin=execution.pk).order_by("created_at", "pk")[:at_most]),
    )


def _parents(execution: Execution, rows: ExecutionQuerySet) -> tuple[Execution, ...]:
    found: list[Execution] = []
    above = execution.parent_id
    while above is not None:
        parent = rows.filter(pk=above).first()
        if parent is None:  # deleted meanwhile
            break
        found.append(parent)
        above = parent.parent_id
    return tuple(found)


def _chain(execution: Execution, rows: ExecutionQuerySet, at_most: int) -> tuple[Execution, ...]:
    if execution.chain is None:
        return ()
    others = rows.filter(chain=execution.chain).exclude(pk=execution.pk)
    earlier = others.filter(created_at__lte=execution.created_at).order_by("-created_at", "-pk")[:at_most]
    later = others.filter(created_at__gte=execution.created_at).order_by("created_at", "pk")[:at_most]
    found = {row.pk: row for row in (*earlier, execution, *later)}  # those of the same instant are in both
    chain = sorted(found.values(), key=lambda row: (row.created_at, row.pk))
    place = chain.index(execution)
    return tuple(chain[max(0, place - at_most) : place + at_most + 1])


def parents_below(root: UUID, *, using: str) -> list[UUID]:
    """It and all below it that have children: whoever has one of these as a parent descends from it.

    A SELECT for each generation. Raises InvalidOptionError if there are too many.
    """
    has_children = Exists(Execution.objects.using(using).filter(parent=OuterRef("pk")))
    parents = Execution.objects.using(using).filter(has_children).values_list("pk", flat=True)
    found, generation = [root], [root]
    while generation:
        generation = list(parents.filter(parent__in=generation)[:MOST_PARENTS_BELOW])
        found += generation
        if len(found) > MOST_PARENTS_BELOW:
            raise InvalidOptionError(f"More than {MOST_PARENTS_BELOW} below {root} have children; ask for parent=.")
    return found
