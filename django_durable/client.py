"""The client: what views, commands, the admin and the API call from outside a workflow.

Framework-free. Everything that writes joins the caller's transaction on our alias, so it happens with the caller's
own rows or not at all; workers are told after the commit.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from django.db import connections, models, transaction
from django.views.decorators.debug import sensitive_variables

from django_durable import clock
from django_durable.conf import get_settings
from django_durable.context import SignalType, check_signal, signal_name
from django_durable.definitions import (
    NO_OPTIONS,
    PreparedStart,
    Started,
    StartOptions,
    WorkflowDefinition,
    bind_starter,
    registry,
)
from django_durable.engine import deliveries, inbox, payloads, repairs, snapshot, starting, tokens, transitions
from django_durable.exceptions import (
    ExecutionCancelledError,
    ExecutionClosedError,
    ExecutionFailedError,
    ExecutionNotFoundError,
    ExecutionTerminatedError,
    ExecutionTimedOutError,
    InvalidOptionError,
    ResultTimeoutError,
    TransactionOpenError,
    UsedTokenError,
)
from django_durable.models import Delivery, Execution, Status, StepStatus
from django_durable.names import check_key, check_name

T = TypeVar("T")
POLL_SECONDS = (0.02, 0.5)  # first and longest pause while waiting for a result
Target = Execution | Started | UUID | str
_ENDED = {
    Status.CANCELLED: ExecutionCancelledError,
    Status.TERMINATED: ExecutionTerminatedError,
    Status.TIMED_OUT: ExecutionTimedOutError,
}


# -- starting ------------------------------------------------------------------------------------------


def get_workflow(name: str, version: int | None = None) -> WorkflowDefinition[..., Any]:
    """A registered workflow, for starting it by name: ``get_workflow("orders.fulfil").using(key=...).start(...)``.

    version: default the newest. Raises UnknownWorkflowError.
    """
    return registry.find(name, version)


def start(workflow: str | WorkflowDefinition[..., Any], *args: Any, **kwargs: Any) -> Execution:
    """Start an execution by its registered name or definition; see ``WorkflowDefinition.start``.

    Options, such as a key, go through ``get_workflow(name).using(...)``.
    Raises UnknownWorkflowError, TypeError for wrong arguments, CodecError. Transaction: the caller's, or its own;
    one statement on PostgreSQL, two elsewhere.
    """
    definition = get_workflow(workflow) if isinstance(workflow, str) else workflow
    return starting.start(definition, NO_OPTIONS, args, kwargs)[0]


# -- talking to a live execution -----------------------------------------------------------------------


def signal(
    execution: Target,
    signal: SignalType[T] | str,
    payload: T | None = None,
    *,
    signal_id: str | None = None,
    using: str | None = None,
) -> bool:
    """Store a signal for an execution, whether or not it waits for it yet.

    signal_id: makes repeats harmless; False is returned for one that was accepted before.
    Raises ExecutionNotFoundError, ExecutionClosedError, CodecError. Transaction: the caller's; one statement on
    PostgreSQL, three elsewhere.
    """
    name, text = _message(signal, payload, signal_id)
    return inbox.accept(_id_of(execution), name, text, signal_id=signal_id, using=_alias(using))


def signal_with_start(
    start: PreparedStart,
    signal: SignalType[T] | str,
    payload: T | None = None,
    *,
    signal_id: str | None = None,
) -> tuple[Execution, bool]:
    """Signal the execution that has the key, and start it first if there is none; both or neither.

    start: ``workflow.using(key=...).prepare(*args)``. signal_id: as for ``signal``.
    Returns the execution, and whether it was started here. The first look of a started one finds the signal.
    Raises what ``start`` and ``signal`` raise; ExecutionClosedError if the execution of that key has ended.
    Transaction: the caller's, or one of its own.
    """
    if not isinstance(start, PreparedStart) or start.options.key is None:
        raise InvalidOptionError("Give start=workflow.using(key=...).prepare(...); the key is how it is found again.")
    name, text = _message(signal, payload, signal_id)
    using = _alias(start.options.using)
    with transaction.atomic(using=using):
        execution, is_new = starting.start(start.definition, start.options, start.args, start.kwargs)
        try:
            inbox.accept(execution.id, name, text, signal_id=signal_id, using=using)
        except ExecutionClosedError as closed:
            raise ExecutionClosedError(closed.execution_id, closed.status, start.options.key) from None
    return execution, is_new


@sensitive_variables("token")
def signal_by_token(
    token: str, signal: SignalType[T] | str, payload: T | None = None, *, using: str | None = None
) -> UUID:
    """Use a token of ``ctx.signal_token``: store that signal for the execution that issued it. Returns its id.

    signal: the one that this place is for; a token for another one is refused.
    Raises InvalidTokenError, ExpiredTokenError, UsedTokenError, ExecutionClosedError, and as ``signal`` for the
    payload. Transaction: the caller's; the token is used when that commits.
    """
    issued = tokens.unsign(token)
    name, text = _message(signal, payload)
    address = tokens.find(issued, name, using=_alias(using))
    accepted = inbox.accept(address.execution_id, name, text, signal_id=address.signal_id, using=_alias(using))
    if not accepted:
        raise UsedTokenError(address.execution_id)
    return address.execution_id


def _message(signal: SignalType[Any] | str, payload: object, signal_id: str | None = None) -> tuple[str, str]:
    """The name and the stored text of a signal, once everything that can be checked has been."""
    name = check_signal(signal, payload)
    if signal_id is not None:
        check_key(signal_id, "signal_id")
    return name, payloads.dump(payload)


def cancel(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """Ask an execution to stop at its next durable call; a running step is not interrupted.

    The workflow sees ``Cancelled`` there and may clean up. Asking again keeps the first reason.
    Raises ExecutionNotFoundError, ExecutionClosedError. Transaction: the caller's.
    """
    transitions.request_cancel(_id_of(execution), using=_alias(using), actor=_actor(actor), reason=reason)


def terminate(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """End an execution now, without clean-up. What a worker still does on it is not recorded.

    Raises ExecutionNotFoundError, ExecutionClosedError. Transaction: the caller's.
    """
    transitions.terminate(_id_of(execution), using=_alias(using), actor=_actor(actor), reason=reason)


# -- helping a compensation that gave up -----------------------------------------------------------------


def retry_compensation(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """Try the compensation in which an execution is stuck once more; it goes on by itself if that succeeds.

    Raises ExecutionConflict if it is not stuck in one, ExecutionNotFoundError. Transaction: the caller's.
    """
    repairs.retry_compensation(_id_of(execution), using=_alias(using), actor=_actor(actor), reason=reason)


def skip_compensation(execution: Target, *, reason: str = "", actor: object = "", using: str | None = None) -> None:
    """Go on without the compensation in which an execution is stuck; it will end as ``compensation_failed``.

    Raises ExecutionConflict if it is not stuck in one, ExecutionNotFoundError. Transaction: the caller's.
    """
    repairs.settle_compensation(
        _id_of(execution), StepStatus.SKIPPED, None, using=_alias(using), actor=_actor(actor), reason=reason
    )


def resolve_compensation(
    execution: Target, result: object = None, *, reason: str = "", actor: object = "", using: str | None = None
) -> None:
    """Record that the compensation in which an execution is stuck was done by hand; it goes on as if it had succeeded.

    result: for the history. Raises ExecutionConflict if it is not stuck in one, ExecutionNotFoundError, CodecError.
    Transaction: the caller's.
    """
    text = payloads.dump(result)
    repairs.settle_compensation(
        _id_of(execution), StepStatus.COMPLETED, text, using=_alias(using), actor=_actor(actor), reason=reason
    )


def retry_delivery(
    delivery: Delivery | UUID | str, *, reason: str = "", actor: object = "", using: str | None = None
) -> None:
    """Deliver an event that a receiver has failed to take, or will be offered later, now; all attempts begin anew.

    Raises DeliveryConflict if it is delivered, being tried at this moment, or gone. Transaction: the caller's.
    """
    deliveries.retry(_id_of(delivery), using=_alias(using), actor=_actor(actor), reason=reason)


# -- reading -------------------------------------------------------------------------------------------


def get(execution: Target, *, using: str | None = None) -> Execution:
    """The row as it is now, its timer beside it. Raises ExecutionNotFoundError."""
    found = Execution.objects.using(_alias(using)).select_related("timer").filter(pk=_id_of(execution)).first()
    if found is None:
        raise ExecutionNotFoundError(_id_of(execution))
    return found


@sensitive_variables("token")
def get_by_token(token: str, signal: SignalType[Any] | str, *, using: str | None = None) -> Execution:
    """The execution that issued a token, for a page that asks before it acts; the token stays unused.

    Raises what ``signal_by_token`` would raise now.
    """
    address = tokens.find(tokens.unsign(token), signal_name(signal), using=_alias(using))
    found = get(address.execution_id, using=using)
    if found.is_closed:
        raise ExecutionClosedError(found.id, found.status)
    return found


def find(
    *,
    status: str | None = None,
    workflow: str | None = None,
    key: str | None = None,
    using: str | None = None,
) -> models.QuerySet[Execution]:
    """Executions, newest first, without payloads. Raises InvalidOptionError for a status that does not exist."""
    found = Execution.objects.using(_alias(using)).without_payloads().order_by("-created_at")
    if status is not None:
        if status not in Status.values:
            raise InvalidOptionError(f"status={status!r}: give one of {', '.join(Status.values)}.")
        found = found.running() if status == Status.RUNNING else found.filter(status=status)
    if workflow is not None:
        found = found.filter(workflow=check_name(workflow, "Workflow name"))
    return found if key is None else found.filter(key=key)


def inspect(execution: Target, *, using: str | None = None) -> snapshot.Snapshot:
    """Everything about one execution as plain data. Raises ExecutionNotFoundError."""
    return snapshot.take(get(execution, using=using), using=_alias(using))


def result(execution: Target, *, timeout: timedelta | float | None = None, using: str | None = None) -> Any:
    """Wait for the end and return the workflow's result.

    timeout: seconds or a timedelta, None for no limit; ResultTimeoutError when it runs out.
    Raises ExecutionFailedError or its Cancelled, Terminated and TimedOut forms; ExecutionNotFoundError;
    TransactionOpenError inside a transaction while the execution is open: it could never finish.
    """
    limit = None if timeout is None else clock.to_seconds(timeout, "timeout")
    ends_at = None if limit is None else clock.monotonic() + limit
    pause = POLL_SECONDS[0]
    while True:
        found = get(execution, using=using)
        if found.is_closed:
            return _result_of(found)
        refuse_transaction(using)
        if ends_at is not None and clock.monotonic() + pause > ends_at:
            raise ResultTimeoutError(f"Execution {found.id} is still {found.status} after {limit:g} s.")
        time.sleep(pause)
        pause = min(pause * 1.5, POLL_SECONDS[1])


def start_and_wait(workflow: str | WorkflowDefinition[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``start`` and ``result`` in one; refused inside a transaction before anything is written."""
    refuse_transaction(None)
    return result(start(workflow, *args, **kwargs))


def refuse_transaction(using: str | None) -> None:
    """Raise TransactionOpenError if the caller's transaction would hide the answer from it."""
    if connections[_alias(using)].in_atomic_block or clock.is_frozen():
        raise TransactionOpenError(
            "Waiting for a result inside a transaction can never succeed: workers see the execution only after the "
            "commit. Wait outside of atomic() and ATOMIC_REQUESTS; in a TestCase call run_until_idle() first."
        )


def _result_of(execution: Execution) -> Any:
    if execution.status == Status.COMPLETED:
        return payloads.load(execution.result or "")
    failed = _ENDED.get(Status(execution.status), ExecutionFailedError)
    if execution.error is None:
        raise failed(execution.id, message=execution.cancel_reason)
    error = payloads.load_error(execution.error)
    raise failed(execution.id, execution.error_type or error.type_name, error.message, error.traceback_text or "")


def _alias(using: str | None) -> str:
    return using or get_settings().database


def _id_of(execution: Target | Delivery) -> UUID:
    if isinstance(execution, str):
        try:
            return UUID(execution)
        except ValueError:
            raise InvalidOptionError(f"{execution!r} is not an execution id; give a UUID.") from None
    found = execution if isinstance(execution, UUID) else getattr(execution, "id", None)
    if not isinstance(found, UUID):
        raise InvalidOptionError(f"{execution!r} is not an execution; give one, or its id.")
    return found


def _actor(actor: object) -> str:
    """Who did it, as text that outlives the user's row."""
    if isinstance(actor, models.Model):
        return f"{actor._meta.label_lower}:{actor.pk} {actor}"[:200]
    return str(actor)[:200]


class _Door:
    """What definitions may ask of the client."""

    def start(
        self,
        definition: WorkflowDefinition[..., Any],
        options: StartOptions,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Started:
        return starting.start(definition, options, args, kwargs)[0]

    def wait(self, started: Started, *, timeout_seconds: float | None, using: str | None) -> Any:
        return result(started, timeout=timeout_seconds, using=using)

    def refuse_transaction(self, using: str | None) -> None:
        refuse_transaction(using)


bind_starter(_Door())
