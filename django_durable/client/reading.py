"""Reading: rows, snapshots, results."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.db import connections, models
from django.views.decorators.debug import sensitive_variables

from django_durable import clock, polling
from django_durable.client.targets import Target, alias_of, id_of
from django_durable.definitions import WorkflowDefinition, registry
from django_durable.engine import endings, log_lines, snapshot, tokens, updates
from django_durable.exceptions import (
    ExecutionClosedError,
    ExecutionNotFoundError,
    TransactionOpenError,
)
from django_durable.models import Execution, LogLine, Status
from django_durable.signal_types import SignalType, signal_name


def get(execution: Target, *, using: str | None = None) -> Execution:
    """The row as it is now, its timer beside it. Raises ExecutionNotFoundError."""
    found = Execution.objects.using(alias_of(using)).select_related("timer").filter(pk=id_of(execution)).first()
    if found is None:
        raise ExecutionNotFoundError(id_of(execution))
    return found


def latest(execution: Target, *, using: str | None = None) -> Execution:
    """The row of what an execution was continued as by ``ctx.continue_as_new``; its own if it was not.

    Raises ExecutionNotFoundError, also if that one has been deleted.
    """
    found = get(execution, using=using)
    if found.status != Status.CONTINUED:
        return found
    executions = Execution.objects.using(alias_of(using)).select_related("timer")
    last = executions.last_of(found.chain).first()
    if last is None:
        raise ExecutionNotFoundError(found.id)
    return last


@sensitive_variables("token")
def get_by_token(token: str, signal: SignalType[Any] | str, *, using: str | None = None) -> Execution:
    """The execution that issued a token, for a page that asks before it acts; the token stays unused.

    Raises what ``signal_by_token`` would raise now.
    """
    address = tokens.find(tokens.unsign(token), signal_name(signal), using=alias_of(using))
    found = latest(address.execution_id, using=using)
    if found.is_closed:
        raise ExecutionClosedError(found.id, found.status)
    return found


def inspect(execution: Target, *, using: str | None = None) -> snapshot.Snapshot:
    """Everything about one execution as plain data. Raises ExecutionNotFoundError."""
    return snapshot.take(get(execution, using=using), using=alias_of(using))


def query(execution: Target, name: str, *, using: str | None = None) -> Any:
    """What a query of its workflow, ``@workflow.query(name)``, makes of the state of an execution, open or closed.

    Of one that was continued as new: of the last one's state.

    It runs here; no worker is asked. It sees what is recorded: what a pass sets is, once that records anything more.
    Raises InvalidOptionError for a name that the workflow does not have, what the query raises, CodecError for a state
    that cannot be read here, UnknownWorkflowError, ExecutionNotFoundError. Two SELECTs.
    """
    found = latest(execution, using=using)
    ask = registry.find(found.workflow, found.version).find_query(name)
    return ask(updates.state_of(found.pk, using=alias_of(using)))


def definition_of(execution: Target, using: str | None) -> WorkflowDefinition[..., Any]:
    executions = Execution.objects.using(alias_of(using))
    for row in executions.filter(pk=id_of(execution)).values_list("workflow", "version"):
        return registry.find(*row)
    raise ExecutionNotFoundError(id_of(execution))


def result(execution: Target, *, timeout: timedelta | float | None = None, using: str | None = None) -> Any:
    """Wait for the end and return the workflow's result; of one that was continued, the last one's.

    timeout: seconds or a timedelta, None for no limit; ResultTimeoutError when it runs out.
    Raises ExecutionFailedError or its Cancelled, Terminated and TimedOut forms; ExecutionNotFoundError;
    TransactionOpenError inside a transaction while the execution is open: it could never finish.
    """

    def look() -> list[Any] | str:
        found = latest(execution, using=using)
        return [endings.result_of(found)] if found.is_closed else f"Execution {found.id} is still {found.status}"

    return polling.wait(look, timeout, partial(refuse_transaction, using))


def refuse_transaction(using: str | None) -> None:
    """Raise TransactionOpenError if the caller's transaction would hide the answer from it."""
    if connections[alias_of(using)].in_atomic_block or clock.is_frozen():
        raise TransactionOpenError(
            "Waiting for a result inside a transaction can never succeed: workers see the execution only after the "
            "commit. Wait outside of atomic() and ATOMIC_REQUESTS; in a TestCase call run_until_idle() first."
        )


def logs(execution: Target, *, using: str | None = None) -> models.QuerySet[LogLine]:
    """What ``ctx.log`` has said, in order, as far as ``DURABLE["LOG_LEVEL"]`` had it kept. One SELECT, when it is read.

    Of one that was continued as new: its own lines, not those of the others.
    """
    return LogLine.objects.using(alias_of(using)).of(id_of(execution))


def prune_logs(before: datetime, *, batch: int = log_lines.PAGE, using: str | None = None) -> int:
    """Delete kept log lines said before a time, the oldest first, at most ``batch`` of them; how many there were."""
    return log_lines.prune(before, using=alias_of(using), batch=batch)
