"""Updates: requests from outside that change the state of a live execution and get a reply.

A request is kept as a signal whose name no user can send. A pass that is about to park answers what has come: the
handlers run over the state as it is, and each answer becomes a checkpoint with the id of its request, so that there can
only be one. Nothing depends on an answer before it is recorded: it goes with the park, or with whatever the workflow
does next when what it waits for has come by this.

The calls that wait are recorded before the answers. So the code sees a changed state behind the wait, never before it,
and a replay changes the state at the same places without asking a handler.
"""

from __future__ import annotations

import traceback
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

from django_durable import codec
from django_durable.answers import Answering
from django_durable.clock import DatabaseNow
from django_durable.engine import history, inbox, payloads
from django_durable.engine.changes import Change, State, View, changes_state
from django_durable.engine.history import Checkpoint, PendingSignal
from django_durable.engine.journal import consume
from django_durable.engine.matching import Matcher
from django_durable.engine.outcomes import Outcome, Park
from django_durable.engine.refusals import not_open
from django_durable.engine.scopes import scope_of
from django_durable.exceptions import (
    ControlFlow,
    ExecutionClosedError,
    ExecutionConflict,
    InvalidOptionError,
    UpdateFailed,
)
from django_durable.models import CLOSED, Kind, Signal, Step, StepStatus

PREFIX = "update/"  # signals of users have no slash in their names
_KEY = "update\t"  # and nothing unprintable in their ids

# -- in a pass -----------------------------------------------------------------------------------------


def look_again(matcher: Matcher, workflow: Answering, outcome: Outcome) -> bool:
    """Answer what has come, before a park. True: run the function again, for the state it waits on has changed.

    Not once its end is decided: who asks then is told that it has ended, when it has.
    """
    shared = matcher.shared
    if not isinstance(outcome, Park) or _has_ended(matcher):
        return False
    pending = [signal for signal in matcher.journal.inbox if signal.name.startswith(PREFIX)]
    if pending:
        _open(matcher, outcome)
    for signal in pending:
        checkpoint = _answer(matcher, workflow, signal)
        matcher.journal.answer(checkpoint)
        if changes_state(checkpoint):
            shared.log.append(Change(checkpoint))
    return bool(pending) or shared.asked_about < len(shared.log)


def _has_ended(matcher: Matcher) -> bool:
    return any(checkpoint.kind == Kind.ROLLBACK for checkpoint in matcher.shared.history(""))


def _open(matcher: Matcher, park: Park) -> None:
    """Record the calls that wait before what they are to see."""
    for checkpoint, is_new in park.opens:
        if is_new:
            opened = replace(checkpoint, position=matcher.journal.next_position)
            matcher.journal.defer(opened)
            matcher.shared.history(scope_of(opened.name)).append(opened)


def _answer(matcher: Matcher, workflow: Answering, signal: PendingSignal) -> Checkpoint:
    name = signal.name.removeprefix(PREFIX)
    shared, now = matcher.shared, matcher.journal.completion_at(matcher.claim.now())
    shared.updates[name] += 1
    number = shared.updates[name]
    step_id = f"__update:{name}" if number == 1 else f"__update:{name}#{number}"
    checkpoint = Checkpoint(
        id=signal.id,
        position=matcher.journal.next_position,
        name=step_id,
        kind=Kind.UPDATE,
        target=name,
        started_at=now,
        finished_at=now,
        beside=partial(consume, matcher.claim, signal.id, step_id),
    )
    try:
        result = _handled(workflow, name, signal.payload, View(shared.log).at(None))
    except (
        Exception,
        ControlFlow,
    ) as error:  # also of the codec: of what is given, what is returned, and what the state has become
        text = payloads.dump_error(error, traceback_text="".join(traceback.format_exception(error)))
        return replace(checkpoint, status=StepStatus.FAILED, error=text)
    return replace(checkpoint, result=result)


def _handled(workflow: Answering, name: str, payload: str, before: State) -> str:
    """The reply and what has changed, encoded."""
    after = deepcopy(before)
    reply = workflow.find_update(name).fn(after, payloads.load(payload))
    changed = {key: value for key, value in after.items() if key not in before or _differ(before[key], value)}
    removed = [key for key in before if key not in after]
    return payloads.dump({"reply": reply, "set": changed, "removed": removed})


def _differ(one: object, other: object) -> bool:
    """As they are stored: 1, 1.0 and True are three values."""
    return codec.encode(one) != codec.encode(other)


# -- outside -------------------------------------------------------------------------------------------


def ask(execution_id: UUID, name: str, payload: str, *, update_id: str | None, using: str) -> UUID:
    """Store a request and wake the execution, in one transaction; its id, or that of the first with that update_id.

    payload: encoded. Raises ExecutionNotFoundError, ExecutionClosedError; ExecutionConflict for an update_id that
    another update has.
    """
    signal_id = None if update_id is None else _KEY + update_id
    request = Signal(
        execution_id=execution_id,
        name=PREFIX + name,
        payload=payload,
        signal_id=signal_id,
        accepted_at=DatabaseNow(),
    )
    if inbox.store(request, using=using):
        return request.id
    first = Signal.objects.using(using).accepted(execution_id, _KEY + str(update_id)).get()
    if first.name != request.name:
        used = first.name.removeprefix(PREFIX)
        raise ExecutionConflict(f"The update_id {update_id!r} was used for update {used!r}; give {name!r} another one.")
    return first.id


def reply(execution_id: UUID, request_id: UUID, *, using: str) -> list[Any] | str:
    """The reply, in a list; a text that says so as long as there is none.

    The status is read first: what had ended then has said all that it will.
    Raises UpdateFailed, ExecutionClosedError if it has ended without a reply, InvalidOptionError for no id of its
    updates, ExecutionNotFoundError.
    """
    requests = Signal.objects.using(using).of_chain(execution_id).filter(pk=request_id, name__startswith=PREFIX)
    row = requests.values_list("name", "execution_id", "execution__status").first()
    if row is None:
        raise _no_request(execution_id, request_id, using)
    name, execution_id, status = row  # of what it was continued as, if that has taken the request over
    answered = Step.objects.using(using).filter(pk=request_id).values_list("status", "result", "error").first()
    if answered is None:
        if status in CLOSED:
            raise ExecutionClosedError(execution_id, status)
        return f"Update {name.removeprefix(PREFIX)!r} of execution {execution_id} is still unanswered"
    outcome, result, error = answered
    if outcome == StepStatus.COMPLETED:
        return [payloads.load(result or "")["reply"]]
    failed = payloads.load_error(error or "")
    raise UpdateFailed(name.removeprefix(PREFIX), failed.type_name, failed.message, failed.traceback_text or "")


def _no_request(execution_id: UUID, request_id: UUID, using: str) -> Exception:
    missing = not_open(execution_id, using=using)
    if isinstance(missing, ExecutionClosedError):
        return InvalidOptionError(f"{request_id} is no update of execution {execution_id}; give what send_update gave.")
    return missing


def state_of(execution_id: UUID, *, using: str) -> State:
    """The whole state as it is recorded. One SELECT. Raises CodecError."""
    changes = Step.objects.using(using).history(execution_id).filter(kind__in=(Kind.STATE, Kind.UPDATE))
    rows = [Checkpoint(*row) for row in changes.values_list(*history.FIELDS)]
    return View([Change(row) for row in rows if changes_state(row)]).at(None)
