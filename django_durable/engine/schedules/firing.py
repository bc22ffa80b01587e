"""Firing what is due: in batches, each one transaction under the locks of its schedules.

A tick, the execution that it starts and the schedule's next time are written together or not at all. The next time
follows from the last one, so late pollers lose none; the rows are locked and passed over by others, so several double
none. What is due, and how late it is, the database's clock says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import Error, InterfaceError, OperationalError, connections, transaction
from django.db.models import Exists, F, OuterRef

from django_durable import clock
from django_durable.clock import DatabaseNow
from django_durable.engine import statements
from django_durable.engine.schedules import planning, settling, writing
from django_durable.engine.schedules.planning import MOST_FIRED, Plan
from django_durable.engine.schedules.settling import Standing
from django_durable.engine.schedules.writing import AloneError, MovedError
from django_durable.models import OPEN, Schedule, ScheduleStatus, ScheduleTick

logger = logging.getLogger("django_durable.worker")

BATCH = 100
LONGEST_SECONDS = 1.5  # of a tick; what is left then is the next tick's
PUT_OFF_SECONDS = 60.0  # of one that cannot be fired at all
BUSY_SECONDS = 5.0  # of one that met a lock for too long; within the minute in which it is on time

_have_fired: set[str] = set()  # aliases; whoever makes ticks deletes old ones

Find = Callable[[], Any]  # the schedules to be fired, anew


def has_fired(using: str) -> bool:
    """Whether this process has ever made a tick there."""
    return using in _have_fired


def has_work(*, using: str) -> bool:
    """One statement."""
    return bool(statements.any_due(using, [], also={"/schedules": statements.any_schedule(using)}))


def fire_due(*, using: str) -> int:
    """Fire what is due, and start what waits for an end that has come; how many schedules.

    Bounded by time: call it again. Transactions: its own, one for each batch.
    """
    ends_at = clock.process_seconds() + LONGEST_SECONDS
    # Those whose workflow is not known here stay releasable: only a full batch is followed by another.
    fired = _fire_all(lambda: _releasable(using), ends_at, using, least=BATCH)
    fired += _fire_all(lambda: Schedule.objects.using(using).due().order_by("due_at"), ends_at, using)
    if fired:
        _have_fired.add(using)
    return fired


def _releasable(using: str) -> Any:
    running = ScheduleTick.objects.started().filter(schedule=OuterRef("pk"), execution__status__in=sorted(OPEN))
    found = Schedule.objects.using(using).buffering().filter(~Exists(running))
    # By their ids: a locking read may lock what it reads in a subquery.
    return Schedule.objects.using(using).filter(pk__in=list(found.values_list("pk", flat=True)[:BATCH]))


def _fire_all(find: Find, ends_at: float, using: str, *, least: int = 1) -> int:
    """Batch after batch, until one is smaller than ``least`` or time is up."""
    fired = 0
    while True:
        more = _fire_batch(find, using)
        fired += more
        if more < least or clock.process_seconds() >= ends_at:
            return fired


def _fire_batch(find: Find, using: str) -> int:
    """How many schedules were fired, together if that goes, else each by itself."""
    ids: list[UUID] = []
    try:
        with transaction.atomic(using=using):
            schedules = _lock(find(), using)
            ids = [schedule.pk for schedule in schedules]
            planned = [_planned(schedule, standing, using) for schedule, standing in _look(schedules, using)]
            plans = [plan for plan in planned if plan is not None]
            together = [plan for plan in plans if not plan.stops]  # these lock rows of others, so each by itself
            if together:
                writing.write(together, using=using)
        alone = [plan.schedule.pk for plan in plans if plan.stops]
    except (AloneError, MovedError, Error) as error:
        if not ids or isinstance(error, OperationalError | InterfaceError):
            raise
        alone = ids
    for pk in alone:
        _fire_alone(pk, using)
    return len(ids)


def _fire_alone(pk: UUID, using: str) -> None:
    try:
        with transaction.atomic(using=using):
            for schedule, standing in _look(_lock(Schedule.objects.using(using).filter(pk=pk), using), using):
                plan = _planned(schedule, standing, using, known=_known(schedule, using))
                if plan is not None:
                    writing.write([plan], using=using)
    except MovedError:  # it was edited at this moment: the next tick finds it as it is then
        pass
    except (OperationalError, InterfaceError):
        if not connections[using].is_usable():
            raise
        logger.warning("Schedule %s met a lock for too long; it is tried again soon.", pk, exc_info=True)
        _put_off(pk, using, seconds=BUSY_SECONDS)
    except Error:
        logger.exception("Schedule %s cannot be fired; it is tried again in a minute.", pk)
        _put_off(pk, using)


def _waiting(schedule: Schedule, using: str) -> list[ScheduleTick]:
    return list(ScheduleTick.objects.using(using).buffered().filter(schedule=schedule)[:MOST_FIRED])


def _put_off(pk: UUID, using: str, *, seconds: float = PUT_OFF_SECONDS) -> None:
    later = DatabaseNow() + timedelta(seconds=seconds)
    Schedule.objects.using(using).filter(pk=pk).due().update(due_at=later, version=F("version") + 1)


def _known(schedule: Schedule, using: str) -> set[datetime]:
    """Times to come that have a tick already, by whatever accident: they are passed over, not tried for ever."""
    if schedule.next_at is None:
        return set()
    ticks = ScheduleTick.objects.using(using).filter(schedule=schedule, nominal_at__gte=schedule.next_at)
    return set(ticks.values_list("nominal_at", flat=True))


def _lock(found: Any, using: str) -> list[Schedule]:
    """The rows, locked until the transaction ends; without those that another poller has, where the database can."""
    told = found.annotate(database_now=DatabaseNow())
    if connections[using].features.has_select_for_update_skip_locked:
        return list(told.select_for_update(skip_locked=True)[:BATCH])
    ids = list(found.values_list("pk", flat=True)[:BATCH])
    Schedule.objects.using(using).filter(pk__in=ids).update(version=F("version"))
    return list(told.filter(pk__in=ids))


def _look(schedules: Sequence[Schedule], using: str) -> list[tuple[Schedule, Standing]]:
    standings = settling.look(schedules, using=using) if schedules else {}
    return [(schedule, standings[schedule.pk]) for schedule in schedules]


def _planned(
    schedule: Schedule, standing: Standing, using: str, known: Collection[datetime] = frozenset()
) -> Plan | None:
    if schedule.status == ScheduleStatus.PAUSED:  # since it was looked for: it was not locked then
        return None
    now: datetime = vars(schedule)["database_now"]
    waiting = _waiting(schedule, using) if schedule.buffered else []
    try:
        return planning.make(schedule, standing, now, waiting=waiting, known=known)
    except Exception:  # such as a cadence that this release cannot read
        logger.exception("Schedule %s cannot be planned; it is tried again in a minute.", schedule.name)
        _put_off(schedule.pk, using)
        return None
