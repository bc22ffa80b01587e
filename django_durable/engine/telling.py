"""What is told of each checkpoint with its record: an audit entry, a Django signal, what ``ctx.log`` has said so far.

At the default settings, and when nobody listens, that is nothing, and costs nothing.
"""

from __future__ import annotations

from typing import Any

from django.dispatch import Signal

from django_durable import signals
from django_durable.engine import log_lines, payloads
from django_durable.engine.audit import audit, keeps_steps
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint
from django_durable.exceptions import CodecError, StepTimedOut
from django_durable.models import AuditKind, Kind, Step, StepStatus

Fact = tuple[str, str]  # kind and status of a checkpoint
_TIMED_OUT = f"{StepTimedOut.__module__}.{StepTimedOut.__qualname__}"
KINDS: dict[Fact, AuditKind] = {
    (Kind.STEP, StepStatus.STARTED): AuditKind.STEP_STARTED,
    (Kind.STEP, StepStatus.COMPLETED): AuditKind.STEP_COMPLETED,
    (Kind.STEP, StepStatus.FAILED): AuditKind.STEP_FAILED,
    (Kind.STEP, StepStatus.RETRYING): AuditKind.STEP_RETRIED,
    (Kind.ROLLBACK, StepStatus.COMPLETED): AuditKind.COMPENSATION_STARTED,
    (Kind.COMPENSATION, StepStatus.STARTED): AuditKind.STEP_STARTED,
    (Kind.COMPENSATION, StepStatus.COMPLETED): AuditKind.COMPENSATION_COMPLETED,
    (Kind.COMPENSATION, StepStatus.RETRYING): AuditKind.COMPENSATION_ATTEMPT_FAILED,
    (Kind.SLEEP, StepStatus.WAITING): AuditKind.SLEEP_SCHEDULED,
    (Kind.SLEEP, StepStatus.COMPLETED): AuditKind.SLEEP_COMPLETED,
    (Kind.WAIT, StepStatus.WAITING): AuditKind.SIGNAL_AWAITED,
    (Kind.WAIT, StepStatus.COMPLETED): AuditKind.SIGNAL_CONSUMED,
    (Kind.UNTIL, StepStatus.WAITING): AuditKind.CONDITION_AWAITED,
    (Kind.UNTIL, StepStatus.COMPLETED): AuditKind.CONDITION_SETTLED,
    (Kind.UPDATE, StepStatus.COMPLETED): AuditKind.UPDATE_ANSWERED,
    (Kind.UPDATE, StepStatus.FAILED): AuditKind.UPDATE_ANSWERED,
    (Kind.STATE, StepStatus.COMPLETED): AuditKind.STATE_CHANGED,
    (Kind.CHILD, StepStatus.COMPLETED): AuditKind.CHILD_STARTED,
    (Kind.CHILD, StepStatus.FAILED): AuditKind.CHILD_REFUSED,
    (Kind.MAP, StepStatus.COMPLETED): AuditKind.CHILD_STARTED,
    (Kind.MAP, StepStatus.FAILED): AuditKind.CHILD_REFUSED,
    (Kind.JOIN, StepStatus.WAITING): AuditKind.CHILD_AWAITED,
    (Kind.JOIN, StepStatus.COMPLETED): AuditKind.CHILD_ENDED,
    (Kind.JOIN, StepStatus.FAILED): AuditKind.CHILD_ENDED,
    (Kind.EMIT, StepStatus.COMPLETED): AuditKind.EVENT_EMITTED,
    (Kind.SWITCH, StepStatus.COMPLETED): AuditKind.BRANCH_CHOSEN,
    (Kind.WON, StepStatus.COMPLETED): AuditKind.RACE_WON,
    (Kind.NOTE, StepStatus.COMPLETED): AuditKind.NOTED,
}
# Attempts that failed are told by ``steps``, which knows the error.
SIGNALS: dict[Fact, Signal] = {
    (Kind.STEP, StepStatus.COMPLETED): signals.step_completed,
    (Kind.ROLLBACK, StepStatus.COMPLETED): signals.compensation_started,
    (Kind.COMPENSATION, StepStatus.COMPLETED): signals.compensation_completed,
    (Kind.CHILD, StepStatus.COMPLETED): signals.child_started,
    (Kind.JOIN, StepStatus.COMPLETED): signals.child_ended,
    (Kind.JOIN, StepStatus.FAILED): signals.child_ended,
}
_INTERRUPTED = (StepStatus.CANCELLED, StepStatus.TIMED_OUT)


def writes(claim: Claim) -> bool:
    """Whether the next record has rows beside it, and needs a transaction."""
    return bool(claim.log_lines) or keeps_steps()


def recorded(claim: Claim, checkpoint: Checkpoint, *, is_new: bool = True) -> None:
    """In the transaction that records a checkpoint, or right after the statement that was one by itself."""
    if claim.log_lines:
        log_lines.store(claim)
    if keeps_steps() and (is_new or checkpoint.status != StepStatus.WAITING):
        _keep(claim, checkpoint)
    signal = SIGNALS.get((checkpoint.kind, checkpoint.status))
    if signal is not None and signals.is_wanted(signal, Step):
        facts = {"execution_id": claim.execution_id, **_facts(signal, checkpoint)}
        signals.send_on_commit(signal, sender=Step, using=claim.using, **facts)


def _keep(claim: Claim, checkpoint: Checkpoint) -> None:
    error_type = _error_type(checkpoint)
    kind = _kind(checkpoint, error_type)
    if kind is None:
        return
    after: dict[str, Any] = {"name": checkpoint.name, "position": checkpoint.position, "status": checkpoint.status}
    if checkpoint.attempts:
        after["attempt"] = checkpoint.attempts
    if checkpoint.target:
        after["target"] = checkpoint.target
    if checkpoint.due_at is not None:
        after["due_at"] = checkpoint.due_at
    if error_type:
        after["error_type"] = error_type
    audit(claim.using, claim.execution_id, kind=kind, after=after)


def _kind(checkpoint: Checkpoint, error_type: str) -> AuditKind | None:
    """None: it is no news to people, as the answer to a patch is not."""
    if checkpoint.status in _INTERRUPTED:
        return AuditKind.CALL_INTERRUPTED
    kind = KINDS.get((checkpoint.kind, checkpoint.status))
    if kind in (AuditKind.STEP_FAILED, AuditKind.STEP_RETRIED) and error_type == _TIMED_OUT:
        return AuditKind.STEP_TIMED_OUT
    if kind == AuditKind.SIGNAL_CONSUMED and checkpoint.result is None:
        return AuditKind.SIGNAL_TIMED_OUT
    if kind == AuditKind.COMPENSATION_ATTEMPT_FAILED and checkpoint.due_at is None:
        return AuditKind.COMPENSATION_GAVE_UP
    return kind


def _error_type(checkpoint: Checkpoint) -> str:
    """The class of the recorded error, never its message. Text that this process cannot read names none."""
    if checkpoint.error is None:
        return ""
    try:
        return payloads.load_error(checkpoint.error).type_name
    except CodecError:
        return ""


def _facts(signal: Signal, checkpoint: Checkpoint) -> dict[str, Any]:
    if signal is signals.compensation_started:
        return {}
    if signal is signals.child_started:
        return {"step_id": checkpoint.name, "child_id": payloads.load(checkpoint.result or "")}
    if signal is signals.child_ended:
        return {"step_id": checkpoint.name, "child_id": checkpoint.target, "status": checkpoint.status}
    return {"step_id": checkpoint.name, "attempt": checkpoint.attempts}
