"""What is needed to understand a violation: how the execution stands, its error, its last checkpoints, its orders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from django_durable.engine import payloads
from django_durable.models import AuditEntry, Execution, SetAsideStep, Step
from tests.ledger_app.ledger import Ledger

MOST = 10  # executions that are told of
LAST = 6  # of its checkpoints, and of what it was ordered
LONGEST = 2000  # of an error with its traceback
TELLING = ("started", "interrupted", "ordered", "answered", "coalesced", "pruned")
_ID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


def explained(violations: Iterable[str], ledger: Ledger, *, using: str = "direct") -> Iterator[str]:
    """Each violation, with what both witnesses know of the first execution that it names; of each one once."""
    told: set[str] = set()
    for text in violations:
        found = next((pk for pk in _ID.findall(text) if pk not in told), None)
        if found is None or len(told) == MOST or _ID.findall(text)[0] in told:
            yield text
            continue
        told.add(found)
        yield "\n        ".join([text, *_about(found, ledger, using)])


def _about(pk: str, ledger: Ledger, using: str) -> Iterator[str]:
    execution = Execution.objects.using(using).filter(pk=pk).first()
    if execution is None:
        yield "is not in the table"
    else:
        yield from _row(execution, using)
    lines = [line for line in ledger.lines(*TELLING) if line["execution"] == pk]
    for line in lines[-2 * LAST :]:
        facts = ", ".join(f"{name}={value}" for name, value in line.items() if name not in ("what", "execution"))
        yield f"ledger: {line['what']} {facts}"


def _row(execution: Execution, using: str) -> Iterator[str]:
    times = f"created {execution.created_at}, started {execution.started_at}, finished {execution.finished_at}"
    yield f"{execution.workflow} is {execution.status} {execution.stuck_reason}, {times}, parent {execution.parent_id}"
    if execution.error is not None:
        yield f"error: {_shown(execution.error)}"
    steps = Step.objects.using(using).filter(execution_id=execution.pk)
    aside = SetAsideStep.objects.using(using).filter(execution_id=execution.pk)
    yield f"last of {steps.count()} checkpoints, {aside.count()} are set aside:"
    for step in reversed(steps.order_by("-position")[:LAST]):
        error = "" if step.error is None else f", error: {_shown(step.error)}"
        yield f"{step.position:4} {step.kind} {step.name!r} {step.status}, {step.attempts} attempts{error}"
    for entry in AuditEntry.objects.using(using).filter(execution_id=execution.pk).order_by("pk"):
        yield f"audit: {entry.kind} {entry.actor} {entry.reason} at {entry.created_at}"


def _shown(stored: str) -> str:
    error = payloads.load_error(stored)
    text = f"{error.type_name}: {error.message}\n{error.traceback_text}"
    return text[:LONGEST].rstrip().replace("\n", "\n            ")
