"""Chains: executions that were continued as one another. All of them carry the id of the first.

Only the last of a chain can be open. An order to an earlier one is an order to the last; between two looks that one may
be continued too, so whoever gives an order asks again until it is taken or refused for good. This is no race: every
single order is one compare-and-set on the timer row of one execution, which is gone once it was continued.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from django_durable.exceptions import ExecutionClosedError
from django_durable.models import Execution

T = TypeVar("T")


def last_id(chain: UUID | None, *, using: str) -> UUID | None:
    """The execution at the end of a chain; None if it has been deleted."""
    return Execution.objects.using(using).last_of(chain).values_list("pk", flat=True).first()


def follow(order: Callable[[UUID], T], execution_id: UUID) -> T:
    """Give an order to an execution, or to what it was continued as."""
    while True:
        try:
            return order(execution_id)
        except ExecutionClosedError as closed:
            if not isinstance(closed.successor, UUID):
                raise
            execution_id = closed.successor
