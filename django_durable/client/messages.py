"""Talking to a live execution: signals, tokens, updates."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from django_durable import polling
from django_durable.answers import LONGEST_NAME
from django_durable.client.reading import definition_of, refuse_transaction
from django_durable.client.targets import Target, alias_of, id_of
from django_durable.definitions import PreparedStart
from django_durable.engine import inbox, payloads, starting, tokens, updates
from django_durable.exceptions import ExecutionClosedError, InvalidOptionError, UsedTokenError
from django_durable.models import Execution
from django_durable.names import check_key
from django_durable.signal_types import SignalType, check_signal

T = TypeVar("T")


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
    return inbox.accept(id_of(execution), name, text, signal_id=signal_id, using=alias_of(using))


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
    using = alias_of(start.options.using)
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
    address = tokens.find(issued, name, using=alias_of(using))
    accepted = inbox.accept(address.execution_id, name, text, signal_id=address.signal_id, using=alias_of(using))
    if not accepted:
        raise UsedTokenError(address.execution_id)
    return address.execution_id


def update(
    execution: Target,
    name: str,
    payload: object = None,
    *,
    update_id: str | None = None,
    timeout: timedelta | float | None = 30.0,
    using: str | None = None,
) -> Any:
    """Have a live execution answer an update of its workflow, ``@workflow.update(name)``, and return the reply.

    update_id: makes repeats harmless; each of them gets the first reply. timeout: as of ``result``; the request stays,
    and the same update_id asks for its reply again. The execution answers when it next waits.
    Raises UpdateFailed if the handler raised, what the validator raises, ExecutionClosedError if it ends or has ended
    without a reply, ResultTimeoutError, InvalidOptionError, CodecError, ExecutionNotFoundError, UnknownWorkflowError;
    TransactionOpenError inside a transaction, before anything is written.
    """
    refuse_transaction(using)
    request_id = send_update(execution, name, payload, update_id=update_id, using=using)
    return update_result(execution, request_id, timeout=timeout, using=using)


def send_update(
    execution: Target, name: str, payload: object = None, *, update_id: str | None = None, using: str | None = None
) -> UUID:
    """Store an update without waiting for its reply; its id, for ``update_result``. Raises as ``update`` before that.

    Transaction: the caller's; one SELECT, and what a signal costs.
    """
    if update_id is not None and len(check_key(update_id, "update_id")) > LONGEST_NAME:
        raise InvalidOptionError(f"update_id={update_id!r}: give at most {LONGEST_NAME} characters.")
    definition_of(execution, using).find_update(name).check(name, payload)
    return updates.ask(id_of(execution), name, payloads.dump(payload), update_id=update_id, using=alias_of(using))


def update_result(
    execution: Target, update: UUID, *, timeout: timedelta | float | None = None, using: str | None = None
) -> Any:
    """Wait for the reply to an update and return it. Raises as ``update``; inside a transaction only while it is open.

    update: what ``send_update`` returned. timeout: as of ``result``, 0 looks once.
    """
    if not isinstance(update, UUID):
        raise InvalidOptionError(f"update_result(..., {update!r}): give what send_update returned.")
    look = partial(updates.reply, id_of(execution), update, using=alias_of(using))
    return polling.wait(look, timeout, partial(refuse_transaction, using))


def _message(signal: SignalType[Any] | str, payload: object, signal_id: str | None = None) -> tuple[str, str]:
    """The name and the stored text of a signal, once everything that can be checked has been."""
    name = check_signal(signal, payload)
    if signal_id is not None:
        check_key(signal_id, "signal_id")
    return name, payloads.dump(payload)
