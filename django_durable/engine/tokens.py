"""Signal tokens: what a workflow hands to somebody outside, so that they may send one signal, once.

A token is the id of its own checkpoint, signed. The checkpoint knows the rest: whose it is, which signal, until when.
So a token tells nothing, needs no table, and is worth nothing once its history is gone. The history holds no token:
who may read it may not answer for others.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from django.core.signing import BadSignature, Signer

from django_durable.clock import DatabaseNow
from django_durable.engine import inbox
from django_durable.engine.matching import Matcher
from django_durable.exceptions import ExpiredTokenError, InvalidTokenError, UsedTokenError
from django_durable.models import Kind, Step


@dataclass(frozen=True, slots=True)
class Address:
    """Where the signal of a token goes. signal_id: the one that all uses of the token share, so there is one use."""

    execution_id: UUID
    signal_id: str


def issue(matcher: Matcher, signal: str, lifetime_seconds: float) -> str:
    """Record the token's end by the database's clock, and sign; a replay signs the same again."""
    call = matcher.enter(Kind.TOKEN, f"token:{signal}", target=signal)
    if call.recorded is None:
        ends_at = call.entered_at + timedelta(seconds=lifetime_seconds)
        matcher.settle(call, call.checkpoint(due_at=ends_at, finished_at=matcher.claim.now()))
    assert call.recorded is not None
    return _signer().sign(call.recorded.id.hex)


def unsign(token: object) -> UUID:
    """The checkpoint that a token names. Raises InvalidTokenError for anything that we have not signed."""
    if not isinstance(token, str) or not token.isascii():  # lone surrogates cannot even be compared
        raise InvalidTokenError
    try:
        return UUID(_signer().unsign(token))
    except BadSignature:
        raise InvalidTokenError from None


def find(checkpoint_id: UUID, signal: str, *, using: str) -> Address:
    """Where that token leads, if it may be used now. Two SELECTs.

    Raises UsedTokenError, ExpiredTokenError; InvalidTokenError if its history is gone or it is for another signal.
    """
    issued = Step.objects.using(using).filter(pk=checkpoint_id, kind=Kind.TOKEN, target=signal)
    row = issued.values_list("execution_id", "due_at", DatabaseNow()).first()
    if row is None:
        raise InvalidTokenError
    execution_id, ends_at, now = row
    address = Address(execution_id, f"token:{checkpoint_id}")
    if inbox.was_accepted(execution_id, address.signal_id, using=using):
        raise UsedTokenError(execution_id)
    if ends_at <= now:
        raise ExpiredTokenError(execution_id)
    return address


def _signer() -> Signer:
    # Made anew: it reads the project's keys. A dot needs no escaping in any part of a URL, Django's colon does.
    return Signer(sep=".", salt="django_durable.signal_token")
