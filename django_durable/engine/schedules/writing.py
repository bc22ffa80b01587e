"""Writing plans: the ticks, the executions that they start and the schedules, in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from uuid import UUID

from django.db import Error, transaction
from django.db.models import F

from django_durable.engine import batches, chains, forcing, statements, transitions
from django_durable.engine.audit import audit
from django_durable.engine.batches import StartOutcome
from django_durable.engine.schedules import planning, settling
from django_durable.engine.schedules.planning import Plan, Start
from django_durable.exceptions import ExecutionClosedError, ExecutionNotFoundError
from django_durable.models import AuditKind, Overlap, Schedule, ScheduleStatus, ScheduleTick, TickOutcome

logger = logging.getLogger("django_durable.worker")

MOVING = (
    "status",
    "paused_reason",
    "paused_by",
    "paused_at",
    "runs",
    "failures",
    "buffered",
    "next_at",
    "due_at",
    "last_at",
    "refused_since",
)


class MovedError(Exception):
    """The schedule is no longer as it was read: somebody has changed it, and everything is to be read again."""


class AloneError(Exception):
    """What is wrong with one schedule is not to be the others' fault: each is to have a transaction of its own."""


def write(plans: Sequence[Plan], *, using: str) -> None:
    """Raises MovedError; AloneError for several of which one cannot be written.

    Transaction: must be called inside of one, that has the schedules locked.
    """
    for plan in plans:
        if plan.stops:
            _stop(plan, using)
        if plan.replaces:
            _replace(plan, using)
    _start([(plan, start) for plan in plans for start in plan.starts], using, is_alone=len(plans) == 1)
    ticks = ScheduleTick.objects.using(using)
    for tick in (tick for plan in plans for tick in plan.released):
        tick.save(using=using, update_fields=["outcome", "reason", "live", "execution"])
    new = [tick for plan in plans for tick in plan.ticks if not _is_added_to_last(plan, tick, using)]
    ticks.bulk_create(new)
    _store(plans, using)
    for plan in plans:
        if plan.gives_up:
            _tell_pause(plan.schedule, using)
    settling.settle([plan.standing for plan in plans], using=using)


def _start(wanted: Sequence[tuple[Plan, Start]], using: str, *, is_alone: bool) -> None:
    if not wanted:
        return
    try:
        outcomes = batches.start_many([start.prepared for _, start in wanted], skip_errors=True, using=using)
    except Error:
        raise
    except Exception as error:  # the project's own code is asked for the keys of limits
        if not is_alone:
            raise AloneError from error
        outcomes = [StartOutcome(error=error)] * len(wanted)
    for (plan, start), outcome in zip(wanted, outcomes, strict=True):
        if outcome.is_new:
            start.tick.execution = outcome.execution
        elif outcome.execution is not None:
            plan.fail(start.tick, f"its key is taken by execution {outcome.execution.pk}")
        else:
            assert outcome.error is not None
            plan.fail(start.tick, outcome.error)


def _is_added_to_last(plan: Plan, tick: ScheduleTick, using: str) -> bool:
    """Whether a row for many continues the one that was written before it, which then stands for these too."""
    if tick.count == 1:
        return False
    before = ScheduleTick.objects.using(using).filter(schedule=plan.schedule, nominal_at__lt=tick.nominal_at)
    last = before.order_by("-nominal_at").first()
    if last is None or last.count == 1 or last.outcome != TickOutcome.MISSED:
        return False
    return bool(before.filter(pk=last.pk).update(count=F("count") + tick.count, until_at=tick.until_at))


def _store(plans: Sequence[Plan], using: str) -> None:
    for plan in plans:
        if plan.is_used_up and plan.schedule.status == ScheduleStatus.ACTIVE:
            planning.end(plan.schedule)
    rows = [([getattr(plan.schedule, name) for name in MOVING], plan.schedule.pk, plan.version) for plan in plans]
    if statements.move_schedules(using, MOVING, rows) != len(rows):
        raise MovedError


def _tell_pause(schedule: Schedule, using: str) -> None:
    """In the audit trail, and in the log once it is so."""
    before = {"schedule": schedule.name, "status": str(ScheduleStatus.ACTIVE)}
    after = {"schedule": schedule.name, "status": str(schedule.status), "paused_at": schedule.paused_at}
    kind, reason = AuditKind.SCHEDULE_FAILED, schedule.paused_reason
    audit(using, None, kind=kind, reason=reason, before=before, after=after)
    told = partial(logger.warning, "Schedule %s is paused: %s.", schedule.name, reason)
    transaction.on_commit(told, using=using)


# -- those that are in the way -------------------------------------------------------------------------


def _stop(plan: Plan, using: str) -> None:
    reason = f"the next tick of schedule {plan.schedule.name} has come"
    ends = plan.schedule.overlap == Overlap.TERMINATE_OTHER
    for execution, tick in sorted(plan.standing.running.items()):
        with suppress(ExecutionClosedError, ExecutionNotFoundError):  # it has ended in this moment
            _end(execution, reason, using) if ends else _cancel(execution, reason, using)
        if ends:
            plan.standing.ended[tick] = None  # not counted: it is no failure of its own
    if ends:
        plan.standing.running.clear()


def _end(execution: UUID, reason: str, using: str) -> None:
    forcing.terminate(execution, using=using, actor="", reason=reason)


def _cancel(execution: UUID, reason: str, using: str) -> None:
    order = partial(transitions.request_cancel, using=using, actor="", reason=reason)
    chains.follow(order, execution)


def _replace(plan: Plan, using: str) -> None:
    waiting = ScheduleTick.objects.using(using).buffered().filter(schedule=plan.schedule)
    waiting.order_by().update(outcome=TickOutcome.SKIPPED, live=None, reason="a later tick took its place")
