"""What both witnesses say when a phase is over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from uuid import UUID

from django.apps import apps
from django.core.management.color import no_style
from django.db import connections

from django_durable.models import Execution, Status
from tests.engine.webhook_server import Receiver
from tests.invariants import check, ordinary_runs
from tests.ledger_app.ledger import Ledger
from tests.ledger_app.models import LedgerRow
from tests.storm import coalescer, hooks, operator, pruned, seats
from tests.storm.account import explained
from tests.storm.clients import patiently
from tests.storm.load import LONG_BODY
from tests.storm.models import LateRow
from tests.storm.workflows import WRITES

WELL = (Status.COMPLETED, Status.CONTINUED)


def violations(
    ledger: Ledger, may_repeat: int, *, unfinished: Sequence[str] = (), receiver: Receiver | None = None
) -> list[str]:
    """Every invariant, and what only a storm can ask: all ended well, and no more was repeated than was hit.

    unfinished: what was found before, to be explained with the rest. receiver: of webhooks, where there is one.
    """
    found = [*unfinished]
    found += [f"I19 {text}" for text in pruned.violations(ledger)]  # it tells what is rightly gone
    found += check("direct", ledger)
    found += _ended_badly(ledger)
    found += _late_writes()
    found += [f"I20 {text}" for text in seats.crowds(ledger)]
    found += [f"I21 {text}" for text in coalescer.violations(ledger)]
    found += [f"I22 {text}" for text in operator.violations(ledger)]
    found += [f"I23 {text}" for text in hooks.violations(receiver, ledger)] if receiver else []
    if (again := _repeats(ledger)).total() > may_repeat:
        told = ", ".join(f"{count} of {pk}" for pk, count in again.items())
        found.append(f"I6 {again.total()} bodies ran again, the faults explain {may_repeat}: {told}")
    return list(explained(found, ledger))


def _ended_badly(ledger: Ledger) -> Iterator[str]:
    """Who has been told to cancel may end so, and its children with it; of those that clients start it is known."""
    ended = Execution.objects.using("direct").closed().exclude(status__in=WELL)
    cancelled = {line["execution"] for line in ledger.lines("ordered") if line["order"] == "cancel"}
    started = {line["execution"] for line in ledger.lines("started", "coalesced")}
    for execution in ended.order_by("pk"):
        is_ours = str(execution.pk) in started and str(execution.pk) not in cancelled
        if execution.status != Status.CANCELLED or is_ours:
            yield f"I2 {execution.workflow} {execution.pk}: ended {execution.status}"


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
    """How many faults it takes to have that many ordinary bodies run without a recorded attempt."""
    return sum(_repeats(ledger).values())


def _repeats(ledger: Ledger) -> Counter[UUID]:
    """By execution. Bodies in branches run side by side, and one fault may hit them all."""
    alone: Counter[UUID] = Counter()
    beside: Counter[UUID] = Counter()
    for pk, name, runs, attempts in ordinary_runs("direct", ledger):
        again = max(0, runs - attempts)
        if "/" in name:
            beside[pk] = max(beside[pk], again)
        else:
            alone[pk] += again
    return +(alone + beside)


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
    models = (*apps.get_app_config("django_durable").get_models(), LedgerRow, LateRow)
    tables = [model._meta.db_table for model in models]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), tables, allow_cascade=True))
    pruned.forget()
