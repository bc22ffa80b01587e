"""``ctx.map`` over a workflow: one child for each item, begun in one transaction, awaited as a whole.

The ids of the children follow each other, so the first one and their number are all that is recorded, and a page of
results is a range of the primary key. What is left of the map is counted down by the children (``countdown``): the
parent makes a pass when it has started them, when all have ended, and when the first has failed; none for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from copy import copy
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from django_durable import codec, dispatch
from django_durable.definitions import BoundWorkflow
from django_durable.engine import children, payloads, starting, transitions
from django_durable.engine.children import PAGE
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import fence, insert_checkpoint_of
from django_durable.engine.matching import Matcher, describe
from django_durable.engine.new_start import NewStart
from django_durable.engine.outcomes import Abandon, Mismatch
from django_durable.engine.recorder import Call
from django_durable.exceptions import ChildFailed, CodecError, InvalidOptionError, LeaseLostError, NondeterminismError
from django_durable.models import CLOSED, Execution, FanOut, Kind, OnParentClose, Status, StepStatus, Timer
from django_durable.models.execution import ExecutionQuerySet
from django_durable.models.identity import new_id
from django_durable.parts import Settled
from django_durable.running import running_step

MOST = 100_000  # children of one map: they begin in one transaction
_INDEX_BITS = 24  # of a child's id
_RESULTS_PAGE = 100  # rows that are read together: each may hold a megabyte
# Children that end at one time wait for each other's commit at the row that they count down; a map that is large
# enough has several. One with a limit has one, which also says whose turn is next.
_MOST_ROWS, _LEAST_OF_A_ROW = 8, 32


@dataclass(frozen=True, slots=True)
class Family:
    """The children of one map, by their ids."""

    first: UUID
    count: int

    @property
    def last(self) -> UUID:
        return self.id_of(self.count - 1)

    def id_of(self, index: int) -> UUID:
        return UUID(int=self.first.int + index)

    def index_of(self, child_id: UUID) -> int:
        return child_id.int - self.first.int

    def rows(self, using: str) -> ExecutionQuerySet:
        return Execution.objects.using(using).filter(pk__range=(self.first, self.last))

    def counts(self, using: str) -> QuerySet[FanOut]:
        return FanOut.objects.using(using).filter(pk__range=(self.first, self.id_of(_MOST_ROWS)))


def run(
    matcher: Matcher, part: str, workflow: object, items: Iterable[Any], *, settle: bool, limit: int | None
) -> Sequence[Any]:
    """Start a child for each item, wait for all of them, and give their results, read when they are looked at.

    settle: the results are ``Settled``. Otherwise the first child that does not succeed calls off the others as
    ``on_parent_close`` says, and ChildFailed is raised. limit: how many may be begun and not ended at one time.
    """
    start = children.bound("map", workflow)
    given = list(items)  # before the call: what they come from may make calls of its own
    call = matcher.enter(Kind.MAP, part, target=start.definition.name)
    kept = children.begun(matcher, call, partial(_start, matcher, call, start, given, settle=settle, limit=limit))
    assert call.recorded is not None
    family = Family(kept["first"], kept["count"])
    if family.count != len(given):
        about, then, now = describe(call.kind, call.name), f" over {family.count} items", f" over {len(given)} items"
        raise matcher.leave(Mismatch(NondeterminismError(call.recorded.position, about + then, about + now)))
    if family.count:
        _join(matcher, call, family, start.options.on_parent_close, settle=settle)
    return Results(matcher, family, settle=settle)


# -- starting ------------------------------------------------------------------------------------------


def _start(
    matcher: Matcher, call: Call, start: BoundWorkflow[..., Any], items: list[Any], *, settle: bool, limit: int | None
) -> None:
    family = Family(UUID(int=new_id().int >> _INDEX_BITS << _INDEX_BITS), len(items))
    now = matcher.claim.now()
    checkpoint = call.checkpoint(
        result=payloads.dump_own({"first": family.first, "count": family.count}), finished_at=now
    )
    if not items:
        matcher.defer(call, checkpoint)
        return
    _check(call, start, len(items), limit)
    for index, item in enumerate(items):  # all of them before the first is written
        _encoded(call, start, index, item)
    birth = _Birth(matcher, call, start, items, family, settle, limit)
    matcher.record(call, checkpoint, birth.write)
    matcher.shared.begin(family.first)


def _check(call: Call, start: BoundWorkflow[..., Any], count: int, limit: int | None) -> None:
    options = start.options
    if options.key is not None:
        raise InvalidOptionError(f"{describe(call.kind, call.name)}: key= is one execution's, and a map starts many.")
    if limit is not None and (options.at is not None or options.delay_seconds is not None):
        raise InvalidOptionError(f"{describe(call.kind, call.name)}: give concurrency=, or at= or delay=, not both.")
    if count > MOST:
        raise InvalidOptionError(
            f"{describe(call.kind, call.name)}: {count} items, the limit is {MOST}. Map over pages of them, with a "
            "workflow that maps over its page."
        )


def _encoded(call: Call, start: BoundWorkflow[..., Any], index: int, item: object) -> str:
    try:
        return starting.encoded_input(start.definition, (item,), {})
    except (CodecError, TypeError) as error:
        raise InvalidOptionError(
            f"{describe(call.kind, call.name)}: item {index} is no argument for {start.definition.name!r}: {error}"
        ) from error


class _Birth:
    """The children of a map that are to be started: checked, not yet written."""

    def __init__(
        self,
        matcher: Matcher,
        call: Call,
        start: BoundWorkflow[..., Any],
        items: list[Any],
        family: Family,
        settle: bool,
        limit: int | None,
    ) -> None:
        self._claim = matcher.claim
        self._family = family
        self._settle = settle
        self._limit = limit
        self._encoded: Callable[[int], str] = lambda index: _encoded(call, start, index, items[index])
        is_small = limit is not None and limit < len(items)
        self._rows = 1 if is_small else max(1, min(_MOST_ROWS, len(items) // _LEAST_OF_A_ROW))
        self._last = family.last if is_small else None
        self._like = children.prepare(matcher, start, (items[0],), {})
        # Plain times: an expression for each row would cost more than the row.
        options, timeout = start.options, start.options.timeout_seconds or start.definition.timeout_seconds
        self._now = matcher.claim.now()
        self._due_at = options.at or self._now + timedelta(seconds=options.delay_seconds or 0)
        self._deadline_at = self._due_at + timedelta(seconds=timeout) if timeout is not None else None

    def write(self, *checkpoints: Checkpoint) -> bool:
        """All of them or none. Bounded memory: a page of rows at a time."""
        using = self._claim.using
        with transaction.atomic(using=using):
            if not fence(self._claim):
                return False
            FanOut.objects.using(using).bulk_create(self._counts())
            for at in range(0, self._family.count, PAGE):
                page = [self._child(index) for index in range(at, min(at + PAGE, self._family.count))]
                Execution.objects.using(using).bulk_create([new.execution for new in page])
                Timer.objects.using(using).bulk_create([new.timer for new in page])
                for new in page:
                    new.tell(using=using)
            for checkpoint in checkpoints:
                insert_checkpoint_of(self._claim, checkpoint)
            if not page[0].timer.held or self._limit is not None:
                dispatch.drain_after_commit(page[0].execution.queue, using=using, delay_seconds=0.0)
        return True

    def _counts(self) -> list[FanOut]:
        count, rows = self._family.count, self._rows
        return [
            FanOut(
                pk=self._family.id_of(number),
                remaining=len(range(number, count, rows)),
                fails_fast=not self._settle,
                last=self._last,
            )
            for number in range(rows)
        ]

    def _child(self, index: int) -> NewStart:
        execution, timer = copy(self._like.execution), copy(self._like.timer)
        execution.pk = timer.execution_id = self._family.id_of(index)
        execution.fan_out = self._family.id_of(index % self._rows)
        execution.input = payloads.keep(self._encoded(index))
        execution.created_at, execution.deadline_at = self._now, self._deadline_at
        timer.due_at = self._due_at
        if self._limit is not None and index >= self._limit:  # until it is its turn
            timer.held, timer.due_at = True, None
        return NewStart(execution, timer)


# -- waiting -------------------------------------------------------------------------------------------


def _join(matcher: Matcher, part: Call, family: Family, policy: str, *, settle: bool) -> None:
    """Wait until all have ended, or the first has failed and those that it calls off have ended.

    The failure is recorded when it is found, before anybody is called off because of it: its index, and how it ended.
    """
    call = matcher.enter(Kind.JOIN, f"join:{part.name.rpartition('/')[2]}", target=str(family.first))
    if call.recorded is None or not call.recorded.is_settled:
        if matcher.shared.has_just_begun(family.first):
            left = family.count
        else:
            with matcher.reading():
                left = _look(matcher, call, family, policy, settle=settle)
        if left:
            about = f"{left} children of {part.name}"
            opened = call.checkpoint(status=StepStatus.WAITING)
            raise matcher.park(call, opened, status=Status.WAITING, until=None, waiting_for=about[:255])
    assert call.recorded is not None
    if call.recorded.result is not None:
        raise _failure(matcher, call.recorded, family)


def _look(matcher: Matcher, call: Call, family: Family, policy: str, *, settle: bool) -> int:
    """How many ends are still to be awaited; with none left the wait is settled."""
    using = matcher.claim.using
    counted = list(family.counts(using).values_list("remaining", "failed"))
    left = sum(remaining for remaining, _ in counted)
    kept = _kept(call, family, using, [failed for _, failed in counted if failed is not None])
    if kept is None and not left:
        wanted = family.rows(using).open() if settle else family.rows(using).exclude(status=Status.COMPLETED)
        odd = wanted.order_by("pk").values_list("pk", "status", "error").first()
        if odd is not None and odd[1] not in CLOSED:  # somebody deleted the count: then each end is news
            return family.rows(using).open().count()
        kept = _failure_of(family, *odd) if odd is not None else {}
    if kept is None:
        return left
    if left and policy != OnParentClose.ABANDON:
        if call.recorded is None or call.recorded.result is None:
            matcher.settle(call, call.checkpoint(status=StepStatus.WAITING, **kept))
        if policy == OnParentClose.CANCEL:
            _call_off(matcher, family)
        return left
    status = StepStatus.FAILED if kept else StepStatus.COMPLETED
    matcher.settle(call, call.checkpoint(status=status, finished_at=matcher.claim.now(), **kept))
    return 0


def _kept(call: Call, family: Family, using: str, failed: list[UUID]) -> dict[str, Any] | None:
    """The failure that was recorded, or else that of the first child in order which is known to have failed."""
    if call.recorded is not None and call.recorded.result is not None:
        return {"result": call.recorded.result, "error": call.recorded.error}
    if not failed:
        return None
    found = Execution.objects.using(using).filter(pk=min(failed)).values_list("pk", "status", "error").first()
    return _failure_of(family, *(found or (min(failed), "deleted", None)))


def _failure_of(family: Family, child_id: UUID, status: str, error: str | None) -> dict[str, Any]:
    copied = None if error is None else payloads.copied(error)
    return {"result": payloads.dump([family.index_of(child_id), str(status)]), "error": copied}


def _failure(matcher: Matcher, recorded: Checkpoint, family: Family) -> ChildFailed:
    index, status = matcher.stored(payloads.load, recorded.result)
    error = matcher.stored(payloads.load_error, recorded.error) if recorded.error is not None else None
    return children.failure(family.id_of(index), status, error)


def _call_off(matcher: Matcher, family: Family) -> None:
    """Ask all that are open to stop, a page in each transaction; those that were asked are passed over."""
    using = matcher.claim.using
    left = family.rows(using).open().filter(cancel_requested_at__isnull=True)
    for child_ids in children.pages(left):
        transitions.request_cancels(child_ids, using=using, reason=f"a child beside it of {family.first} has failed")


# -- results -------------------------------------------------------------------------------------------


class Results(Sequence[Any]):
    """The results of a map in the order of its items, read from the children's rows when they are looked at.

    A page of rows is kept at a time. Each look decodes a fresh value. Stored, it is a list.
    """

    def __init__(self, matcher: Matcher, family: Family, *, settle: bool) -> None:
        self._matcher = matcher
        self._family = family
        self._settle = settle
        self._page: tuple[int, list[Any]] = (-1, [])

    def __len__(self) -> int:
        return self._family.count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._at(each) for each in range(len(self))[index]]
        return self._at(range(len(self))[index])

    def __iter__(self) -> Iterator[Any]:
        return (self._at(index) for index in range(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Results | list):
            return NotImplemented
        return len(self) == len(other) and all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<results of {len(self)} children>"

    def _at(self, index: int) -> Any:
        number, place = divmod(index, _RESULTS_PAGE)
        if self._page[0] != number:
            self._page = (number, self._read(number * _RESULTS_PAGE))
        child_id = self._family.id_of(index)
        status, result, error = self._page[1][place] or ("deleted", None, None)
        if status == Status.COMPLETED:
            value = payloads.load(result or "")
            return Settled(value=value) if self._settle else value
        failed = children.failure(child_id, status, payloads.load_error(error) if error is not None else None)
        if self._settle:
            return Settled(error=failed)
        raise failed  # its row was deleted

    def _read(self, start: int) -> list[Any]:
        """One page of rows, None for those that are gone. Inside of the workflow function a failure leaves it."""
        page = Family(self._family.id_of(start), min(_RESULTS_PAGE, len(self) - start))
        rows = page.rows(self._matcher.claim.using).values_list("pk", "status", "result", "error")
        with self._matcher.reading() if self._is_in_function() else nullcontext():
            found = {row[0]: row[1:] for row in rows}
        if len(found) < page.count and self._matcher.claim.lost and self._is_in_function():
            raise self._matcher.leave(Abandon(LeaseLostError()))  # a history from elsewhere, replayed without the rows
        return [found.get(page.id_of(index)) for index in range(page.count)]

    def _is_in_function(self) -> bool:
        return self._matcher.shared.active is not None and running_step.get(None) is None


codec.register_list(Results)
