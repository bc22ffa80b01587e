"""Many starts in one transaction: checked as a whole, written a page of rows at a time, hinted at once for each queue.

Those with keys are written in the order of their keys, so that two batches with the same ones cannot wait for each
other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.db.models.functions import Coalesce

from django_durable import dispatch
from django_durable.clock import DatabaseNow
from django_durable.definitions import PreparedStart
from django_durable.engine import compound, starting
from django_durable.engine.new_start import NewStart
from django_durable.exceptions import BatchRefusedError, CodecError, ExecutionConflict, InvalidOptionError
from django_durable.models import Execution, Timer

_NOBODY = UUID(int=0)
PAGE = 500  # rows of one statement
PAGE_BYTES = 1024 * 1024  # of their inputs: servers limit the length of a statement


@dataclass(frozen=True, slots=True)
class StartOutcome:
    """What one start of a batch has come to: an execution, or the error for which there is none."""

    execution: Execution | None = None
    error: Exception | None = None

    @property
    def is_new(self) -> bool:
        return self.execution is not None and self.execution.disposition == "new"


@dataclass(frozen=True, slots=True)
class _Item:
    """One start that has passed the checks."""

    position: int
    given: PreparedStart
    new: NewStart

    @property
    def has_place(self) -> bool:
        return self.given.options.key is not None or self.given.options.coalesce is not None

    @property
    def place(self) -> tuple[str, str]:
        """Where it may meet another one: its key and scope, or its coalescing key and workflow."""
        execution = self.new.execution
        if execution.coalesce_key is not None:
            return execution.coalesce_key, execution.workflow
        return execution.key or "", execution.key_scope or ""


def start_many(starts: Sequence[object], *, skip_errors: bool, using: str) -> list[StartOutcome]:
    """What each has come to, in order. Raises BatchRefusedError, and then nothing is written.

    skip_errors: leave out the bad ones instead. Transaction: the caller's, or its own.
    """
    outcomes: dict[int, StartOutcome] = {}
    items = list(_checked(starts, outcomes, using)) if starts else []
    _refuse(outcomes, skip_errors=skip_errors)
    with transaction.atomic(using=using):
        _write(items, outcomes, using)
        _refuse(outcomes, skip_errors=skip_errors)
    return [outcomes[position] for position in range(len(starts))]


def _checked(starts: Sequence[object], outcomes: dict[int, StartOutcome], using: str) -> Iterator[_Item]:
    now = database_now(using)  # for all: an expression for each row would cost more than the row
    for position, start in enumerate(starts):
        try:
            yield _item(position, start, now, using)
        except (TypeError, CodecError, InvalidOptionError) as error:
            outcomes[position] = StartOutcome(error=error)


def database_now(using: str) -> datetime:
    """For rows that are not there yet. One SELECT."""
    nobody = Timer.objects.using(using).filter(pk=_NOBODY)
    found: datetime = nobody.aggregate(now=Coalesce(Max("due_at"), DatabaseNow()))["now"]
    return found


def _item(position: int, start: object, now: datetime, using: str) -> _Item:
    if not isinstance(start, PreparedStart):
        raise InvalidOptionError(f"This is a {type(start).__name__}: give workflow.prepare(...).")
    if start.options.using not in (None, using):
        raise InvalidOptionError(f"using={start.options.using!r}: a batch is one transaction, in {using!r}.")
    return _Item(position, start, starting.prepare(start.definition, start.options, start.args, start.kwargs, now=now))


def _refuse(outcomes: dict[int, StartOutcome], *, skip_errors: bool) -> None:
    errors = {position: outcome.error for position, outcome in sorted(outcomes.items()) if outcome.error is not None}
    if errors and not skip_errors:
        raise BatchRefusedError(errors)


# -- writing -------------------------------------------------------------------------------------------


def _write(items: list[_Item], outcomes: dict[int, StartOutcome], using: str) -> None:
    coalesced = [item for item in items if item.given.options.coalesce is not None]
    keyed = [item for item in items if item.given.options.key is not None]
    for page in _pages([item for item in items if not item.has_place]):
        _insert(page, outcomes, using)
    keyed.sort(key=lambda item: item.place)
    for page in _pages(keyed):
        _insert_keyed(page, outcomes, using)
    for item in sorted(coalesced, key=lambda item: item.place):
        _one(item, outcomes, using)
    due = {item.new.timer.queue for item in items if not item.new.timer.held and outcomes[item.position].is_new}
    for queue in sorted(due):
        dispatch.drain_after_commit(queue, using=using, delay_seconds=0.0)


def _pages(items: Sequence[_Item]) -> Iterator[list[_Item]]:
    page: list[_Item] = []
    size = 0
    for item in items:
        if page and (len(page) == PAGE or size > PAGE_BYTES):
            yield page
            page, size = [], 0
        page.append(item)
        size += len(item.new.execution.input)
    if page:
        yield page


def _insert(page: list[_Item], outcomes: dict[int, StartOutcome], using: str) -> None:
    compound.insert_many([item.new.execution for item in page], using=using)
    compound.insert_many([item.new.timer for item in page], using=using)
    for item in page:
        item.new.tell(using=using)
        outcomes[item.position] = StartOutcome(item.new.execution)


def _insert_keyed(page: list[_Item], outcomes: dict[int, StartOutcome], using: str) -> None:
    """The first of each key that nobody has, together; the others one by one."""
    taken = _taken(page, using)
    first = [next(same) for place, same in groupby(page, key=lambda item: item.place) if place not in taken]
    if first:
        try:
            with transaction.atomic(using=using):
                _insert(first, outcomes, using)
        except IntegrityError:  # somebody has taken one of the keys meanwhile
            first = []
    done = {item.position for item in first}
    for item in page:
        if item.position not in done:
            _one(item, outcomes, using)


def _taken(page: list[_Item], using: str) -> set[tuple[str, str]]:
    found = Execution.objects.using(using).filter(
        key__in={item.new.execution.key for item in page}, key_scope__in={item.new.execution.key_scope for item in page}
    )
    return {(key or "", scope or "") for key, scope in found.values_list("key", "key_scope")}


def _one(item: _Item, outcomes: dict[int, StartOutcome], using: str) -> None:
    given = item.given
    try:
        execution, _ = starting.write(given.definition, given.options, item.new, using=using)
        outcomes[item.position] = StartOutcome(execution)
    except ExecutionConflict as error:
        outcomes[item.position] = StartOutcome(error=error)
