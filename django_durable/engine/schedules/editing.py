"""Edits of schedules by code and by people: each is one transaction, with its audit entry.

An edit locks the row of the schedule by counting its ``version``, as the poller locks it for all that it does; so a
tick is fired before the edit, or after it and by what the edit has made of the schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice, takewhile
from typing import Any, Literal
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import F

from django_durable.clock import DatabaseNow
from django_durable.engine import payloads
from django_durable.engine.audit import audit
from django_durable.engine.batches import database_now
from django_durable.engine.schedules import planning, settling, times, writing
from django_durable.engine.schedules.rows import differences
from django_durable.engine.schedules.upcoming import is_used_up, next_after, nominal_times
from django_durable.exceptions import ScheduleConflict, ScheduleNotFoundError
from django_durable.models import Schedule, ScheduleStatus, ScheduleTick, TickOutcome
from django_durable.models.schedule import ScheduleQuerySet

Where = UUID | str  # its id, or the name that code gave it
Columns = dict[str, Any]

OPTIONS = {  # the option that says a column, where the two are called differently
    "input": "args",
    "cadence": "cadence",
    "cadence_hash": "cadence",
    "timezone": "cadence",
    "catch_up_seconds": "catch_up_window",
    "jitter_seconds": "jitter",
}
_MOVES = frozenset({"cadence_hash", "starts_at", "ends_at", "max_runs"})  # what the next time depends on
MOST_COUNTED = 20_000  # times that have passed, of one schedule
_HIDDEN = frozenset({"input", "cadence_hash"})  # payloads are nowhere but in their rows


@dataclass(frozen=True, slots=True)
class Ensured:
    """What a call has made of a schedule. changed: the options that are not as they were."""

    schedule: Schedule
    outcome: Literal["created", "updated", "unchanged"]
    changed: tuple[str, ...] = ()


# -- the frame of all edits ----------------------------------------------------------------------------


@dataclass(slots=True)
class Edit:
    """A schedule under its lock. now: the database's. told: what the audit entry says beside columns that changed."""

    row: Schedule
    now: datetime
    using: str
    told: dict[str, Any] = field(default_factory=dict)

    def move(self, nominal_at: datetime | None) -> None:
        """Make this its next tick; None ends it, unless it is paused."""
        row = self.row
        row.next_at = nominal_at
        if row.status != ScheduleStatus.PAUSED:
            row.status = ScheduleStatus.ENDED if nominal_at is None else ScheduleStatus.ACTIVE
        is_active = row.status == ScheduleStatus.ACTIVE and nominal_at is not None
        row.due_at = times.due_at(row, nominal_at) if is_active and nominal_at else None

    def refused(self, why: str) -> ScheduleConflict:
        return ScheduleConflict(f"Schedule {self.row.name!r} {why}. Nothing was changed.")


@contextmanager
def editing(where: Where, kind: str, *, using: str, actor: str, reason: str) -> Iterator[Edit]:
    """Lock a schedule, let the caller change its row, and write down what was changed; nothing if nothing was.

    Raises ScheduleNotFoundError. Transaction: joins the caller's, or is its own.
    """
    with transaction.atomic(using=using):
        edit = locked(where, using=using)
        before = _held(edit.row)
        yield edit
        after = _held(edit.row)
        changed = [column for column in after if before[column] != after[column]]
        if changed:
            edit.row.updated_at = edit.now
            edit.row.save(using=using, update_fields=[*changed, "updated_at"])
        if changed or edit.told:
            was, became = shown(before, changed), {**shown(after, changed), **edit.told}
            tell(kind, edit.row.name, before=was, after=became, using=using, actor=actor, reason=reason)


def locked(where: Where, *, using: str) -> Edit:
    """Raises ScheduleNotFoundError. Transaction: must be called inside one."""
    rows = only(where, using)
    if not rows.update(version=F("version") + 1):
        raise ScheduleNotFoundError(where)
    row = rows.annotate(database_now=DatabaseNow()).get()
    return Edit(row, vars(row)["database_now"], using)


def only(where: Where, using: str) -> ScheduleQuerySet:
    rows = ScheduleQuerySet(Schedule, using=using)
    return rows.filter(pk=where) if isinstance(where, UUID) else rows.filter(name=where)


def found(where: Where, *, using: str) -> Schedule:
    """Raises ScheduleNotFoundError."""
    row = only(where, using).first()
    if row is None:
        raise ScheduleNotFoundError(where)
    return row


def _held(row: Schedule) -> Columns:
    return {column.attname: getattr(row, column.attname) for column in Schedule._meta.concrete_fields}


def shown(columns: Columns, which: Iterable[str]) -> Columns:
    """For the audit trail."""
    return {name: "not shown" if name in _HIDDEN else columns[name] for name in which if name != "cadence_hash"}


def tell(kind: str, name: str, *, before: Columns, after: Columns, using: str, actor: str, reason: str) -> None:
    about = {"schedule": name}
    audit(using, None, kind=kind, actor=actor, reason=reason, before={**about, **before}, after={**about, **after})


# -- made, changed and removed -------------------------------------------------------------------------


def ensure(name: str, columns: Columns, *, using: str, actor: str = "", reason: str = "") -> Ensured:
    """Have the schedule of that name be as the columns say; nothing is written if it is.

    A pause stays, and so does the next time unless what it depends on has changed. Of several that make it at once one
    does, and the others find it. Raises ScheduleConflict for one that is declared, unless by its declaration.
    """
    while True:
        row = only(name, using).first()
        if row is None:
            made = _insert(name, columns, using=using, actor=actor, reason=reason)
            if made is not None:
                return Ensured(made, "created")
            continue
        if row.is_declared and not columns["is_declared"]:
            raise ScheduleConflict(
                f"Schedule {name!r} is declared by workflow {row.workflow!r}: change it there. Nothing was changed."
            )
        if not differences(row, columns):
            return Ensured(row, "unchanged")
        try:
            return update(name, lambda row: columns, using=using, actor=actor, reason=reason)
        except ScheduleNotFoundError:  # somebody has just removed it
            continue


def _insert(name: str, columns: Columns, *, using: str, actor: str, reason: str) -> Schedule | None:
    """None: somebody else was first."""
    row = Schedule(name=name, **{**columns, "input": payloads.seal(columns["input"])})
    row.created_at = row.updated_at = now = database_now(using)
    Edit(row, now, using).move(next_after(row, now))
    try:
        with transaction.atomic(using=using):
            row.save(using=using, force_insert=True)
            tell(
                "schedule_added",
                name,
                before={},
                after=shown(columns, columns),
                using=using,
                actor=actor,
                reason=reason,
            )
    except IntegrityError:
        if only(name, using).exists():
            return None
        raise
    return row


def update(
    where: Where,
    columns_for: Callable[[Schedule], Columns],
    *,
    accepts: bool = False,
    using: str,
    actor: str,
    reason: str,
) -> Ensured:
    """Change a schedule. columns_for: what it is to hold, made of what it holds under the lock.

    accepts: see ``differences``. What another cadence would pass over is fired first.
    Raises ScheduleNotFoundError, and what ``columns_for`` does.
    """
    changed: set[str] = set()
    with transaction.atomic(using=using):
        edit = locked(where, using=using)
        if "cadence_hash" in differences(edit.row, columns_for(edit.row), accepts=accepts):
            _fire_first(edit)
        with editing(where, "schedule_updated", using=using, actor=actor, reason=reason) as edit:
            differ = differences(edit.row, columns_for(edit.row), accepts=accepts)
            wanted = {column: value for column, (_, value) in differ.items()}
            changed.update(OPTIONS.get(column, column) for column in wanted)
            _apply(edit, wanted)
    return Ensured(edit.row, "updated" if changed else "unchanged", tuple(sorted(changed)))


def _apply(edit: Edit, wanted: Columns) -> None:
    row = edit.row
    if "input" in wanted:
        wanted["input"] = payloads.seal(wanted["input"])
    if "cadence_hash" in wanted:
        note_passed(edit, TickOutcome.MISSED, "the cadence was changed")
    for column, value in wanted.items():
        setattr(row, column, value)
    if wanted:
        edit.move(_next_at(edit) if _MOVES & wanted.keys() else row.next_at)


def _next_at(edit: Edit) -> datetime | None:
    """What is due and not yet fired stays, as long as the schedule still has that time."""
    row = edit.row
    at = row.next_at
    if at is not None and at <= edit.now and not is_used_up(row) and at == times.first(row, at):
        return at
    return next_after(row, edit.now)


def _fire_first(edit: Edit) -> None:
    """The tick whose time has come, as the poller would in this moment."""
    row = edit.row
    if row.due_at is None or row.due_at > edit.now:
        return
    standing = settling.look([row], using=edit.using)[row.pk]
    writing.write([planning.make(row, standing, edit.now)], using=edit.using)


def note_passed(edit: Edit, outcome: TickOutcome, reason: str) -> int:
    """Have the times that have passed, and were not fired, be one row of ticks; how many."""
    row = edit.row
    if row.next_at is None or row.next_at > edit.now:
        return 0
    passed = takewhile(lambda at: at <= edit.now, nominal_times(row, row.next_at))
    times_of = list(islice(passed, MOST_COUNTED))
    ScheduleTick(
        schedule=row,
        nominal_at=times_of[0],
        until_at=times_of[-1] if len(times_of) > 1 else None,
        count=len(times_of),
        outcome=outcome,
        reason=reason if len(times_of) < MOST_COUNTED else f"{reason}; no more were counted",
        created_at=edit.now,
    ).save(using=edit.using, force_insert=True)
    row.last_at, row.next_at = times_of[-1], next_after(row, edit.now)
    return len(times_of)


def remove(where: Where, *, using: str, actor: str, reason: str) -> None:
    """Its ticks go with it, what they have started stays. Raises ScheduleNotFoundError."""
    with transaction.atomic(using=using):
        row = locked(where, using=using).row
        before = shown(_held(row), [*OPTIONS, "workflow", "status", "next_at", "runs", "is_declared"])
        ScheduleTick.objects.using(using).filter(schedule_id=row.pk).delete()
        row.delete(using=using)
        tell("schedule_removed", row.name, before=before, after={}, using=using, actor=actor, reason=reason)
