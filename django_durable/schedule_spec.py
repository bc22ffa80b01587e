"""ScheduleSpec: all that code says about one recurring start. Pure; ``engine/schedules/`` stores it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, TypedDict, get_args

from django_durable.cadence import Cadence, Cron, Excluded, Interval
from django_durable.clock import to_instant, to_seconds
from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_key, check_labels, check_name
from django_durable.options import PriorityName, check_priority

OverlapName = Literal["skip", "buffer_one", "buffer_all", "cancel_other", "terminate_other", "allow"]
CatchUpName = Literal["none", "latest", "all"]
OVERLAPS: tuple[OverlapName, ...] = get_args(OverlapName)
CATCH_UPS: tuple[CatchUpName, ...] = get_args(CatchUpName)
DAY = timedelta(days=1)
MOST_COUNTED = 2**31 - 1
PLACEHOLDER = "{scheduled_at}"  # the nominal time of a tick


class SpecOptions(TypedDict, total=False):
    """The options of ``ScheduleSpec``, for the calls that take them by name."""

    args: tuple[Any, ...] | list[Any]
    kwargs: Mapping[str, Any] | None
    overlap: OverlapName
    catch_up: CatchUpName
    catch_up_window: timedelta | float
    jitter: timedelta | float
    starts_at: datetime | None
    ends_at: datetime | None
    max_runs: int | None
    pause_after_failures: int | None
    excluded: Excluded | None
    labels: Mapping[str, str] | None
    queue: str | None
    priority: PriorityName | None
    key: str | None


@dataclass(frozen=True, slots=True)
class ScheduleSpec:
    """When to start a workflow again and again, and how; refused when it is made if it makes no sense.

    cadence: a ``Cron`` or an ``Interval``. id: the schedule's name, unique in the database; default the workflow's.
    args, kwargs: the workflow's arguments; ``{scheduled_at}`` in a text of theirs, or in ``key``, is the nominal time.
    overlap: what becomes of a tick while an execution of this schedule is open. catch_up: what becomes of those that
    nobody fired in time, catch_up_window: how old they may be. jitter: a tick is fired up to that much later, and
    before the next.
    starts_at, ends_at: none before, none after. max_runs: no more starts than that. pause_after_failures: so many
    unsuccessful ends in a row pause it. excluded: dates without a start.
    labels, queue, priority, key: of each execution; default the workflow's.
    """

    cadence: Cadence
    _: KW_ONLY
    id: str | None = None
    args: tuple[Any, ...] | list[Any] = ()
    kwargs: Mapping[str, Any] | None = None
    overlap: OverlapName = "skip"
    catch_up: CatchUpName = "latest"
    catch_up_window: timedelta | float = DAY
    jitter: timedelta | float = 0.0
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    max_runs: int | None = None
    pause_after_failures: int | None = None
    excluded: Excluded | None = None
    labels: Mapping[str, str] | None = field(default=None)
    queue: str | None = None
    priority: PriorityName | None = None
    key: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.cadence, Cadence):
            raise InvalidOptionError(
                f"{self.cadence!r} as cadence of a schedule: give a Cron(...) or an Interval(...)."
            )
        if self.id is not None:
            check_name(self.id, "Schedule id")
        self._check_arguments()
        _check_choice("overlap", self.overlap, OVERLAPS)
        _check_choice("catch_up", self.catch_up, CATCH_UPS)
        to_seconds(self.catch_up_window, "catch_up_window")
        to_seconds(self.jitter, "jitter")
        self._check_range()
        for name in ("max_runs", "pause_after_failures"):
            _check_count(name, getattr(self, name))
        if self.excluded is not None and not isinstance(self.excluded, Excluded):
            raise InvalidOptionError(f"excluded={self.excluded!r}: give Excluded(dates=[...]), or None.")
        self._check_labels()
        if self.queue is not None:
            check_name(self.queue, "Queue")
        if self.priority is not None:
            check_priority(self.priority)
        if self.key is not None:
            _check_template(check_key(self.key, "key"))

    def _check_labels(self) -> None:
        for name, text in check_labels(self.labels or {}).items():
            if PLACEHOLDER in text:
                raise InvalidOptionError(
                    f"Label {name}={text!r}: {PLACEHOLDER} is filled in in args=, kwargs= and key=."
                )

    def _check_arguments(self) -> None:
        if not isinstance(self.args, tuple | list):
            raise InvalidOptionError(f"args={self.args!r}: give a tuple of the workflow's arguments.")
        if not isinstance(self.kwargs or {}, Mapping):
            raise InvalidOptionError(f"kwargs={self.kwargs!r}: give a dict of the workflow's arguments by name.")

    def _check_range(self) -> None:
        begin = None if self.starts_at is None else to_instant(self.starts_at, "starts_at")
        end = None if self.ends_at is None else to_instant(self.ends_at, "ends_at")
        if begin is not None and end is not None and end <= begin:
            raise InvalidOptionError("ends_at= has to come after starts_at=.")


def specs_of(workflow: str, given: object) -> tuple[ScheduleSpec, ...]:
    """What ``schedule=`` of a workflow says: a cadence, a ``ScheduleSpec``, or several. Raises InvalidOptionError."""
    if given is None:
        return ()
    several = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [given]
    specs = tuple(_spec_of(one) for one in several)
    ids = [spec.id or workflow for spec in specs]
    if len(set(ids)) < len(ids):
        raise InvalidOptionError(f"Workflow {workflow!r} has two schedules of one id: give each but one an id=.")
    return specs


def _spec_of(given: object) -> ScheduleSpec:
    if isinstance(given, ScheduleSpec):
        return given
    if isinstance(given, Cadence):
        return ScheduleSpec(given)
    raise InvalidOptionError(f"schedule={given!r}: give a Cron(...), an Interval(...), a ScheduleSpec(...), or a list.")


def cadence_of(
    cron: str | Cron | None, interval: timedelta | float | Interval | None, timezone: str | None
) -> Cadence | None:
    """What ``cron=``, ``interval=`` and ``timezone=`` of a call mean; None: none of them. Raises InvalidOptionError."""
    if cron is not None and interval is not None:
        raise InvalidOptionError("Give cron= or interval=, not both.")
    if isinstance(cron, str):
        return Cron(cron, "UTC" if timezone is None else timezone)
    if timezone is not None:
        raise InvalidOptionError(
            f"timezone={timezone!r} goes with cron= as text: intervals run in UTC, and Cron(...) has its own."
        )
    if cron is not None and not isinstance(cron, Cron):
        raise InvalidOptionError(f"cron={cron!r}: give five fields as text, like '0 3 * * *', or a Cron(...).")
    if isinstance(interval, str | Cron):
        raise InvalidOptionError(f"interval={interval!r}: give a timedelta, seconds or an Interval(...); else cron=.")
    return cron or (interval if interval is None or isinstance(interval, Interval) else Interval(interval))


def _check_choice(option: str, given: object, known: tuple[str, ...]) -> None:
    if given not in known:
        raise InvalidOptionError(f"{option}={given!r}: give one of {', '.join(known)}.")


def _check_template(key: str) -> None:
    """A name of another thing in braces is a slip: each tick would have the same key, and all but one would fail."""
    for braced in re.findall(r"\{\w*\}", key):
        if braced != PLACEHOLDER:
            raise InvalidOptionError(f"key={key!r}: {braced} is not known; {PLACEHOLDER} is the nominal time.")


def _check_count(option: str, given: object) -> None:
    if given is None:
        return
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= MOST_COUNTED:
        raise InvalidOptionError(f"{option}={given!r}: give a whole number from 1, or None.")
