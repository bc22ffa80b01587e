"""What people do to a schedule beside changing it: pause it, let it go on, have it start something out of turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, takewhile

from django.db import models, transaction

from django_durable.definitions import registry
from django_durable.engine.schedules import planning, settling, times, writing
from django_durable.engine.schedules.editing import Edit, Where, editing, locked, note_passed, tell
from django_durable.engine.schedules.planning import Plan
from django_durable.engine.schedules.times import INSTANT
from django_durable.engine.schedules.upcoming import next_after, nominal_times, why_excluded
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Schedule, ScheduleStatus, ScheduleTick, TickKind, TickOutcome

SOMEBODY = "somebody"  # blank is the engine
MOST_BACKFILLED = 1000  # in one transaction


def pause(where: Where, *, using: str, actor: str, reason: str) -> Schedule:
    """Raises ScheduleNotFoundError, ScheduleConflict."""
    with editing(where, "schedule_paused", using=using, actor=actor, reason=reason) as edit:
        row = edit.row
        if row.status != ScheduleStatus.ACTIVE:
            raise edit.refused(f"is {row.status}; pause takes an active one")
        row.status = ScheduleStatus.PAUSED
        row.paused_at, row.paused_by, row.paused_reason = edit.now, actor or SOMEBODY, reason
        row.due_at = None
    return row


def resume(where: Where, *, catch_up: bool, using: str, actor: str, reason: str) -> Schedule:
    """Raises ScheduleNotFoundError, ScheduleConflict."""
    with editing(where, "schedule_resumed", using=using, actor=actor, reason=reason) as edit:
        row = edit.row
        if row.status != ScheduleStatus.PAUSED or row.paused_at is None:
            raise edit.refused(f"is {row.status}; resume takes a paused one")
        if not catch_up:
            since = row.paused_at.isoformat(timespec="seconds")
            edit.told["skipped"] = note_passed(edit, TickOutcome.SKIPPED, f"paused since {since}")
        row.status, row.failures = ScheduleStatus.ACTIVE, 0
        row.paused_at, row.paused_by, row.paused_reason = None, "", ""
        edit.move(row.next_at or next_after(row, edit.now))
    return row


# -- starts --------------------------------------------------------------------------------------------


def trigger(where: Where, *, overlap: str | None, using: str, actor: str, reason: str) -> ScheduleTick:
    """The tick; its outcome says whether it was started. Raises ScheduleNotFoundError, UnknownWorkflowError."""
    with transaction.atomic(using=using):
        edit = locked(where, using=using)
        registry.find(edit.row.workflow)
        at = _free(edit)
        (tick,) = _start(edit, [at], TickKind.TRIGGERED, overlap)
        told = {"nominal_at": at, "outcome": str(tick.outcome), "execution": tick.execution_id}
        tell("schedule_triggered", edit.row.name, before={}, after=told, using=using, actor=actor, reason=reason)
    return tick


def _free(edit: Edit) -> datetime:
    """Now, or as little later as no tick is, nor will be."""
    at, cadence = edit.now, times.cadence_of(edit.row.cadence)
    ticks = ScheduleTick.objects.using(edit.using).filter(schedule=edit.row)
    while cadence.after(at - INSTANT) == at or ticks.filter(nominal_at=at).exists():
        at += INSTANT
    return at


@dataclass(frozen=True, slots=True)
class Backfilled:
    """ticks: those that were made; their outcome says what became of each. refused: why there is none, by time."""

    ticks: tuple[ScheduleTick, ...]
    refused: dict[datetime, str] = field(default_factory=dict)

    def count(self, outcome: str) -> int:
        return sum(tick.outcome == outcome for tick in self.ticks)


def backfill(
    where: Where, start: datetime, end: datetime, *, overlap: str, using: str, actor: str, reason: str
) -> Backfilled:
    """Raises ScheduleNotFoundError, UnknownWorkflowError, InvalidOptionError."""
    with transaction.atomic(using=using):
        edit = locked(where, using=using)
        registry.find(edit.row.workflow)
        nominals = _nominals(edit, start, end)
        refused = _refused(edit, nominals)
        wanted = [at for at in nominals if at not in refused]
        _make_room(edit, nominals, set(wanted))
        done = Backfilled(tuple(_start(edit, wanted, TickKind.BACKFILLED, overlap)), refused)
        counts = {str(outcome): done.count(outcome) for outcome in TickOutcome if done.count(outcome)}
        told = {"start": start, "end": end, "overlap": overlap, **counts, "refused": len(refused)}
        tell("schedule_backfilled", edit.row.name, before={}, after=told, using=using, actor=actor, reason=reason)
    return done


def _nominals(edit: Edit, start: datetime, end: datetime) -> list[datetime]:
    if not start <= end <= edit.now:
        raise InvalidOptionError("backfill_schedule(start, end): give a time that has passed, its start first.")
    found = takewhile(lambda at: at <= end, nominal_times(edit.row, times.first(edit.row, start)))
    nominals = list(islice(found, MOST_BACKFILLED + 1))
    if len(nominals) > MOST_BACKFILLED:
        raise InvalidOptionError(
            f"There are more than {MOST_BACKFILLED} ticks up to {end.isoformat()}; give an end of "
            f"{nominals[-2].isoformat()} at the latest, and go on from there."
        )
    return nominals


def _refused(edit: Edit, nominals: Sequence[datetime]) -> dict[datetime, str]:
    """Why there is to be no start, by time."""
    row, refused = edit.row, {}
    done = _between(edit, nominals).filter(outcome__in=[TickOutcome.STARTED, TickOutcome.BUFFERED])
    for tick in done.exclude(kind=TickKind.TRIGGERED):  # these have times of their own
        refused[tick.nominal_at] = f"it is {tick.outcome} already"
    for at in nominals:
        why = why_excluded(row, at)
        if row.next_at is not None and at >= row.next_at:
            why = "its own turn is still to come"
        if why is not None:
            refused[at] = why
    return refused


def _make_room(edit: Edit, nominals: Sequence[datetime], wanted: set[datetime]) -> None:
    """A time has one row: what was recorded of those that are started now goes.

    Of a row for many, which stands at the first of them, what is started now is taken from its front.
    """
    ticks = ScheduleTick.objects.using(edit.using).filter(schedule=edit.row)
    for tick in _between(edit, nominals).filter(nominal_at__in=wanted):
        with_rows = ticks.filter(nominal_at__range=(tick.nominal_at, tick.until_at or tick.nominal_at))
        own = set(with_rows.values_list("nominal_at", flat=True))
        covered = takewhile(wanted.__contains__, (at for at in nominals if at >= tick.nominal_at))
        taken = [at for at in covered if at <= (tick.until_at or tick.nominal_at)]
        rest, left = times.following(edit.row, taken[-1]), tick.count - len(taken)
        while left and rest is not None and rest in own:  # backfilled before, out of the middle
            rest, left = times.following(edit.row, rest), left - 1
        if rest is None or left < 1:
            tick.delete(using=edit.using)
            continue
        tick.nominal_at, tick.count, tick.until_at = rest, left, tick.until_at if left > 1 else None
        tick.save(using=edit.using, update_fields=["nominal_at", "count", "until_at"])


def _between(edit: Edit, nominals: Sequence[datetime]) -> models.QuerySet[ScheduleTick]:
    found = ScheduleTick.objects.using(edit.using).filter(schedule=edit.row)
    return found.filter(nominal_at__range=(nominals[0], nominals[-1])) if nominals else found.none()


def _start(edit: Edit, nominals: Sequence[datetime], kind: TickKind, overlap: str | None) -> list[ScheduleTick]:
    """Have the overlap policy decide on each, as the poller does, and write what comes of it."""
    row, policy = edit.row, edit.row.overlap
    row.overlap = overlap or policy
    standing = settling.look([row], using=edit.using, reads_all=True)[row.pk]
    row.failures = standing.failures(row.failures)
    plan = Plan(row, standing, edit.now, row.version, known=())
    for at in nominals:
        planning.overlap(plan, at, is_last=at == nominals[-1])
        plan.ticks[-1].kind = kind
    writing.write([plan], using=edit.using)
    row.overlap = policy
    return plan.ticks
