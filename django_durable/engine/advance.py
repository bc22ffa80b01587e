"""One pass over one execution, read aloud: load, check, replay, settle.

A pass begins with a claim and ends with the execution parked, closed, set aside or handed back. It may die between
any two statements; the next pass finds the history and goes on from there.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import QuerySet

from django_durable import clock, signals
from django_durable.conf import get_settings
from django_durable.definitions import WorkflowDefinition, registry
from django_durable.engine import children, compiled, endings, heartbeat, history, payloads, transitions
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.outcomes import (
    Abandon,
    CompensationFailed,
    Ended,
    HandBack,
    Mismatch,
    Outcome,
    Park,
    Raised,
    Returned,
)
from django_durable.engine.reconnect import persist
from django_durable.engine.replay import Replay
from django_durable.exceptions import (
    CodecError,
    DurableError,
    LeaseLostError,
    UnknownWorkflowError,
)
from django_durable.models import Execution, Status, StuckReason

SHORT_WAIT_SECONDS = 1.0  # a shorter back-off is not worth giving the execution away
_COLUMNS = (  # in the order of the model's fields, which from_db expects
    "id",
    "workflow",
    "version",
    "status",
    "stuck_reason",
    "input",
    "cancel_requested_at",
    "started_at",
    "deadline_at",
    "parent_id",
)


def advance(claim: Claim) -> None:
    """Take a claimed execution as far as it goes. Raises only what the database raises when it stays away."""
    try:
        with heartbeat.keep(claim):
            _run_pass(claim)
    except LeaseLostError:
        signals.send_on_commit(signals.lease_lost, sender=Execution, using=claim.using, execution_id=claim.execution_id)


def _run_pass(claim: Claim) -> None:
    execution = _load(claim)
    definition = _definition(execution)
    if definition is None:
        transitions.refuse(claim, execution)
        return
    checkpoints = _load_history(claim, execution)
    if _is_poison(claim, checkpoints):
        _set_aside_as_poison(claim, execution)
        return
    journal = Journal(
        claim,
        inbox=history.load_inbox(claim.execution_id, using=claim.using) if claim.wake_seq else [],
        cancel_requested_at=execution.cancel_requested_at,
        length=len(checkpoints),
    )
    if _is_first_pass(claim, execution) and _ends_before_it_began(claim, execution):
        return
    replay = Replay(journal, checkpoints, deadline_at=execution.deadline_at, short_wait_seconds=_short_wait(claim))
    try:
        given = payloads.load(execution.input)
    except CodecError as error:  # written by code that this worker does not have
        _set_aside_for_new_code(claim, execution, error)
        return
    while not _settle(replay, execution, replay.run(definition, given["args"], given["kwargs"])):
        journal.renew()


def _load(claim: Claim) -> Execution:
    for row in compiled.rows(_execution, using=claim.using, execution_id=claim.execution_id):
        return Execution.from_db(claim.using, _COLUMNS, row)
    raise LeaseLostError


def _execution(using: str, execution_id: UUID) -> QuerySet[Execution, tuple[Any, ...]]:
    return Execution.objects.using(using).filter(pk=execution_id).values_list(*_COLUMNS)


def _definition(execution: Execution) -> WorkflowDefinition[..., Any] | None:
    try:
        return registry.find(execution.workflow, execution.version)
    except UnknownWorkflowError:
        return None


def _load_history(claim: Claim, execution: Execution) -> list[Checkpoint]:
    """No query on the first pass: nothing can be recorded."""
    if _is_first_pass(claim, execution):
        return []
    return history.load(claim.execution_id, using=claim.using)


def _is_first_pass(claim: Claim, execution: Execution) -> bool:
    """No worker has run any of it: no claim was lost since the last pass that ended, and none has ended."""
    return claim.claims == 1 and execution.started_at is None


def _is_poison(claim: Claim, checkpoints: list[Checkpoint]) -> bool:
    """Count claims that brought no new checkpoint and no new attempt: it may be killing its workers."""
    if claim.claims <= 1:
        return False
    progress = len(checkpoints) + sum(checkpoint.attempts for checkpoint in checkpoints)
    if progress > claim.progress:
        claim.timers().update(claims=1, progress=progress, refused_since=None)
        return False
    return claim.claims > get_settings().max_claims


def _set_aside_as_poison(claim: Claim, execution: Execution) -> None:
    text = (
        f"{claim.claims - 1} workers were lost while they ran this without a new checkpoint. Look for a step that "
        "exhausts memory or kills its process; fix it, then terminate this execution and start it anew."
    )
    transitions.stick(
        claim,
        execution,
        StuckReason.POISON,
        error=endings.error_text(DurableError(text)),
        error_type="",
        detail=text,
    )


def _ends_before_it_began(claim: Claim, execution: Execution) -> bool:
    """Nothing to clean up: cancelled, or too late, before its first step."""
    if execution.cancel_requested_at is not None:
        _close(claim, execution, Ended(status=Status.CANCELLED))
        return True
    if execution.deadline_at is not None and execution.deadline_at <= claim.now():
        _close(claim, execution, Ended(status=Status.TIMED_OUT))
        return True
    return False


def _short_wait(claim: Claim) -> float:
    """Under a test's clock or transaction every wait parks, so that the test can see it and move the time."""
    is_test = clock.is_frozen() or connections[claim.using].in_atomic_block
    return 0.0 if is_test else SHORT_WAIT_SECONDS


# -- settling the outcome ------------------------------------------------------------------------------


def _settle(replay: Replay, execution: Execution, outcome: Outcome) -> bool:
    """Write how the pass ended. False: news has come, run again."""
    claim = replay.claim
    execution.cancel_requested_at = replay.journal.cancel_requested_at
    if not isinstance(outcome, Abandon):
        replay.progress_shown.flush()
    match outcome:
        case Park():
            return _park(replay, execution, outcome)
        case Returned() | Raised():
            return _finish(replay, execution, endings.of(outcome, replay.interrupted))
        case Ended():
            return _finish(replay, execution, outcome)
        case HandBack():
            transitions.hand_back(claim, execution)
        case Mismatch(error):
            _set_aside_for_new_code(claim, execution, error)
        case CompensationFailed(detail, error, error_type):
            transitions.stick(
                claim, execution, StuckReason.COMPENSATION, error=error, error_type=error_type, detail=detail
            )
        case Abandon(error):
            raise error
    return True


def _park(replay: Replay, execution: Execution, park: Park) -> bool:
    claim = replay.claim
    park = replace(park, opens=replay.journal.numbered(park.opens))

    def parked() -> bool | None:
        # After a commit without reply: either our lease is gone, parked by us, or nothing was written.
        return None if claim.timers().exists() else True

    return persist(claim.using, lambda: transitions.park(claim, execution, park), written=parked)


def _finish(replay: Replay, execution: Execution, ending: Ended) -> bool:
    has_children = replay.shared.has_children
    park = children.must_wait(replay) if has_children else None
    if park is not None:
        return _park(replay, execution, park)
    if replay.has_skipped and ending.status != Status.COMPLETED:
        ending = replace(ending, status=Status.COMPENSATION_FAILED)
    _close(
        replay.claim,
        execution,
        ending,
        compensated=replay.is_compensated,
        deferred=tuple(replay.journal.deferred),
        has_children=has_children,
    )
    return True


def _close(claim: Claim, execution: Execution, ending: Ended, **what: Any) -> None:
    def closed() -> bool | None:
        is_closed = Execution.objects.using(claim.using).closed().filter(pk=execution.pk).exists()
        return True if is_closed else None

    def close() -> bool:
        transitions.close(claim, execution, ending, **what)
        return True

    persist(claim.using, close, written=closed)


def _set_aside_for_new_code(claim: Claim, execution: Execution, error: DurableError) -> None:
    transitions.stick(
        claim,
        execution,
        StuckReason.NONDETERMINISM,
        error=endings.error_text(error),
        error_type=endings.type_name(error),
        detail=str(error),
    )
