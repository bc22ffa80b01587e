"""The canary: a small workflow of our own that uses each part once, to see that they work here and how fast.

It goes the way of every other execution: the project's dispatcher, workers, database and tick.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from django_durable.client.messages import signal
from django_durable.client.orders import terminate
from django_durable.client.reading import get, refuse_transaction, result
from django_durable.client.targets import alias_of
from django_durable.clock import to_seconds
from django_durable.context import Context
from django_durable.definitions import step, workflow
from django_durable.engine.queues import known_queues
from django_durable.exceptions import ExecutionClosedError, ExecutionFailedError, ResultTimeoutError
from django_durable.models import Execution, Signal, Step
from django_durable.registry import OWN_CATEGORY

NAME = "durable.canary"
ECHO = "durable.canary_echo"
PONG = "durable.canary_pong"
KEPT = 20  # finished runs that stay to be looked at
MOST_DELETED = 50  # in one run
SLEEP_SECONDS = 2.0  # so long that only a tick ends it: more than ``dispatch.AHEAD_SECONDS``
LIMIT_SECONDS = 300.0  # of a run that nobody waits for

_FIXES = {
    "start": "Start a worker that reads this queue: `celery -A <project> worker`, or `manage.py durable_worker`. "
    "`manage.py durable_doctor` shows the workers that were seen.",
    "step": "A worker has taken it: look at that worker's log.",
    "atomic step": "A worker has taken it and ran a step, but not one with a transaction: look at that worker's log.",
    "child": "A second execution on the same queue was not taken in time: the workers have more than they can do.",
    "signal": "Its execution did not go on: look for hints that failed in the log `django_durable.dispatch`.",
    "timer": "Nothing ticks: run Celery beat with the entry of `django_durable.beat`, or `manage.py durable_tick "
    "--every 1`.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryLeg:
    """One part. seconds: how long it took, of a timer how late it was; None: it did not happen."""

    name: str
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryReport:
    """failed: the first leg that did not happen; empty if all did. fix: what to do about it."""

    execution_id: UUID
    status: str
    legs: tuple[CanaryLeg, ...]
    failed: str
    fix: str

    @property
    def is_ok(self) -> bool:
        return not self.failed


@step(name="plain")
def plain() -> str:
    return "sung"


@step(name="atomic", atomic=True)
def clean(using: str) -> int:
    """The atomic step has something to write: it deletes the finished runs beyond the last ``KEPT``."""
    executions = Execution.objects.using(using)
    deleted = 0
    for name in (NAME, ECHO):
        old = executions.closed().filter(workflow=name).order_by("-created_at")[KEPT : KEPT + MOST_DELETED]
        ids = list(old.values_list("pk", flat=True))
        deleted += executions.filter(pk__in=ids).delete()[0] if ids else 0
    return deleted


@step(name="pong")
def pong(execution_id: UUID, using: str) -> None:
    try:
        signal(execution_id, PONG, signal_id="pong", using=using)
    except ExecutionClosedError:  # it was given up
        return


@workflow(ECHO, category=OWN_CATEGORY, timeout=LIMIT_SECONDS)
def echo(ctx: Context, execution_id: UUID, using: str) -> None:
    ctx.step(pong, execution_id, using)


@workflow(NAME, category=OWN_CATEGORY, timeout=LIMIT_SECONDS)
def sing(ctx: Context, queue: str = "default", using: str = "default") -> None:
    ctx.step(plain)
    ctx.step(clean, using)
    child = ctx.start_child("child", echo.using(queue=queue), ctx.execution_id, using)
    ctx.wait_for_signal(PONG)
    ctx.wait_for_execution(child)
    ctx.sleep(SLEEP_SECONDS, id="timer")


def canary(*, timeout: timedelta | float = 30.0, queue: str | None = None, using: str | None = None) -> CanaryReport:
    """Start the canary, wait for its end, and report how long each part took, or which did not happen.

    timeout: seconds or a timedelta; one that has not ended by then is terminated. queue: default "default", or the
    first that there is. Raises TransactionOpenError inside a transaction, InvalidOptionError for an unknown queue.
    """
    seconds, alias = to_seconds(timeout, "timeout"), alias_of(using)
    refuse_transaction(alias)
    named = queue or ("default" if "default" in known_queues() else known_queues()[0])
    execution = sing.using(queue=named, using=alias).start(named, alias)
    try:
        result(execution, timeout=seconds, using=alias)
    except (ResultTimeoutError, ExecutionFailedError):
        return _give_up(execution.id, alias)
    return report_of(execution.id, using=alias)


def _give_up(execution_id: UUID, using: str) -> CanaryReport:
    """Of one that has ended at the last moment after all, what it has come to."""
    report = report_of(execution_id, using=using)
    try:
        terminate(execution_id, reason=f"canary: no {report.failed} in time", actor="canary", using=using)
    except ExecutionClosedError:
        return report_of(execution_id, using=using)
    return report


def report_of(execution_id: UUID, *, using: str) -> CanaryReport:
    """What the rows say about one run so far."""
    execution = get(execution_id, using=using)
    legs = tuple(CanaryLeg(name=name, seconds=seconds) for name, seconds in _measure(execution, using).items())
    failed = next((leg.name for leg in legs if leg.seconds is None), "")
    return CanaryReport(
        execution_id=execution_id,
        status=execution.status,
        legs=legs,
        failed=failed,
        fix=_FIXES.get(failed, ""),
    )


def _measure(execution: Execution, using: str) -> dict[str, float | None]:
    """Seconds by leg, in the order in which they happen."""
    steps = {row.name: row for row in Step.objects.using(using).filter(execution_id=execution.id)}
    at = partial(_at, steps)
    child = Execution.objects.using(using).filter(parent_id=execution.id).first()
    answer = Signal.objects.using(using).filter(execution_id=execution.id, name=PONG).first()
    return {
        "start": _between(execution.created_at, at("plain", "started_at") or execution.started_at),
        "step": _between(at("plain", "started_at"), at("plain", "finished_at")),
        "atomic step": _between(at("atomic", "started_at"), at("atomic", "finished_at")),
        "child": _between(child.created_at, child.finished_at) if child else None,
        "signal": _between(answer.accepted_at, answer.consumed_at) if answer else None,
        "timer": _between(at("timer", "due_at"), at("timer", "finished_at")),
    }


def _at(steps: dict[str, Step], name: str, field: str) -> datetime | None:
    return getattr(steps[name], field) if name in steps else None


def _between(since: datetime | None, until: datetime | None) -> float | None:
    """Not below nothing: workers carry the database's clock forward by their own, a little late."""
    if since is None or until is None:
        return None
    return round(max((until - since).total_seconds(), 0.0), 6)
