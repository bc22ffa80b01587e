"""What firing makes of one schedule: which ticks it gets, which of them start, and how it stands then. Pure.

The instance is changed in memory; ``writing`` stores it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django_durable.cadence import Excluded, excluded
from django_durable.definitions import PreparedStart, registry
from django_durable.engine.claims import LONGEST_BACKOFF_SECONDS, REFUSED_LONG_SECONDS
from django_durable.engine.schedules import catching_up, inputs, overlapping, times
from django_durable.engine.schedules.overlapping import Place
from django_durable.engine.schedules.settling import Standing
from django_durable.engine.schedules.times import Late, Passed
from django_durable.engine.schedules.upcoming import is_used_up
from django_durable.exceptions import UnknownWorkflowError
from django_durable.models import Overlap, Schedule, ScheduleStatus, ScheduleTick, TickOutcome

MOST_PASSED = 200  # ticks of one schedule that are looked at in one transaction
MOST_FIRED = 20  # of these, those that may start


@dataclass(slots=True)
class Start:
    tick: ScheduleTick
    prepared: PreparedStart


@dataclass(slots=True)
class Plan:
    """ticks: new rows. starts: of those and of the buffered ones. replaces: what waits is skipped, and how many.

    stops: the open executions, first of all. gives_up: it was paused, after failures in a row.
    """

    schedule: Schedule
    standing: Standing
    now: datetime
    version: int  # as it was read
    known: Collection[datetime]  # times that have a tick
    ticks: list[ScheduleTick] = field(default_factory=list)
    released: list[ScheduleTick] = field(default_factory=list)
    starts: list[Start] = field(default_factory=list)
    stops: bool = False
    replaces: int = 0
    gives_up: bool = False

    @property
    def is_running(self) -> bool:
        return bool(self.standing.running or self.starts)

    @property
    def is_used_up(self) -> bool:
        return is_used_up(self.schedule)

    def note(self, nominal_at: datetime, outcome: TickOutcome, reason: str = "", **more: Any) -> ScheduleTick:
        tick = ScheduleTick(
            schedule=self.schedule, nominal_at=nominal_at, outcome=outcome, reason=reason, created_at=self.now, **more
        )
        self.ticks.append(tick)
        return tick

    def start(self, tick: ScheduleTick) -> None:
        """One that is counted already. What cannot even be prepared has failed."""
        try:
            prepared = inputs.prepared(self.schedule, tick.nominal_at)
        except Exception as error:  # the project's classes are made from the input
            self.fail(tick, error)
            return
        tick.outcome, tick.live, tick.reason = TickOutcome.STARTED, True, ""
        self.starts.append(Start(tick, prepared))

    def fail(self, tick: ScheduleTick, error: Exception | str) -> None:
        text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        tick.outcome, tick.live, tick.reason, tick.execution = TickOutcome.FAILED, None, text[:1000], None
        self.schedule.runs -= 1


def make(
    schedule: Schedule,
    standing: Standing,
    now: datetime,
    *,
    waiting: Sequence[ScheduleTick] = (),
    known: Collection[datetime] = (),
) -> Plan:
    """now: the database's. waiting: the first of its buffered ticks. known: times that have a tick already."""
    plan = Plan(schedule, standing, now, schedule.version, known)
    schedule.failures = standing.failures(schedule.failures)
    if schedule.pause_after_failures is not None and schedule.failures >= schedule.pause_after_failures:
        _pause(schedule, now)
        plan.gives_up = True
        return plan
    is_due = schedule.due_at is not None and schedule.due_at <= now
    if _is_refused(schedule, now, is_due=is_due):
        return plan
    if not (is_due and schedule.overlap in overlapping.STOPPING):  # else it takes the place of what waits
        _release(plan, waiting)
    if is_due:
        _fire(plan)
    return plan


def _release(plan: Plan, waiting: Sequence[ScheduleTick]) -> None:
    for tick in waiting:
        if plan.is_running and plan.schedule.overlap != Overlap.ALLOW:
            break
        plan.schedule.buffered -= 1
        plan.released.append(tick)
        plan.start(tick)


def _pause(schedule: Schedule, now: datetime) -> None:
    schedule.status, schedule.paused_at, schedule.paused_by = ScheduleStatus.PAUSED, now, ""
    schedule.paused_reason = f"{schedule.failures} executions in a row have ended without success"
    schedule.due_at = None
    schedule.failures = 0  # whoever resumes it gives it as many again


def _is_refused(schedule: Schedule, now: datetime, *, is_due: bool) -> bool:
    """This process has not got its workflow: leave it, for a minute, to one that has; what waits too."""
    try:
        registry.find(schedule.workflow)
    except UnknownWorkflowError:
        schedule.refused_since = schedule.refused_since or now
        waited = (now - schedule.refused_since).total_seconds()
        if waited >= REFUSED_LONG_SECONDS:
            return False
        if is_due:  # a tick that is still to come must not be due before its time
            schedule.due_at = now + timedelta(seconds=min(max(waited, 1.0), LONGEST_BACKOFF_SECONDS))
        return True
    schedule.refused_since = None
    return False


def _fire(plan: Plan) -> None:
    schedule, now = plan.schedule, plan.now
    passed = times.passed(schedule, now, most=MOST_PASSED)
    skipped = _excluded(schedule, passed.ticks)
    open_ones = [late for late in passed.ticks if late.nominal_at not in skipped]
    counted = Passed(open_ones, passed.next_at, passed.is_cut)
    found = catching_up.sort(counted, now, policy=schedule.catch_up, window_seconds=schedule.catch_up_seconds)
    if passed.is_cut and found.missed and not found.fired:
        _note_many(plan, passed.ticks, found.reason)
    else:
        reasons = dict.fromkeys((late.nominal_at for late in found.missed), found.reason)
        next_at = _note_each(plan, passed, skipped, reasons)
        passed = Passed(passed.ticks, next_at, passed.is_cut)
    _move_on(schedule, passed.next_at, now)


def _excluded(schedule: Schedule, ticks: list[Late]) -> dict[datetime, str]:
    """Why, by nominal time."""
    if not schedule.excluded:
        return {}
    calendar = Excluded.load(schedule.excluded)
    reasons = {late.nominal_at: excluded(late.nominal_at, calendar, schedule.timezone) for late in ticks}
    return {nominal_at: reason for nominal_at, reason in reasons.items() if reason is not None}


def _note_many(plan: Plan, ticks: list[Late], reason: str) -> None:
    """One row for all: a year of a minutely schedule is not to be half a million of them."""
    until_at = ticks[-1].nominal_at if len(ticks) > 1 else None
    plan.note(ticks[0].nominal_at, TickOutcome.MISSED, reason, count=len(ticks), until_at=until_at)
    plan.schedule.last_at = ticks[-1].nominal_at


def _note_each(
    plan: Plan, passed: Passed, skipped: dict[datetime, str], missed: dict[datetime, str]
) -> datetime | None:
    """In order, until there is enough; returns the nominal time of the one to go on with."""
    schedule = plan.schedule
    last = next((late.nominal_at for late in reversed(passed.ticks) if late.nominal_at not in skipped), None)
    for late in passed.ticks:
        at = late.nominal_at
        if plan.is_used_up or len(plan.starts) >= MOST_FIRED:
            return at
        if at in plan.known:
            pass
        elif at in skipped:
            plan.note(at, TickOutcome.SKIPPED, skipped[at])
        elif at in missed:
            plan.note(at, TickOutcome.MISSED, missed[at])
        else:
            overlap(plan, at, is_last=at == last)
        schedule.last_at = at
    return passed.next_at


def overlap(plan: Plan, nominal_at: datetime, *, is_last: bool) -> None:
    schedule = plan.schedule
    decision = overlapping.decide(
        schedule.overlap, is_running=plan.is_running, buffered=schedule.buffered, is_last=is_last
    )
    plan.stops = plan.stops or decision.stops
    if decision.place is Place.SKIP:
        plan.note(nominal_at, TickOutcome.SKIPPED, decision.reason)
        return
    if decision.replaces:
        plan.replaces += schedule.buffered
        schedule.runs -= schedule.buffered
        schedule.buffered = 0
    schedule.runs += 1
    if decision.place is Place.BUFFER:
        schedule.buffered += 1
        plan.note(nominal_at, TickOutcome.BUFFERED, decision.reason, live=True)
    else:
        plan.start(plan.note(nominal_at, TickOutcome.STARTED, live=True))


def _move_on(schedule: Schedule, next_at: datetime | None, now: datetime) -> None:
    """To the next tick; one whose time has come too waits behind the other schedules that are due."""
    schedule.next_at = next_at
    if next_at is None:
        end(schedule)
    else:
        schedule.due_at = max(times.due_at(schedule, next_at), now)


def end(schedule: Schedule) -> None:
    schedule.status = ScheduleStatus.ENDED
    schedule.next_at = schedule.due_at = None
    schedule.paused_at, schedule.paused_by, schedule.paused_reason = None, "", ""  # its last run was a person's
