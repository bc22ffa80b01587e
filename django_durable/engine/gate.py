"""The gate before a pass: an execution whose workflow or queue has limits goes on once it has its slots.

One that is full is told so once: it is put aside without a due time, so the poller does not see it again, and whoever
gives a slot back makes it due (``slots``). It needs one limit after the other, always in the same order, and keeps
those that it has. A death anywhere leaves rows that the next claim finds. A slot that one of its steps has been given
meanwhile goes to others: it would hold that in vain, for as long as it waits here.

A cancellation or a deadline needs no slot: who waits is let through, and the pass ends it. One that has begun and has
only lent its slot (``while_waiting=False``) has to clean up, and takes it back for that.
"""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import F

from django_durable import dispatch
from django_durable.conf import get_settings
from django_durable.definitions import WorkflowDefinition
from django_durable.engine import pausing, slots, transitions
from django_durable.engine.claims import Claim
from django_durable.engine.journal import fence
from django_durable.engine.reconnect import persist
from django_durable.exceptions import LeaseLostError
from django_durable.limits import QUEUE_PREFIX, Limit, Rate, Wanted
from django_durable.models import Execution, LimitKey, Slot


class _NewsError(Exception):
    """Something has come for this execution; nothing was written."""


class _SupersededError(Exception):
    """There is a newer one of its key; nothing was written."""


def is_needed(definition: WorkflowDefinition[..., Any], execution: Execution, claim: Claim) -> bool:
    """No statement: most executions have no limits."""
    return bool(definition.limits or execution.limited or claim.queue in get_settings().queue_limits)


def admit(claim: Claim, execution: Execution, definition: WorkflowDefinition[..., Any], given: dict[str, Any]) -> bool:
    """Whether the pass may begin. False: it was put aside until somebody gives it a slot, or until its time.

    given: the decoded arguments. Raises InvalidOptionError if a key function does not take them, LeaseLostError.
    """

    def look() -> list[Wanted]:
        wanted = [*definition.wanted(given["args"], given["kwargs"]), *_of_queue(claim.queue)]
        return _missing(claim, execution, sorted(wanted, key=lambda each: each.order))

    missing = look()
    while missing := [each for each in missing if not _ends_without(claim, execution, each)]:
        if execution.paused_at is not None and _rest(claim, execution):
            return False
        try:
            if not _enter(claim, execution, missing[0]):
                return False
            missing.pop(0)
        except _NewsError:
            _look_again(claim, execution)
            missing = look()  # its queue may be another one
        except _SupersededError:
            transitions.request_cancels([execution.pk], using=claim.using, reason="a newer one has come")
            _look_again(claim, execution)
    return True


def _of_queue(queue: str) -> list[Wanted]:
    limit = get_settings().queue_limits.get(queue)
    return [] if limit is None else [Wanted(Limit(limit), f"{QUEUE_PREFIX}{queue}")]


def _missing(claim: Claim, execution: Execution, wanted: list[Wanted]) -> list[Wanted]:
    """What it needs and has not got. What it has and does not need, by today's code, is given back."""
    if not execution.limited:
        return wanted
    now = claim.now()
    kept = Slot.objects.using(claim.using).filter(execution_id=execution.pk).of_workflow()
    rows = kept.values_list("limit", "limit__name", "limit__key", "granted", "ready_at")
    needed = {(each.name, each.key) for each in wanted}
    has, useless = set(), []
    for limit, name, key, granted, ready_at in rows:
        if (name, key) not in needed:
            useless.append(limit)
        elif granted and (ready_at is None or ready_at <= now):
            has.add((name, key))
    if useless:
        _give_back(claim, useless)
    return [each for each in wanted if (each.name, each.key) not in has]


def _give_back(claim: Claim, limits: list[UUID]) -> None:
    with transaction.atomic(using=claim.using):
        if not claim.timers().update(token=claim.token):
            raise LeaseLostError
        slots.give_back(claim.execution_id, using=claim.using, only=limits)


def _ends_without(claim: Claim, execution: Execution, wanted: Wanted) -> bool:
    if _is_to_be_taken_back(execution, wanted):
        return False
    is_late = execution.deadline_at is not None and execution.deadline_at <= claim.now()
    return is_late or execution.cancel_requested_at is not None


def _is_to_be_taken_back(execution: Execution, wanted: Wanted) -> bool:
    return execution.started_at is not None and isinstance(wanted.rule, Limit) and wanted.rule.is_lent


def _rest(claim: Claim, execution: Execution) -> bool:
    """One that is paused asks for nothing. False: news has come."""
    return persist(claim.using, partial(pausing.rest, claim, execution), written=lambda: None)


def _look_again(claim: Claim, execution: Execution) -> None:
    """``wake_seq`` first: what is read after it can only be newer. The pass goes by what is read here."""
    seen = claim.timers().values_list("wake_seq", "queue").first()
    if seen is None:
        raise LeaseLostError
    claim.wake_seq, claim.queue = seen
    executions = Execution.objects.using(claim.using).filter(pk=execution.pk)
    orders = executions.values_list("cancel_requested_at", "paused_at", "deadline_at").get()
    execution.cancel_requested_at, execution.paused_at, execution.deadline_at = orders


def _enter(claim: Claim, execution: Execution, wanted: Wanted) -> bool:
    """One limit; False: the execution was put aside."""
    limit = slots.key_of(wanted, using=claim.using)
    enter = _reserve if isinstance(wanted.rule, Rate) else _take

    def write() -> tuple[bool, bool]:
        with transaction.atomic(using=claim.using):
            return enter(claim, execution, wanted, limit)

    is_in, has_room = persist(claim.using, write, written=lambda: None)
    execution.limited = True
    if has_room and not is_in:  # others wait as well, and their turn may be before this one's
        slots.fill(limit, using=claim.using)
    return is_in


# -- a limit -------------------------------------------------------------------------------------------


def _take(claim: Claim, execution: Execution, wanted: Wanted, limit: UUID) -> tuple[bool, bool]:
    """Whether it has its slot, and whether there is room."""
    assert isinstance(wanted.rule, Limit)
    use = slots.lock(limit, using=claim.using, capacity=slots.capacity_of(wanted.name) or wanted.rule.capacity)
    if use is None:
        raise _NewsError  # deleted since, for nobody used it
    own = Slot.objects.using(claim.using).filter(limit=limit, execution_id=execution.pk).first()
    if own is not None and own.granted:
        return True, False
    is_in = own is None and use.room > 0 and not use.has_waiting
    if not is_in and wanted.rule.cancel_in_progress:
        _supersede(claim, execution, limit)
    _settle(claim, execution, wanted, until=None, is_in=is_in)
    if own is None:
        Slot.objects.using(claim.using).create(
            limit_id=limit,
            execution_id=execution.pk,
            granted=is_in,
            fair=wanted.fair,
            **({"turn": use.turn} if is_in else slots.place(claim.execution_id, use, wanted.fair, using=claim.using)),
        )
    return is_in, use.room > 0


def _supersede(claim: Claim, execution: Execution, limit: UUID) -> None:
    """The newest is the one that was started last, whichever comes here first; its id says when that was.

    Of one that was continued, the id of the first.
    """
    slots_of_key = Slot.objects.using(claim.using).filter(limit=limit, execution__isnull=False)
    begun = {pk: chain or pk for pk, chain in slots_of_key.values_list("execution_id", "execution__chain")}
    others = begun.keys() - {claim.execution_id}
    if any(begun[other] > (execution.chain or execution.pk) for other in others):
        raise _SupersededError
    transitions.request_cancels(sorted(others), using=claim.using, reason=f"{claim.execution_id} is newer")


# -- a rate --------------------------------------------------------------------------------------------


def _reserve(claim: Claim, execution: Execution, wanted: Wanted, limit: UUID) -> tuple[bool, bool]:
    """Take the next free instant, once; whoever comes again finds it taken.

    Source: the generic cell rate algorithm, ITU-T I.371, with the instant kept instead of the cell dropped.
    """
    assert isinstance(wanted.rule, Rate)
    use = slots.lock(limit, using=claim.using, capacity=wanted.rule.count)
    if use is None:
        raise _NewsError
    reserved = Slot.objects.using(claim.using).filter(limit=limit, execution_id=execution.pk)
    ready_at = reserved.values_list("ready_at", flat=True).first()
    is_new = ready_at is None
    if ready_at is None:
        expected = max(use.next_at or use.now, use.now)
        ready_at = max(use.now, expected - (wanted.rule.burst - 1) * wanted.rule.interval)
        next_at = expected + wanted.rule.interval
        LimitKey.objects.using(claim.using).filter(pk=limit).update(next_at=next_at)
    is_in = ready_at <= use.now
    _settle(claim, execution, wanted, until=ready_at, is_in=is_in)
    if is_new:
        Slot.objects.using(claim.using).create(
            limit_id=limit, execution_id=execution.pk, granted=True, ready_at=ready_at
        )
    return is_in, False


# -- both ----------------------------------------------------------------------------------------------


def _settle(claim: Claim, execution: Execution, wanted: Wanted, *, until: datetime | None, is_in: bool) -> None:
    """Under the fence: go on, or wait without a due time, or until then. The deadline is not waited out.

    One that takes its slot back learns of its deadline when it has it.

    Raises _NewsError if something has come: a cancellation would not be seen by one that waits.
    """
    deadline_at = None if _is_to_be_taken_back(execution, wanted) else execution.deadline_at
    due = [at for at in (until, deadline_at) if at is not None]
    waits: dict[str, Any] = {"token": None, "holder": "", "due_at": min(due, default=None), "held": False}
    changes: dict[str, Any] = {} if is_in else {**waits, "claims": F("claims") - 1, "refused_since": None}
    if not fence(claim, **changes):
        raise _NewsError
    if execution.limited and not is_in:
        slots.pass_up(claim.execution_id, using=claim.using)
    told = "" if is_in else f"a slot of {wanted}" if until is None else f"its time by {wanted}"
    Execution.objects.using(claim.using).filter(pk=execution.pk).update(
        limited=True, waiting_for=told[:255], waiting_until=None if is_in else until
    )
    if until is not None and not is_in:
        seconds = (until - claim.now()).total_seconds()
        if seconds <= dispatch.AHEAD_SECONDS:
            dispatch.drain_after_commit(claim.queue, using=claim.using, delay_seconds=max(seconds, 0.0))
