"""Limits of steps: so many bodies run at one time, of all executions. A body that has no slot makes its execution park.

A slot is taken directly before the body and given back once its outcome is recorded, so no back-off, wait or other step
is spent with it, and who waits for one holds none: nobody can wait for each other. Whoever finds no room is
written down under the limit's lock, in the order of arrival, and given its turn by who gives back (``slots``). That is
news to the execution: a pass that has asked before cannot park beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar
from uuid import UUID

from django.db import transaction

from django_durable.engine import slots
from django_durable.engine.claims import Claim
from django_durable.engine.outcomes import Leave
from django_durable.engine.reconnect import persist
from django_durable.engine.recorder import Call, Recorder
from django_durable.exceptions import LeaseLostError
from django_durable.limits import Limit, Wanted
from django_durable.models import Execution, Slot, Status

T = TypeVar("T")


def take(matcher: Recorder, call: Call, wanted: Wanted) -> bool:
    """Whether the body may run. False: it has its place among those that wait; see ``park``."""
    shared, claim = matcher.shared, matcher.claim
    slot = _written(matcher, partial(_take, claim, call.name, wanted))
    if slot is None:
        shared.full[call.name] = claim.wake_seq
        shared.has_queued = True
        return False
    shared.full.pop(call.name, None)
    shared.slots[call.name] = slot
    return True


def park(matcher: Recorder, call: Call, wanted: Wanted) -> Leave:
    """To be raised: wait for a slot. Nothing of the call is recorded, so it will be made anew."""
    return matcher.park(
        call,
        None,
        status=Status.WAITING,
        until=None,
        waiting_for=f"a slot of {wanted}"[:255],
        wake_seq=matcher.shared.full[call.name],
    )


def give_back(matcher: Recorder, call: Call) -> None:
    """What the body of this call has held, if anything, goes to the next in turn."""
    slot = matcher.shared.slots.pop(call.name, None)
    if slot is not None:
        _written(matcher, partial(_give_back, matcher.claim, slot))


def look_again(matcher: Recorder) -> None:
    """Forget of those that wait who has been given a slot meanwhile; no statement if nobody waits."""
    shared, claim = matcher.shared, matcher.claim
    if shared.full:
        given = Slot.objects.using(claim.using).filter(execution_id=claim.execution_id).to_be_taken()
        with matcher.reading():
            names = list(given.values_list("step", flat=True))
        for name in names:
            shared.full.pop(name, None)


def _written(matcher: Recorder, write: Callable[[], T]) -> T:
    """Both writes may be repeated, and have no user code in them: whatever the database says is not for that."""
    with matcher.reading():
        return matcher.recording(partial(persist, matcher.claim.using, write, written=lambda: None))


def _take(claim: Claim, step: str, wanted: Wanted) -> UUID | None:
    """The slot; None: it waits. Raises LeaseLostError."""
    assert isinstance(wanted.rule, Limit)
    use = None
    while use is None:  # between the two it may be deleted, for nobody used it
        limit = slots.key_of(wanted, using=claim.using)
        with transaction.atomic(using=claim.using):
            use = slots.lock(limit, using=claim.using, capacity=wanted.rule.capacity)
            slot = None if use is None else _own(claim, step, wanted, use)
    if slot is None and use.room > 0:  # others wait as well, and their turn may be before this one's
        slots.fill(limit, using=claim.using)
    return slot


def _own(claim: Claim, step: str, wanted: Wanted, use: slots.Use) -> UUID | None:
    """Under the lock of the limit: take a slot, or up what is the step's own, or a place among those that wait."""
    if not claim.timers().update(token=claim.token):
        raise LeaseLostError
    rows = Slot.objects.using(claim.using)
    of_step = {"limit_id": use.limit, "execution_id": claim.execution_id, "step": step}
    own = rows.filter(**of_step).first()
    if own is None and use.room > 0 and not use.has_waiting:
        return rows.create(**of_step, granted=True, token=claim.token, fair=wanted.fair, turn=use.turn).pk
    if own is None:
        Execution.objects.using(claim.using).filter(pk=claim.execution_id).update(limited=True)
        place = slots.place(claim.execution_id, use, wanted.fair, using=claim.using)
        rows.create(**of_step, granted=False, fair=wanted.fair, **place)
        return None
    if not own.granted:
        return None
    rows.filter(pk=own.pk).update(token=claim.token)  # given to it since, or left by a pass that has died
    return own.pk


def _give_back(claim: Claim, slot: UUID) -> None:
    """Whoever has taken it meanwhile, since the lease was lost, keeps it."""
    held = Slot.objects.using(claim.using).filter(pk=slot, token=claim.token)
    limit = held.values_list("limit", flat=True).first()
    if limit is not None and held.update(execution=None, token=None):
        slots.fill(limit, using=claim.using)
