"""At the level ``steps`` of the audit trail, and with lines kept: what is recorded is told once, nothing else is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from uuid import UUID

from django_durable.engine.telling import KINDS
from django_durable.models import AuditEntry, Execution, LogLine, Status, Step, StepStatus

EVERYTHING = {"AUDIT": "steps", "LOG_LEVEL": "INFO"}
_INTERRUPTED = {StepStatus.CANCELLED, StepStatus.TIMED_OUT}


def untold(using: str, execution_ids: Collection[UUID]) -> list[str]:
    """What is wrong, in words."""
    return [f"{pk} {wrong}" for pk in execution_ids for wrong in _of(using, pk)]


def _of(using: str, execution_id: UUID) -> Iterator[str]:
    entries = list(AuditEntry.objects.using(using).about(execution_id))
    steps = list(Step.objects.using(using).history(execution_id))
    kinds = Counter(entry.kind for entry in entries)
    if kinds["started"] != 1:
        yield f"was started {kinds['started']} times"
    yield from _ends(Execution.objects.using(using).get(pk=execution_id).status, kinds)
    told = Counter((entry.after["name"], entry.after["status"]) for entry in entries if "position" in entry.after)
    for step in steps:
        wanted = (step.kind, step.status) in KINDS or step.status in _INTERRUPTED
        is_unsettled = step.status == StepStatus.RETRYING  # each attempt has its entry
        if wanted and not is_unsettled and told[step.name, step.status] != 1:
            yield f"told {told[step.name, step.status]} times that {step.name!r} is {step.status}"
    for name, _ in told.keys() - {(step.name, status) for step in steps for status in StepStatus}:
        yield f"tells of {name!r}, which is not recorded"
    attempts = Counter((entry.after["name"], entry.after.get("attempt")) for entry in entries if _is_attempt(entry))
    yield from (f"tells {count} ends of the attempt {which}" for which, count in attempts.items() if count > 1)
    yield from _lines(list(LogLine.objects.using(using).of(execution_id)))


def _ends(status: str, kinds: Counter[str]) -> Iterator[str]:
    ends = [kind for kind in Status.values for _ in range(kinds[kind]) if kind != Status.COMPENSATING]
    closed = [status] if Execution(status=status).is_closed else []
    if ends != closed:
        yield f"is {status}, and the ends {ends} are told"


def _is_attempt(entry: AuditEntry) -> bool:
    return entry.kind in {"step_completed", "step_failed", "step_retried", "step_timed_out"}


def _lines(lines: list[LogLine]) -> Iterator[str]:
    said = [line.message for line in lines]
    if [line.number for line in lines] != list(range(len(lines))) or len(set(said)) != len(said):
        yield f"keeps the lines {[(line.number, line.message) for line in lines]}"
