"""Schedules: made by code, steered by people. Each verb is one transaction with its audit entry, or joins another.

Those to one schedule take it, its name or its id. All raise ScheduleNotFoundError; what is refused raises
ScheduleConflict, and nothing is written.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Unpack
from uuid import UUID

from django_durable.cadence import Cadence, Cron, Interval
from django_durable.client.starting import get_workflow
from django_durable.client.targets import actor_of, alias_of
from django_durable.clock import to_instant
from django_durable.definitions import WorkflowDefinition
from django_durable.engine.batches import database_now
from django_durable.engine.schedules import by_hand, declaring, editing, listing, rows, upcoming
from django_durable.engine.schedules.by_hand import Backfilled
from django_durable.engine.schedules.declaring import SyncReport
from django_durable.engine.schedules.editing import Ensured
from django_durable.engine.schedules.listing import SchedulePage, TickPage
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Schedule, ScheduleTick
from django_durable.names import check_name
from django_durable.schedule_spec import OverlapName, ScheduleSpec, SpecOptions, cadence_of

ScheduleTarget = Schedule | UUID | str  # a text is its name
MOST_PREVIEWED = 1000


def ensure_schedule(
    workflow: str | WorkflowDefinition[..., Any],
    *,
    id: str,
    cron: str | Cron | None = None,
    interval: timedelta | float | Interval | None = None,
    timezone: str | None = None,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
    **options: Unpack[SpecOptions],
) -> Ensured:
    """Have a schedule of that name start a workflow, at each boot if you like: what is as it should be stays.

    cron or interval: when; timezone: of ``cron`` as text, default UTC. options: those of ``ScheduleSpec``; what is left
    out has its default, whatever somebody has changed in the database. A pause stays, and the next time too unless
    the cadence, ``starts_at``, ``ends_at`` or ``max_runs`` has changed. Of several processes one makes it.
    Raises InvalidOptionError, TypeError, CodecError, UnknownWorkflowError; ScheduleConflict for a declared one.
    """
    cadence = cadence_of(cron, interval, timezone)
    if cadence is None:
        raise InvalidOptionError("ensure_schedule(...): give cron= or interval=.")
    definition = get_workflow(workflow) if isinstance(workflow, str) else workflow
    if not isinstance(definition, WorkflowDefinition):
        raise InvalidOptionError(
            f"{type(workflow).__name__}: give a workflow or its name; what using(...) takes is an option of this call."
        )
    spec = ScheduleSpec(cadence, id=check_name(id, "Schedule id"), **options)
    columns = {**rows.columns_of(spec, definition), "is_declared": False}
    return editing.ensure(id, columns, using=alias_of(using), actor=actor_of(actor), reason=reason)


def update_schedule(
    schedule: ScheduleTarget,
    *,
    cron: str | Cron | None = None,
    interval: timedelta | float | Interval | None = None,
    timezone: str | None = None,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
    **options: Unpack[SpecOptions],
) -> Ensured:
    """Change what is given; what is not stays. timezone alone: that of the cron expression there is.

    A cron expression that is given again is stored as this version of its parser reads it.
    Code that ensures or declares this schedule has the last word: it brings back what it says when it runs next.
    Raises as ``ensure_schedule``.
    """
    if not options and cron is None and interval is None and timezone is None:
        raise InvalidOptionError("update_schedule(...): give what is to change.")
    if "id" in options:
        raise InvalidOptionError("update_schedule(id=...): the name stays; make another schedule, and remove this one.")
    given = None if cron is None and interval is None else cadence_of(cron, interval, timezone)
    ScheduleSpec(given or Interval(1), **options)  # refuse what makes no sense before anything is locked

    def columns_for(row: Schedule) -> dict[str, Any]:
        stored = rows.spec_of(row)
        cadence = given or (stored.cadence if timezone is None else _in_zone(stored.cadence, timezone))
        return rows.columns_of(replace(stored, cadence=cadence, **options), get_workflow(row.workflow))

    return editing.update(
        _where(schedule),
        columns_for,
        accepts=given is not None,
        using=alias_of(using),
        actor=actor_of(actor),
        reason=reason,
    )


def _in_zone(cadence: Cadence, timezone: str) -> Cron:
    if not isinstance(cadence, Cron):
        raise InvalidOptionError(f"timezone={timezone!r}: this schedule has an interval, and intervals run in UTC.")
    return Cron(cadence.expression, timezone)


def pause_schedule(
    schedule: ScheduleTarget, *, reason: str = "", actor: object = "", using: str | None = None
) -> Schedule:
    """Start nothing until ``resume_schedule``, not what waits for its turn either; what runs goes on."""
    return by_hand.pause(_where(schedule), using=alias_of(using), actor=actor_of(actor), reason=reason)


def resume_schedule(
    schedule: ScheduleTarget,
    *,
    catch_up: bool = False,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> Schedule:
    """Go on with the next time to come; what has passed meanwhile is recorded as skipped.

    catch_up: leave what has passed to the catch-up policy of the schedule instead, as if nobody had been there.
    """
    if not isinstance(catch_up, bool):
        raise InvalidOptionError(f"catch_up={catch_up!r}: give True or False.")
    return by_hand.resume(
        _where(schedule), catch_up=catch_up, using=alias_of(using), actor=actor_of(actor), reason=reason
    )


def remove_schedule(
    schedule: ScheduleTarget, *, reason: str = "", actor: object = "", using: str | None = None
) -> None:
    """Forget a schedule and its ticks; what it has started stays. A declared one comes back with the next sync."""
    editing.remove(_where(schedule), using=alias_of(using), actor=actor_of(actor), reason=reason)


def trigger_schedule(
    schedule: ScheduleTarget,
    *,
    overlap: OverlapName | None = None,
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> ScheduleTick:
    """Start now what it starts, beside its regular ticks, none of which moves; ``max_runs`` counts it.

    Returns the tick, whose ``outcome`` says what became of it. overlap: instead of the schedule's policy. Works on a
    paused and an ended one too. Raises UnknownWorkflowError.
    """
    return by_hand.trigger(
        _where(schedule), overlap=_overlap(overlap), using=alias_of(using), actor=actor_of(actor), reason=reason
    )


def backfill_schedule(
    schedule: ScheduleTarget,
    start: datetime,
    end: datetime,
    *,
    overlap: OverlapName = "allow",
    reason: str = "",
    actor: object = "",
    using: str | None = None,
) -> Backfilled:
    """Start what it would have started from ``start`` to ``end``, both included, where it has not; at most 1,000.

    overlap: the policy for these ticks. Times to come are the schedule's own, so ``end`` is past; dates that are
    excluded stay so. Raises InvalidOptionError.
    """
    return by_hand.backfill(
        _where(schedule),
        to_instant(start, "start"),
        to_instant(end, "end"),
        overlap=_overlap(overlap) or "allow",
        using=alias_of(using),
        actor=actor_of(actor),
        reason=reason,
    )


def get_schedule(schedule: ScheduleTarget, *, using: str | None = None) -> Schedule:
    """One schedule, as it is now."""
    return editing.found(_where(schedule), using=alias_of(using))


def schedules(
    *,
    workflow: str | None = None,
    status: str | None = None,
    declared: bool | None = None,
    name_prefix: str | None = None,
    after: str | None = None,
    size: int = 50,
    using: str | None = None,
) -> SchedulePage:
    """One page of schedules by their names. after: ``next`` of the page before. size: at most 500.

    Raises InvalidOptionError.
    """
    where = listing.Wanted(workflow=workflow, status=status, declared=declared, name_prefix=name_prefix)
    return listing.page(where, after=after, size=size, using=alias_of(using))


def schedule_ticks(
    schedule: ScheduleTarget,
    *,
    outcome: str | None = None,
    after: str | None = None,
    size: int = 50,
    using: str | None = None,
) -> TickPage:
    """What became of the times of a schedule, the latest first. after: ``next`` of the page before.

    Raises InvalidOptionError.
    """
    row = get_schedule(schedule, using=using)
    return listing.ticks(row, outcome=outcome, after=after, size=size, using=alias_of(using))


def preview_schedule(
    schedule: ScheduleTarget | ScheduleSpec | Cadence, n: int = 5, *, using: str | None = None
) -> list[datetime]:
    """The next n times at which something is to start, aware UTC, without jitter; of a paused one as if resumed now.

    schedule: also a ``ScheduleSpec``, a ``Cron`` or an ``Interval`` that is stored nowhere. n: at most 1,000.
    """
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= MOST_PREVIEWED:
        raise InvalidOptionError(f"n={n!r}: give a whole number from 1 to {MOST_PREVIEWED}.")
    now = database_now(alias_of(using))
    if isinstance(schedule, ScheduleSpec | Cadence):
        spec = schedule if isinstance(schedule, ScheduleSpec) else ScheduleSpec(schedule)
        return upcoming.upcoming(rows.unsaved(spec), n, now=now)
    return upcoming.upcoming(get_schedule(schedule, using=using), n, now=now)


def sync_schedules(*, dry_run: bool = False, remove_unknown: bool = False, using: str | None = None) -> SyncReport:
    """Bring the database in step with what workflows declare with ``schedule=``; ``migrate`` does it by itself.

    The code has the last word about all that it says; a pause stays. Declared ones that it no longer declares are
    removed; those of workflows that are not registered here only with remove_unknown. dry_run: say it, write nothing.
    Raises ConfigurationError, and what a declaration is refused for. Transaction: the caller's, or its own.
    """
    return declaring.sync(using=alias_of(using), is_dry_run=dry_run, removes_unknown=remove_unknown)


def _where(schedule: object) -> editing.Where:
    if isinstance(schedule, Schedule):
        return schedule.id
    if isinstance(schedule, UUID | str):
        return schedule
    given = f"workflow {schedule.name!r}" if isinstance(schedule, WorkflowDefinition) else repr(schedule)
    raise InvalidOptionError(f"{given} is not a schedule; give one, its id or its name.")


def _overlap(given: object) -> OverlapName | None:
    if given is not None:
        ScheduleSpec(Interval(1), overlap=given)  # type: ignore[arg-type]
    return given  # type: ignore[return-value]
