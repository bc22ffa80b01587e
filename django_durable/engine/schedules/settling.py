"""How the executions of a schedule's ticks stand: which are open, and how those have ended that were not counted yet.

Read and counted when the schedule is next fired, under its lock. An execution that was continued is the same run: its
tick follows it to the last of the chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from django.db.models import Q

from django_durable.models import (
    CLOSED,
    OPEN,
    UNSUCCESSFUL,
    Execution,
    Overlap,
    Schedule,
    ScheduleTick,
    Status,
    TickOutcome,
)

FAILED = UNSUCCESSFUL - {Status.CANCELLED}  # what a person has cancelled says nothing about the next one


@dataclass(slots=True)
class Standing:
    """Of one schedule. running: ticks by open execution. ended: statuses in the order of their ends, by tick.

    moved: executions that ticks are to follow to.
    """

    running: dict[UUID, UUID] = field(default_factory=dict)
    ended: dict[UUID, str | None] = field(default_factory=dict)
    moved: dict[UUID, UUID] = field(default_factory=dict)

    def failures(self, before: int) -> int:
        """In a row, after those that have ended."""
        for status in self.ended.values():
            if status == Status.COMPLETED:
                before = 0
            elif status in FAILED:
                before += 1
        return before


def look(schedules: Sequence[Schedule], *, using: str, reads_all: bool = False) -> dict[UUID, Standing]:
    """One statement, and one for each execution that was continued.

    reads_all: those too that run beside others by the policy of their schedule, since another one is to decide.
    """
    found = {schedule.pk: Standing() for schedule in schedules}
    wanted = Q(execution__isnull=True) | Q(execution__status__in=sorted(CLOSED)) | ~Q(schedule__overlap=Overlap.ALLOW)
    live = ScheduleTick.objects.using(using).started().filter(schedule__in=list(found))
    live = live if reads_all else live.filter(wanted)
    facts = ("pk", "schedule_id", "execution_id", "execution__status")
    for tick, schedule, execution, status in live.order_by("execution__finished_at", "pk").values_list(*facts):
        _place(found[schedule], tick, execution, status, using)
    return found


def _place(standing: Standing, tick: UUID, execution: UUID | None, status: str | None, using: str) -> None:
    if status == Status.CONTINUED and execution is not None:
        execution, status = _last(execution, using)
        if execution is not None:
            standing.moved[tick] = execution
    if execution is None or status in CLOSED:
        standing.ended[tick] = status
    else:
        standing.running[execution] = tick


def _last(continued: UUID, using: str) -> tuple[UUID | None, str | None]:
    executions = Execution.objects.using(using)
    chain = executions.filter(pk=continued).values_list("chain", flat=True).first()
    return executions.last_of(chain).values_list("pk", "status").first() or (None, None)


def reopen(execution_id: UUID, *, using: str) -> None:
    """What was counted as ended is open once more, to the overlap policy too; its next end is counted again.

    Transaction: must be called in that which opens it.
    """
    ticks = ScheduleTick.objects.using(using).filter(execution=execution_id, outcome=TickOutcome.STARTED)
    ticks.update(live=True)


def settle(standings: Iterable[Standing], *, using: str) -> None:
    """Mark as counted what has ended. Last in the transaction: a foreign key locks the execution that it leads to."""
    ticks = ScheduleTick.objects.using(using)
    ended = [tick for standing in standings for tick in standing.ended]
    if ended:
        ticks.filter(pk__in=ended).update(live=None)
        # A retry that was committed before these rows were ours; one that comes now waits for them.
        ticks.filter(pk__in=ended, execution__status__in=sorted(OPEN)).update(live=True)
    for standing in standings:
        for tick, execution in standing.moved.items():
            ticks.filter(pk=tick).update(execution=execution)
