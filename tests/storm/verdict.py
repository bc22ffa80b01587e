"""What both witnesses say when a phase is over."""

from __future__ import annotations

from collections import Counter

from django.core.management.color import no_style
from django.db import connections

from django_durable.models import (
    AuditEntry,
    Delivery,
    Execution,
    FanOut,
    OutboxEvent,
    Signal,
    Status,
    Step,
    Timer,
)
from tests.invariants import check, ordinary_runs
from tests.ledger_app.ledger import Ledger
from tests.ledger_app.models import LedgerRow
from tests.storm.load import LONG_BODY, patiently
from tests.storm.models import LateRow
from tests.storm.workflows import WRITES

WELL = (Status.COMPLETED, Status.CONTINUED)


def violations(ledger: Ledger, may_repeat: int) -> list[str]:
    """Every invariant, and what only a storm can ask: all ended well, and no more was repeated than was hit."""
    found = check("direct", ledger)
    ended_badly = Execution.objects.using("direct").closed().exclude(status__in=WELL)
    found += [f"I2 {execution.workflow} {execution.id}: ended {execution.status}" for execution in ended_badly]
    found += _late_writes()
    if (again := repeated(ledger)) > may_repeat:
        found.append(f"I6 {again} bodies ran again, the faults explain {may_repeat}")
    return found


def _late_writes() -> list[str]:
    """I5 and I7 of the bodies that stops are aimed at."""
    rows = LateRow.objects.using("direct")
    found = [f"I7 {row}: was committed by a process that had lost the lease" for row in rows.filter(rightful=False)]
    ended = Execution.objects.using("direct").filter(workflow=LONG_BODY, status=Status.COMPLETED)
    written = Counter(rows.values_list("execution_id", "step"))
    wanted = Counter((pk, f"write-{number}") for pk in ended.values_list("pk", flat=True) for number in range(WRITES))
    return found + [
        f"I5 {key}: written {written[key]} times" for key in written | wanted if written[key] != wanted[key]
    ]


def repeated(ledger: Ledger) -> int:
    """How many runs of ordinary bodies no recorded attempt stands for."""
    return sum(max(0, runs - attempts) for runs, attempts in ordinary_runs("direct", ledger))


def open_executions() -> list[str]:
    executions = Execution.objects.using("direct").open().select_related("timer")
    shown = patiently("direct", lambda: list(executions))
    return [
        f"{one.workflow} {one.id} {one.status} {one.stuck_reason}, due {one.timer.due_at}, "
        f"held by {one.timer.holder!r}, {one.timer.claims} claims"
        for one in shown
    ]


def forget_everything() -> None:
    """Empty our tables for the next phase."""
    connection = connections["direct"]
    models = (Delivery, OutboxEvent, FanOut, Step, Signal, AuditEntry, Timer, LedgerRow, LateRow, Execution)
    tables = [model._meta.db_table for model in models]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables, allow_cascade=True))
