"""One verb for many executions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django_durable.client import history_edits, messages, operating, orders
from django_durable.client.targets import alias_of
from django_durable.engine import pages
from django_durable.engine.filters import Filter
from django_durable.engine.orders import VERBS
from django_durable.exceptions import DurableError, InvalidOptionError

_HOMES = (history_edits, messages, operating, orders)
# The functions that give the orders, by the names of their verbs: a verb without one is found at import.
ORDERS: dict[str, Callable[..., Any]] = {
    name: next(vars(home)[name] for home in _HOMES if name in vars(home)) for name in VERBS
}
MOST_AT_ONCE = 10_000
_PAGE = 500


@dataclass(slots=True)
class BulkReport:
    """What came of a verb for many: those it was done to, and why others refused it.

    has_more: the limit was reached before all that fit the filter had their turn.
    """

    verb: str
    done: list[UUID] = field(default_factory=list)
    refused: dict[UUID, str] = field(default_factory=dict)
    has_more: bool = False

    def add(self, order: Callable[..., Any], execution_id: UUID, **arguments: Any) -> None:
        """Give the order to one more, and keep what came of it."""
        try:
            order(execution_id, **arguments)
        except DurableError as error:
            self.refused[execution_id] = str(error)
        else:
            self.done.append(execution_id)


def bulk(
    verb: str, where: Filter, *, limit: int = 1000, dry_run: bool = False, using: str | None = None, **arguments: Any
) -> BulkReport:
    """Give an order to every execution that fits a filter, newest first, each in a transaction of its own.

    So it can be stopped and given again; inside a transaction of the caller all of them are part of that.
    verb: its name. limit: at most 10,000. dry_run: only say whom it would be given to. arguments: the verb's own.
    A refusal is reported and the next one is tried. Raises InvalidOptionError before anything is done.
    """
    order = order_named(verb)
    if where == Filter():
        raise InvalidOptionError("This filter means every execution there is; give it a condition.")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MOST_AT_ONCE:
        raise InvalidOptionError(f"limit={limit!r}: give a number from 1 to {MOST_AT_ONCE}.")
    report = BulkReport(verb)
    for execution_id in _ids(where, using=alias_of(using)):
        if len(report.done) + len(report.refused) == limit:
            report.has_more = True
            break
        if dry_run:
            report.done.append(execution_id)
        else:
            report.add(order, execution_id, using=using, **arguments)
    return report


def give_each(verb: str, executions: Iterable[UUID], **arguments: Any) -> BulkReport:
    """``bulk`` for executions that are named one by one."""
    report, order = BulkReport(verb), order_named(verb)
    for execution_id in executions:
        report.add(order, execution_id, **arguments)
    return report


def order_named(verb: str) -> Callable[..., Any]:
    """The function of the client that gives this order. Raises InvalidOptionError."""
    if verb not in ORDERS:
        raise InvalidOptionError(f"{verb!r} is no verb; give one of {', '.join(sorted(ORDERS))}.")
    return ORDERS[verb]


def _ids(where: Filter, *, using: str) -> Iterator[UUID]:
    """Page by page, so that those whose status has changed by then do not move the others."""
    after = None
    while True:
        page = pages.page(where, after=after, before=None, size=_PAGE, using=using)
        yield from [execution.pk for execution in page.rows]
        after = page.next
        if after is None:
            return
