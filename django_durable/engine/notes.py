"""Recorded facts without a body of their own: ctx.note and ctx.now."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django_durable.engine import payloads
from django_durable.engine.matching import Matcher
from django_durable.models import Kind


def note(matcher: Matcher, text: str) -> None:
    _fact(matcher, Kind.NOTE, "note", lambda: text)


def now(matcher: Matcher) -> datetime:
    """The database's clock at the first run."""
    value: datetime = _fact(matcher, Kind.NOW, "now", matcher.claim.now)
    return value


def _fact(matcher: Matcher, kind: Kind, name: str, fact: Any) -> Any:
    call = matcher.enter(kind, name)
    if call.recorded is None:
        result = payloads.dump(fact())
        matcher.settle(call, call.checkpoint(result=result, finished_at=matcher.claim.now()))
    assert call.recorded is not None
    return matcher.stored(payloads.load, call.recorded.result)
