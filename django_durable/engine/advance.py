"""One pass over one execution, read aloud: load, check, replay, settle.

A pass begins with a claim and ends with the execution parked, closed, set aside or handed back. It may die between
any two statements; the next pass finds the history and goes on from there.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from django.db import connections
from django.db.models import QuerySet

from django_durable import clock
from django_durable.conf import get_settings
from django_durable.definitions import WorkflowDefinition, registry
from django_durable.engine import (
    causes,
    children,
    compiled,
    dry_run,
    endings,
    gate,
    going_back,
    heartbeat,
    history,
    leases,
    limits,
    pausing,
    payloads,
    succession,
    transitions,
    updates,
)
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.outcomes import (
    Abandon,
    CompensationFailed,
    Continuing,
    Ended,
    HandBack,
    Mismatch,
    Outcome,
    Park,
    Raised,
    Returned,
    TooLong,
    WentBack,
)
from django_durable.engine.reconnect import persist
from django_durable.engine.recordings import Recording
from django_durable.engine.replay import Replay
from django_durable.engine.scopes import Proof
from django_durable.exceptions import (
    CodecError,
    DurableError,
    InvalidOptionError,
    LeaseLostError,
    UnknownWorkflowError,
)
from django_durable.models import Execution, Status, StuckReason

BODY_THREADS = 4  # each may need a connection
SHORT_WAIT_SECONDS = 1.0  # a shorter back-off is not worth giving the execution away
_COLUMNS = (  # in the order of the model's fields, which from_db expects
    "id",
    "workflow",
    "version",
    "status",
    "stuck_reason",
    "input",
    "cancel_requested_at",
    "paused_at",
    "started_at",
    "deadline_at",
    "parent_id",
    "on_parent_close",
    "chain",
    "depth",
    "fan_out",
    "retried_at",
    "random_seed",
    "limited",
)


def advance(claim: Claim) -> None:
    """Take a claimed execution as far as it goes. Raises only what the database raises when it stays away."""
    try:
        with heartbeat.keep(claim):
            _run_pass(claim)
    except LeaseLostError:
        leases.tell_lost(claim)


def _run_pass(claim: Claim) -> None:
    execution = _load(claim)
    definition = _definition(execution)
    if definition is None:
        transitions.refuse(claim, execution)
        return
    if claim.claims > 1:
        leases.tell_recovered(claim, execution)
    if gate.is_needed(definition, execution, claim) and not _is_admitted(claim, execution, definition):
        return
    checkpoints = _load_history(claim, execution)
    if _is_poison(claim, checkpoints):
        _set_aside_as_poison(claim, execution)
        return
    journal = Journal(
        claim,
        inbox=history.load_inbox(claim.execution_id, using=claim.using) if claim.wake_seq else [],
        cancel_requested_at=execution.cancel_requested_at,
        paused_at=execution.paused_at,
        deadline_at=execution.deadline_at,
        length=len(checkpoints),
    )
    if _is_first_pass(claim, execution) and _ends_before_it_began(claim, execution):
        return
    try:
        given = payloads.load(execution.input)
    except CodecError as error:  # written by code that this worker does not have
        _set_aside_for_new_code(claim, execution, error)
        return
    order = causes.order_in(checkpoints)
    if order is None:
        replay = _replay(
            execution, journal, checkpoints, proof=partial(_difference, execution, checkpoints, claim.using)
        )
        run = partial(_run, replay, definition, given)
    else:
        replay = _replay(execution, journal, checkpoints[order.position + 1 :])
        run = partial(going_back.run, replay, definition, _recording(execution, checkpoints))
    while not _settle(replay, execution, run()):
        journal.renew()


def _replay(
    execution: Execution, journal: Journal, checkpoints: list[Checkpoint], proof: Proof | None = None
) -> Replay:
    claim = journal.claim
    return Replay(
        journal,
        checkpoints,
        short_wait_seconds=_short_wait(claim),
        body_threads=_body_threads(claim),
        proof=proof,
        depth=execution.depth,
        is_of_map=execution.fan_out is not None,
        seed=execution.random_seed,
        runs=history.load_runs(execution.pk, using=claim.using) if execution.retried_at else None,
    )


def _run(replay: Replay, definition: WorkflowDefinition[..., Any], given: dict[str, Any]) -> Outcome:
    """Run the function, again while updates or its own branches have changed the state that it waits on."""
    while True:
        outcome = replay.run(definition, given["args"], given["kwargs"])
        if not updates.look_again(replay, definition, outcome):
            return outcome


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


def _is_admitted(claim: Claim, execution: Execution, definition: WorkflowDefinition[..., Any]) -> bool:
    """By the limits of its workflow and its queue."""
    try:
        return gate.admit(claim, execution, definition, payloads.load(execution.input))
    except (CodecError, InvalidOptionError) as error:  # another deploy's arguments, or key function
        _set_aside_for_new_code(claim, execution, error)
        return False


def _load_history(claim: Claim, execution: Execution) -> list[Checkpoint]:
    """No query on the first pass: nothing can be recorded."""
    if _is_first_pass(claim, execution):
        return []
    return history.load(claim.execution_id, using=claim.using)


def _difference(execution: Execution, checkpoints: list[Checkpoint], using: str) -> DurableError | None:
    """What of the history today's code does not fit, in any branch; None if it does."""
    return dry_run.difference(_recording(execution, checkpoints), using=using)


def _recording(execution: Execution, checkpoints: list[Checkpoint]) -> Recording:
    return Recording(
        id=execution.pk,
        workflow=execution.workflow,
        version=execution.version,
        status=execution.status,
        input=execution.input,
        history=checkpoints,
        seed=execution.random_seed,
    )


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
    return 0.0 if _is_test(claim) else SHORT_WAIT_SECONDS


def _body_threads(claim: Claim) -> int:
    """Under a test's clock or transaction one: other connections would not see its rows."""
    connection: Any = connections[claim.using]
    is_sqlite = connection.vendor == "sqlite"
    if _is_test(claim) or (is_sqlite and connection.is_in_memory_db()):
        return 1
    return get_settings().parallel_steps or (1 if is_sqlite else BODY_THREADS)


def _is_test(claim: Claim) -> bool:
    return clock.is_frozen() or connections[claim.using].in_atomic_block


# -- settling the outcome ------------------------------------------------------------------------------


def _settle(replay: Replay, execution: Execution, outcome: Outcome) -> bool:
    """Write how the pass ended. False: news has come, run again."""
    claim = replay.claim
    execution.cancel_requested_at, execution.paused_at = replay.journal.cancel_requested_at, replay.journal.paused_at
    execution.limited = execution.limited or replay.shared.has_queued
    if not isinstance(outcome, Abandon):
        replay.shared.progress.flush()
    match outcome:
        case Park():
            return _park(replay, execution, outcome)
        case Returned() | Raised():
            return _finish(replay, execution, endings.of(outcome, replay.interrupted))
        case Ended():
            return _finish(replay, execution, outcome)
        case Continuing():
            return _continue(replay, execution, outcome)
        case WentBack():
            return persist(
                claim.using, partial(going_back.go_on, claim, execution), written=partial(_is_given_up, claim)
            )
        case TooLong(limit):
            _stick(claim, execution, StuckReason.HISTORY, limit)
        case HandBack() if execution.paused_at is not None:
            return persist(claim.using, partial(pausing.rest, claim, execution), written=partial(_is_given_up, claim))
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
    write = partial(transitions.park, claim, execution, park)
    has_parked = persist(claim.using, write, written=partial(_is_given_up, claim))
    if has_parked:
        opened = sum(is_new for _, is_new in park.opens)
        limits.tell(replay.journal, execution.workflow, replay.journal.length + opened)
    return has_parked


def _is_given_up(claim: Claim) -> bool | None:
    """After a commit without reply: either our lease is gone, given up by us, or nothing was written."""
    return None if claim.timers().exists() else True


def _finish(replay: Replay, execution: Execution, ending: Ended) -> bool:
    has_children = replay.shared.has_children
    park = children.must_wait(replay) if has_children else None
    if park is not None:
        is_stopped = ending.status in (Status.CANCELLED, Status.TIMED_OUT)
        return _park(replay, execution, replace(park, cancels_children=is_stopped))
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


def _continue(replay: Replay, execution: Execution, continuing: Continuing) -> bool:
    """As ``_finish``: to continue is an end, and what it has left behind is dealt with as at every end."""
    has_children = replay.shared.has_children
    park = children.must_wait(replay) if has_children else None
    if park is not None:
        return _park(replay, execution, park)
    told = [] if continuing.checkpoint is None else [continuing.checkpoint]
    write = partial(
        succession.continue_as_new,
        replay.claim,
        continuing.start,
        *replay.journal.deferred,
        *told,
        has_children=has_children,
    )
    return persist(replay.claim.using, write, written=partial(_is_closed, replay.claim))


def _close(claim: Claim, execution: Execution, ending: Ended, **what: Any) -> None:
    def close() -> bool:
        transitions.close(claim, execution, ending, **what)
        return True

    persist(claim.using, close, written=partial(_is_closed, claim))


def _is_closed(claim: Claim) -> bool | None:
    """After a commit without reply."""
    return Execution.objects.using(claim.using).closed().filter(pk=claim.execution_id).exists() or None


def _set_aside_for_new_code(claim: Claim, execution: Execution, error: DurableError) -> None:
    _stick(claim, execution, StuckReason.NONDETERMINISM, error)


def _stick(claim: Claim, execution: Execution, reason: StuckReason, error: DurableError) -> None:
    transitions.stick(
        claim,
        execution,
        reason,
        error=endings.error_text(error),
        error_type=endings.type_name(error),
        detail=str(error),
    )
