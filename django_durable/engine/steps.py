"""Steps: run a body until its outcome is recorded, and hand the recorded outcome out ever after."""

from __future__ import annotations

import random
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import Signal

from django_durable import clock, codec
from django_durable import signals as django_signals
from django_durable.definitions import StepDefinition
from django_durable.engine import bodies, history, payloads, step_limits
from django_durable.engine.history import Checkpoint
from django_durable.engine.matching import Matcher
from django_durable.engine.outcomes import Want, Wants
from django_durable.engine.progress import BodyLink
from django_durable.engine.reconnect import is_passing, persist
from django_durable.engine.recorder import Call
from django_durable.exceptions import (
    Cancelled,
    CodecError,
    ControlFlow,
    InvalidOptionError,
    StepFailed,
    StepInterrupted,
    StepTimedOut,
)
from django_durable.limits import Wanted
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
    """Make one attempt and record what came of it; in a branch beside others leave it to the outermost part."""
    running = matcher.shared.in_flight.get(call.name)
    if running is not None:
        raise matcher.leave(Wants((running,)))
    if call.recorded is not None and call.recorded.status == StepStatus.STARTED:
        interrupted = StepInterrupted(call.name, "StepInterrupted", "its worker died before the outcome was recorded")
        _record_failure(matcher, call, definition, interrupted, attempt=call.recorded.attempts)
        return
    not_before = _next_attempt_at(matcher, call)
    attempt = call.recorded.attempts + 1 if call.recorded else 1
    body = partial(_timed_call, matcher, call, definition, attempt, args, kwargs)
    try:
        wanted = definition.wanted(args, kwargs)
    except InvalidOptionError as error:  # by its limit's key function
        _record_failure(matcher, call, definition, error, attempt=attempt)
        return
    # What is atomic needs the pass's own connection, and what is undone is undone in order.
    in_place = definition.atomic or call.is_undoing
    seconds = 0.0 if not_before is None else max((not_before - matcher.claim.now()).total_seconds(), 0.0)
    if matcher.shared.hands_over and (seconds > 0 or not in_place):
        if wanted is not None and call.name in matcher.shared.full and not matcher.shared.in_flight:
            raise step_limits.park(matcher, call, wanted)
        want = Want(
            name=call.name,
            not_before=not_before,
            in_place=in_place,
            is_interrupted=lambda: not call.is_undoing and matcher.due_interruption() is not None,
            begin=partial(_begin, matcher, call, definition, attempt, wanted),
            body=body,
            record=partial(_record, matcher, call, definition, attempt),
        )
        raise matcher.leave(Wants((want,)))
    if seconds:
        time.sleep(seconds)
    matcher.before_new_work()
    if not _begin(matcher, call, definition, attempt, wanted):
        assert wanted is not None
        raise step_limits.park(matcher, call, wanted)
    _record(matcher, call, definition, attempt, body)


def _begin(
    matcher: Matcher, call: Call, definition: StepDefinition[..., Any], attempt: int, wanted: Wanted | None
) -> bool:
    """Record what must stand before the body runs. False: the step's limit is full."""
    if wanted is not None and not step_limits.take(matcher, call, wanted):
        return False
    try:
        if definition.at_most_once:
            matcher.settle(call, call.checkpoint(status=StepStatus.STARTED, attempts=attempt))
        elif not definition.atomic:  # which records it in its own transaction
            matcher.publish(call)
    except Cancelled:
        step_limits.give_back(matcher, call)
        raise
    return True


def _record(
    matcher: Matcher, call: Call, definition: StepDefinition[..., Any], attempt: int, outcome: Callable[[], Any]
) -> None:
    """outcome: returns the body's value or raises its error."""
    try:
        if definition.atomic:
            _attempt_atomic(matcher, call, outcome, attempt)
        else:
            matcher.settle(call, _completed(matcher, call, outcome(), attempt))
    except Exception as error:
        _record_failure(matcher, call, definition, error, attempt=attempt)
    step_limits.give_back(matcher, call)


def _timed_call(
    matcher: Matcher, call: Call, definition: StepDefinition[..., Any], attempt: int, args: Any, kwargs: Any
) -> Any:
    """The body's value; StepTimedOut also when it shared our connection and could not be abandoned in time."""
    began, limit = clock.monotonic(), definition.timeout_seconds
    link = BodyLink(matcher.claim, matcher.shared.progress, began + limit if limit is not None else None)
    run = matcher.shared.runs[call.name] + 1
    info = StepInfo(execution_id=matcher.execution_id, step_id=call.name, attempt=attempt, run=run, link=link)
    try:
        value = bodies.call(definition, args, kwargs, info=info, using=matcher.claim.using)
    except ControlFlow as error:  # it is the workflow function's to leave by, and not every body runs inside of that
        raise RuntimeError(f"The body of step {call.name!r} raised {error!r}; let it raise an Exception.") from error
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


def _attempt_atomic(matcher: Matcher, call: Call, body: Callable[[], Any], attempt: int) -> None:
    """Body and checkpoint in one transaction; the fence comes behind the body.

    A commit without reply is looked up by the checkpoint's id before anything is repeated. The body runs again
    after a deadlock or a lost connection; its writes count once.
    """
    using = matcher.claim.using
    checkpoint_id = call.checkpoint().id

    def once() -> Checkpoint:
        with transaction.atomic(using=using):
            try:
                checkpoint = _completed(matcher, call, body(), attempt)
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
    _tell_failure(matcher, call, error, attempt=attempt, delay=delay)


def _tell_failure(matcher: Matcher, call: Call, error: Exception, *, attempt: int, delay: float | None) -> None:
    """To whom it may concern: of every attempt, of those that are made again, took too long, or gave up undoing."""
    about = {"execution_id": matcher.execution_id, "step_id": call.name, "attempt": attempt}
    type_name, will_retry = type(error).__qualname__, delay is not None

    def send(signal: Signal, **facts: Any) -> None:
        django_signals.send_on_commit(signal, sender=Step, using=matcher.claim.using, **about, **facts)

    send(django_signals.step_failed, type_name=type_name, will_retry=will_retry)
    if will_retry:
        send(django_signals.step_retried, type_name=type_name, delay_seconds=delay)
    if isinstance(error, StepTimedOut):
        send(django_signals.step_timed_out, will_retry=will_retry)
    if call.is_undoing and not will_retry:
        send(django_signals.compensation_gave_up, type_name=type_name)


def _retry_delay(
    definition: StepDefinition[..., Any], error: Exception, attempt: int, *, elapsed: float
) -> float | None:
    if isinstance(error, (StepInterrupted, CodecError, *definition.raises)):
        return None
    return definition.retry.next_delay_seconds(error, attempt=attempt, elapsed_seconds=elapsed, random=_jitter)


def _next_attempt_at(matcher: Matcher, call: Call) -> datetime | None:
    """The end of a short back-off, which is not worth giving the execution away; a long one frees the worker."""
    if call.recorded is None or call.recorded.due_at is None:
        return None
    matcher.interrupt_if_due(call)
    remaining = (call.recorded.due_at - matcher.claim.now()).total_seconds()
    if remaining <= matcher.shared.short_wait_seconds:
        return call.recorded.due_at
    raise matcher.park(
        call,
        call.recorded,
        status=Status.RETRYING,
        until=call.recorded.due_at,
        waiting_for=f"retry of {call.name} after attempt {call.recorded.attempts}",
    )


def _outcome(matcher: Matcher, recorded: Checkpoint, definition: StepDefinition[..., Any]) -> Any:
    """The recorded value, or the recorded error: built from the checkpoint in the first run and in every replay."""
    if recorded.status in (StepStatus.COMPLETED, StepStatus.SKIPPED):
        return matcher.stored(payloads.load, recorded.result)
    error = matcher.stored(payloads.load_error, recorded.error)
    declared = codec.rebuild_error(error, definition.raises)
    if declared is not None:
        raise declared
    failed = _LIBRARY_ERRORS.get(error.type_name, StepFailed)
    raise failed(recorded.name, error.type_name, error.message, error.traceback_text or "", recorded.attempts)
