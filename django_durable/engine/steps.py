"""Steps: run a body until its outcome is recorded, and hand the recorded outcome out ever after."""

from __future__ import annotations

import random
import time
import traceback
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import transaction

from django_durable import clock, codec
from django_durable import signals as django_signals
from django_durable.definitions import StepDefinition
from django_durable.engine import bodies, history, payloads
from django_durable.engine.history import Checkpoint
from django_durable.engine.matching import Call, Matcher
from django_durable.engine.reconnect import is_passing, persist
from django_durable.exceptions import CodecError, StepFailed, StepInterrupted, StepTimedOut
from django_durable.models import Kind, Status, Step, StepStatus
from django_durable.running import StepInfo

_jitter = random.Random()
_LIBRARY_ERRORS = {f"{error.__module__}.{error.__qualname__}": error for error in (StepTimedOut, StepInterrupted)}


def run(
    matcher: Matcher, step_id: str | None, body: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[Any, Call]:
    """The value, and the settled call. Raises StepFailed or a declared error."""
    definition = bodies.as_step(body)
    name = step_id or bodies.default_step_id(definition)
    call = matcher.enter(Kind.STEP, name, target=definition.name)
    while call.recorded is None or not call.recorded.is_settled:
        attempt(matcher, call, definition, args, kwargs)
    return _outcome(matcher, call.recorded, definition), call


def attempt(matcher: Matcher, call: Call, definition: StepDefinition[..., Any], args: Any, kwargs: Any) -> None:
    """Make one attempt and record what came of it."""
    if call.recorded is not None and call.recorded.status == StepStatus.STARTED:
        interrupted = StepInterrupted(call.name, "StepInterrupted", "its worker died before the outcome was recorded")
        _record_failure(matcher, call, definition, interrupted, attempt=call.recorded.attempts)
        return
    _wait_for_next_attempt(matcher, call)
    matcher.before_new_work()
    attempt = call.recorded.attempts + 1 if call.recorded else 1
    if definition.at_most_once:
        matcher.settle(call, call.checkpoint(status=StepStatus.STARTED, attempts=attempt))
    info = StepInfo(execution_id=matcher.execution_id, step_id=call.name, attempt=attempt)
    try:
        if definition.atomic:
            _attempt_atomic(matcher, call, definition, args, kwargs, info)
        else:
            value = _timed_call(matcher, definition, args, kwargs, info)
            matcher.settle(call, _completed(matcher, call, value, attempt))
    except Exception as error:
        _record_failure(matcher, call, definition, error, attempt=attempt)


def _timed_call(matcher: Matcher, definition: StepDefinition[..., Any], args: Any, kwargs: Any, info: StepInfo) -> Any:
    """The body's value; StepTimedOut also when it shared our connection and could not be abandoned in time."""
    began = clock.monotonic()
    value = bodies.call(definition, args, kwargs, info=info, using=matcher.claim.using)
    limit = definition.timeout_seconds
    if limit is not None and clock.monotonic() - began > limit:
        raise bodies.time_out(definition)
    return value


def _completed(matcher: Matcher, call: Call, value: Any, attempt: int) -> Checkpoint:
    return call.checkpoint(
        status=StepStatus.COMPLETED,
        result=payloads.dump(value),
        error=None,
        attempts=attempt,
        due_at=None,
        finished_at=matcher.claim.now(),
    )


class _BodyFailed(Exception):
    pass


def _attempt_atomic(
    matcher: Matcher, call: Call, definition: StepDefinition[..., Any], args: Any, kwargs: Any, info: StepInfo
) -> None:
    """Body and checkpoint in one transaction, the fence as its last statement.

    A commit without reply is looked up by the checkpoint's id before anything is repeated. The body runs again
    after a deadlock or a lost connection; its writes count once.
    """
    using = matcher.claim.using
    checkpoint_id = call.checkpoint().id

    def once() -> Checkpoint:
        with transaction.atomic(using=using):
            try:
                value = _timed_call(matcher, definition, args, kwargs, info)
                checkpoint = _completed(matcher, call, value, info.attempt)
            except Exception as error:
                if is_passing(error, using):
                    raise
                raise _BodyFailed from error
            return matcher.journal.record_in_transaction(replace(checkpoint, id=checkpoint_id), is_new=call.is_new)

    def written() -> Checkpoint | None:
        found = history.find(checkpoint_id, using=using)
        return found if found is not None and found.is_settled else None

    try:
        recorded = matcher.recording(lambda: persist(using, once, written=written))
    except _BodyFailed as failed:
        assert isinstance(failed.__cause__, Exception)
        raise failed.__cause__ from failed.__cause__.__cause__
    matcher.journal.committed(is_new=call.is_new)
    matcher.remember(call, recorded)


def _record_failure(
    matcher: Matcher, call: Call, definition: StepDefinition[..., Any], error: Exception, *, attempt: int
) -> None:
    """Decide between another attempt and the end, and record it with the error."""
    now = matcher.claim.now()
    delay = _retry_delay(definition, error, attempt, elapsed=(now - call.checkpoint().started_at).total_seconds())
    text = "".join(traceback.format_exception(error))
    changes: dict[str, Any] = {"error": payloads.dump_error(error, traceback_text=text), "attempts": attempt}
    if delay is None and call.is_undoing:  # stays open for a person's decision
        changes |= {"status": StepStatus.RETRYING, "due_at": None}
    elif delay is None:
        changes |= {"status": StepStatus.FAILED, "finished_at": now, "due_at": None}
    else:
        changes |= {"status": StepStatus.RETRYING, "due_at": now + timedelta(seconds=delay)}
    matcher.settle(call, call.checkpoint(**changes))
    django_signals.send_on_commit(
        django_signals.step_failed,
        sender=Step,
        using=matcher.claim.using,
        execution_id=matcher.execution_id,
        step_id=call.name,
        attempt=attempt,
        type_name=type(error).__qualname__,
        will_retry=delay is not None,
    )


def _retry_delay(
    definition: StepDefinition[..., Any], error: Exception, attempt: int, *, elapsed: float
) -> float | None:
    if isinstance(error, (StepInterrupted, CodecError, *definition.raises)):
        return None
    return definition.retry.next_delay_seconds(error, attempt=attempt, elapsed_seconds=elapsed, random=_jitter)


def _wait_for_next_attempt(matcher: Matcher, call: Call) -> None:
    """A short back-off is waited out here; a long one frees the worker."""
    if call.recorded is None or call.recorded.due_at is None:
        return
    matcher.interrupt_if_due(call)
    remaining = (call.recorded.due_at - matcher.claim.now()).total_seconds()
    if remaining <= 0:
        return
    if remaining <= matcher.shared.short_wait_seconds:
        time.sleep(remaining)
        return
    raise matcher.park(
        call,
        call.recorded,
        status=Status.RETRYING,
        until=call.recorded.due_at,
        waiting_for=f"retry of {call.name} after attempt {call.recorded.attempts}",
    )


def _outcome(matcher: Matcher, recorded: Checkpoint, definition: StepDefinition[..., Any]) -> Any:
    """The recorded value, or the recorded error: built from the checkpoint in the first run and in every replay."""
    if recorded.status == StepStatus.COMPLETED:
        return matcher.stored(payloads.load, recorded.result)
    error = matcher.stored(payloads.load_error, recorded.error)
    declared = codec.rebuild_error(error, definition.raises)
    if declared is not None:
        raise declared
    failed = _LIBRARY_ERRORS.get(error.type_name, StepFailed)
    raise failed(recorded.name, error.type_name, error.message, error.traceback_text or "", recorded.attempts)
