"""Slots of limits: counted, given, given back and handed on.

Whoever counts or gives holds the lock of the limit's ``LimitKey`` row; so those who arrive and those who hand on are
one after the other. Whoever ends holds a ``Timer`` row, and nobody who does may wait for a ``LimitKey`` row: it only
marks its slots as given back, and hands on in a transaction of its own, after that. If it dies between the two, the
mark is there, and the next tick, arrival or end at this limit hands on. Locks: ``LimitKey``, then one ``Timer``, its
``Execution``, then ``Slot``.

The slot of a step carries the token of the lease under which its body runs. One that is given to a step that waits
carries its own id until the pass takes it up: it is news to the execution, so that it cannot park beside it. Whatever
no live lease stands behind has lapsed, and the tick gives it back.

Who waits is admitted by priority, then in turn. A turn is one later than that of the last admitted, or than the last
of the same fair key, whichever is later: so a key with many that wait gets as much as one with few.
Source: P. Goyal, H. Vin, H. Cheng, "Start-time Fair Queueing" (1996).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import transaction
from django.db.models import Count, Exists, F, IntegerField, Max, OuterRef, Q, Subquery, Value
from django.db.models.functions import Coalesce

from django_durable import dispatch
from django_durable.clock import DatabaseNow
from django_durable.conf import get_settings
from django_durable.definitions import registry
from django_durable.exceptions import UnknownWorkflowError
from django_durable.limits import QUEUE_PREFIX, Limit, Wanted
from django_durable.models import Execution, LimitKey, Slot, Timer
from django_durable.models.timer import TimerQuerySet

MOST_MENDED = 100  # limits at one tick


@dataclass(frozen=True, slots=True)
class Use:
    """What a limit's row and slots say under its lock, by the database's clock."""

    limit: UUID
    now: datetime
    room: int
    turn: int
    next_at: datetime | None
    has_waiting: bool


# -- under the lock of a limit -------------------------------------------------------------------------


def key_of(wanted: Wanted, *, using: str) -> UUID:
    """The row of a limit, made when it is first needed. Outside of a transaction of ours: it takes no part in one."""
    rows = LimitKey.objects.using(using)
    found = rows.filter(name=wanted.name, key=wanted.key).values_list("pk", flat=True)
    while (pk := found.first()) is None:  # again if it is deleted at once, for nobody used it yet
        new = LimitKey(name=wanted.name, key=wanted.key, capacity=_declared(wanted))
        rows.bulk_create([new], ignore_conflicts=True)
    return pk


def lock(limit: UUID, *, using: str, capacity: int | None = None) -> Use | None:
    """Lock a limit until the transaction ends and read it; None: it was deleted. First statement of a transaction.

    capacity: what the code says now; None: what it said last.
    """
    rows = LimitKey.objects.using(using).filter(pk=limit)
    if not rows.update(capacity=F("capacity") if capacity is None else capacity):
        return None
    live = Slot.objects.using(using).filter(limit=OuterRef("pk"), execution__isnull=False)
    held = live.held().order_by().values("limit").annotate(held=Count("*")).values("held")
    row = (
        rows.annotate(
            now=DatabaseNow(),
            held=Coalesce(Subquery(held, output_field=IntegerField()), Value(0)),
            has_waiting=Exists(live.waiting()),
        )
        .values_list("now", "capacity", "held", "turn", "next_at", "has_waiting")
        .get()
    )
    now, most, in_use, turn, next_at, has_waiting = row
    return Use(limit, now, most - in_use, turn, next_at, bool(has_waiting))


def place(execution_id: UUID, use: Use, fair: str, *, using: str) -> dict[str, int]:
    """Of one that comes now and has to wait, among those that do."""
    timers = Timer.objects.using(using).filter(pk=execution_id)
    last = Slot.objects.using(using).filter(limit=use.limit, fair=fair).aggregate(last=Max("turn"))["last"]
    return {"priority": timers.values_list("priority", flat=True).get(), "turn": max(use.turn, last or 0) + 1}


# -- giving back and handing on ------------------------------------------------------------------------


def give_back(execution_id: UUID, *, using: str, only: list[UUID] | None = None) -> None:
    """Give back what an execution holds, or waits for, of all limits or of some; then others are admitted.

    Transaction: that of the execution's end, which has its timer locked. Those that wait are served after its commit.
    """
    slots = Slot.objects.using(using).filter(execution_id=execution_id)
    if only is not None:
        slots = slots.filter(limit__in=only)
    slots.filter(ready_at__isnull=False)._raw_delete(using=using)
    limits = list(slots.values_list("limit", flat=True))
    slots.update(execution=None, token=None)
    _hand_on_after_commit(limits, using=using)


def pass_up(execution_id: UUID, *, using: str) -> None:
    """What its steps were given, and do not take up now, goes to others. Under the lock of its timer."""
    slots = Slot.objects.using(using)
    given = dict(slots.filter(execution_id=execution_id).to_be_taken().values_list("pk", "limit"))
    if given:  # by their ids: by condition, MySQL and MariaDB would lock more
        slots.filter(pk__in=given).update(execution=None, token=None)
        _hand_on_after_commit(given.values(), using=using)


def _hand_on_after_commit(limits: Collection[UUID], *, using: str) -> None:
    def hand_on() -> None:
        for limit in limits:
            fill(limit, using=using)

    if limits:
        transaction.on_commit(hand_on, using=using, robust=True)


def lend(execution: Execution, *, using: str) -> None:
    """Give back what an execution keeps only while a worker goes on with it. Under the lock of its timer."""
    try:
        definition = registry.find(execution.workflow, execution.version)
    except UnknownWorkflowError:  # not here; a worker that has the code will
        return
    lent = [rule.stored_name(definition.name) for rule in definition.limits if isinstance(rule, Limit) and rule.is_lent]
    if lent:
        own = Slot.objects.using(using).filter(execution_id=execution.pk).of_workflow()
        # Their ids first: by condition, MySQL and MariaDB would lock the limits, against the order of locks.
        give_back(
            execution.pk, using=using, only=list(own.filter(limit__name__in=lent).values_list("limit", flat=True))
        )


def take_over(old: UUID, new: UUID, *, using: str) -> None:
    """What was continued hands its own slots to its successor, not those of its steps. Under the lock of its timer."""
    Slot.objects.using(using).filter(execution_id=old).of_workflow().update(execution=new)
    give_back(old, using=using)


def fill(limit: UUID, *, using: str) -> int:
    """Admit as many as there is room for; how many. Each in a transaction of its own, so that it locks one timer."""
    admitted = 0
    capacity = capacity_in_code(limit, using=using)
    while (more := _admit_next(limit, capacity, using=using)) is not None:
        admitted += more
    return admitted


def _admit_next(limit: UUID, capacity: int | None, *, using: str) -> int | None:
    """How many were admitted, 0 or 1; None: there is nobody, or no room."""
    # Read before the room is: what is given back between the two would be forgotten, and its room not be seen.
    marks = list(Slot.objects.using(using).filter(limit=limit).given_back().values_list("pk", flat=True))
    with transaction.atomic(using=using):
        use = lock(limit, using=using, capacity=capacity)
        if use is None:
            return None
        live = Slot.objects.using(using).filter(limit=limit, execution__isnull=False)
        first = live.waiting().next_first().first() if use.room > 0 else None
        admitted = None if first is None else _admit(first, use, using=using)
        if marks and admitted != 0:
            # One mark for each that is admitted: if this process dies then, the others are still to be handed on. By
            # their ids: by condition, MySQL and MariaDB would wait for rows that others are giving back.
            Slot.objects.using(using).filter(pk__in=marks[:admitted])._raw_delete(using=using)
        return admitted


def _admit(slot: Slot, use: Use, *, using: str) -> int:
    assert slot.execution_id is not None
    timers = Timer.objects.using(using).filter(pk=slot.execution_id)
    ours = Slot.objects.using(using).filter(pk=slot.pk)
    # One that has a worker looks under this lock; but its pass has looked before if a step of it waits.
    told = TimerQuerySet.news() if slot.step else {"due_at": TimerQuerySet.due_with_news()}
    if not timers.update(**told):
        ours._raw_delete(using=using)  # it has ended in this moment
        return 0
    Execution.objects.using(using).filter(pk=slot.execution_id).update(waiting_for="")
    given = ours.filter(execution_id=slot.execution_id).update(granted=True, token=slot.pk if slot.step else None)
    LimitKey.objects.using(using).filter(pk=use.limit).update(turn=max(use.turn, slot.turn))
    dispatch.wake(slot.execution_id, queue=timers.values_list("queue", flat=True).get(), using=using)
    return given


def mend(*, using: str) -> int:
    """Hand on what those have left who died before they could give it back, or hand it on; how many. Bounded."""
    slots = Slot.objects.using(using)
    for limit, slot in list(slots.lapsed().values_list("limit", "pk")[:MOST_MENDED]):
        _take_back(limit, slot, using=using)
    given_back = slots.given_back().order_by().values_list("limit", flat=True)
    return sum(fill(limit, using=using) for limit in list(given_back.distinct()[:MOST_MENDED]))


def _take_back(limit: UUID, slot: UUID, *, using: str) -> None:
    """Mark one that has lapsed as given back. Under the lock: under it a pass takes up what is left of an earlier one.

    One in a transaction: whoever ends an execution marks all of its slots, in no fixed order.
    """
    with transaction.atomic(using=using):
        lapsed = Slot.objects.using(using).filter(pk=slot)
        if lock(limit, using=using) is not None and lapsed.lapsed().exists():
            lapsed.update(execution=None, token=None)


def any_limit(*, using: str) -> bool:
    """Whether there is anything to prune. One statement."""
    first = LimitKey.objects.using(using).order_by("pk").values_list("pk")[:1]  # in order: by the index, one entry
    return bool(list(first))


def prune(*, using: str, most: int = MOST_MENDED) -> int:
    """Delete limits that nobody uses, for keys come and go; how many. For the retention."""
    slots = Slot.objects.using(using).filter(limit=OuterRef("pk"))
    idle = Q(next_at__isnull=True) | Q(next_at__lte=DatabaseNow())
    unused = LimitKey.objects.using(using).filter(idle, ~Exists(slots)).values_list("pk", flat=True)
    return sum(_forget_unused(limit, using=using) for limit in list(unused[:most]))


def _forget_unused(limit: UUID, *, using: str) -> int:
    """Under its lock: who comes at this moment finds it gone, and makes it anew."""
    with transaction.atomic(using=using):
        use = lock(limit, using=using)
        if use is None or Slot.objects.using(using).filter(limit=limit).exists():
            return 0
        return LimitKey.objects.using(using).filter(pk=limit)._raw_delete(using=using)


# -- what the code says --------------------------------------------------------------------------------


def capacity_in_code(limit: UUID, *, using: str) -> int | None:
    """How many a limit may have at once; None: this process does not know it, and goes by what another has said."""
    name = LimitKey.objects.using(using).filter(pk=limit).values_list("name", flat=True).first()
    return None if name is None else capacity_of(name)


def capacity_of(name: str) -> int | None:
    """The least that the newest versions say which declare a limit of this stored name."""
    if name.startswith(QUEUE_PREFIX):
        return get_settings().queue_limits.get(name.removeprefix(QUEUE_PREFIX))
    newest = (each for each in registry if registry.find(each.name) is each)
    declared = [
        rule.capacity
        for definition in newest
        for rule in definition.limits
        if isinstance(rule, Limit) and rule.stored_name(definition.name) == name
    ]
    return min(declared, default=None)


def _declared(wanted: Wanted) -> int:
    return wanted.rule.capacity if isinstance(wanted.rule, Limit) else wanted.rule.count
