"""Ends that a person gives to an execution, now and whatever it is doing: a worker on it can record nothing more.

Nothing is cleaned up or compensated: for that there is the cancellation. Parents hear of it as of any other end.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import Case, F, TextField, Value, When

from django_durable import signals
from django_durable.clock import DatabaseNow
from django_durable.engine import chains, children, countdown, endings, payloads, slots, transitions
from django_durable.engine.orders import Verb, give
from django_durable.exceptions import ForcedFailure
from django_durable.models import OPEN, Execution, Status, Timer

TERMINATE = Verb("terminate", "terminated", OPEN, does="end it now, without clean-up", while_running=True)
FORCE_FAIL = Verb("force_fail", "force_failed", OPEN, does="end it now as failed, with a message", while_running=True)
FORCE_COMPLETE = Verb(
    "force_complete", "force_completed", OPEN, does="end it now as completed, with a result", while_running=True
)


def terminate(execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    """End it, or what it was continued as. Raises ExecutionNotFoundError, ExecutionClosedError."""
    first = Case(When(cancel_reason="", then=Value(reason, TextField())), default=F("cancel_reason"))
    changes = {"status": Status.TERMINATED, "cancel_reason": first}
    chains.follow(partial(_end, TERMINATE, changes, using=using, actor=actor, reason=reason), execution_id)


def fail(execution_id: UUID, message: str, *, using: str, actor: str, reason: str) -> None:
    error = ForcedFailure(message)
    changes = {
        "status": Status.FAILED,
        "error": payloads.dump_error(error, traceback_text=""),
        "error_type": endings.type_name(error),
    }
    chains.follow(partial(_end, FORCE_FAIL, changes, using=using, actor=actor, reason=reason), execution_id)


def complete(execution_id: UUID, result: object, *, using: str, actor: str, reason: str) -> None:
    """Raises CodecError for a result that cannot be stored."""
    changes = {"status": Status.COMPLETED, "result": payloads.dump(result), "error": None, "error_type": ""}
    chains.follow(partial(_end, FORCE_COMPLETE, changes, using=using, actor=actor, reason=reason), execution_id)


def _end(verb: Verb, changes: dict[str, Any], execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    status = changes["status"]
    with give(verb, execution_id, using=using, actor=actor, reason=reason, parent_first=True) as subject:
        execution = subject.execution
        if subject.timer.held and (execution.started_at is not None or execution.paused_at is not None):
            subject.change_timer(held=False)  # as a child of a map it has had its turn, and hands it on
        turn = children.tell_parent(execution, has_failed=status != Status.COMPLETED, using=using)
        Timer.objects.using(using).filter(pk=execution.pk)._raw_delete(using=using)
        subject.change(
            stuck_reason="",
            waiting_for="",
            waiting_until=None,
            paused_at=None,
            finished_at=DatabaseNow(),
            **changes,
        )
        if turn is not None:
            countdown.hand_on(turn, queue=execution.queue, using=using)
        if execution.limited:
            slots.give_back(execution.pk, using=using)
        transitions.cancel_children(execution.pk, using=using)
        signals.send_on_commit(
            signals.execution_closed,
            sender=Execution,
            using=using,
            execution_id=execution.pk,
            workflow=execution.workflow,
            status=status,
        )
