"""Recorded facts without a body of their own: ctx.note and ctx.now."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django_durable.engine import payloads
from django_durable.engine.history import Checkpoint
from django_durable.engine.matching import Matcher
from django_durable.engine.recorder import Call
from django_durable.models import Kind


def note(matcher: Matcher, text: str) -> None:
    _fact(matcher, Kind.NOTE, "note", lambda: text, record=matcher.defer)


def now(matcher: Matcher) -> datetime:
    """The database's clock at the first run."""
    value: datetime = _fact(matcher, Kind.NOW, "now", matcher.claim.now, record=matcher.settle)
    return value


def _fact(matcher: Matcher, kind: Kind, name: str, fact: Any, *, record: Callable[[Call, Checkpoint], Any]) -> Any:
    """record: a time may be used outside, so it is durable before anybody has it; a note may wait for what follows."""
    call = matcher.enter(kind, name)
    if call.recorded is None:
        fixed = call.checkpoint(result=payloads.dump(fact()), finished_at=matcher.claim.now())
        record(call, fixed)
    assert call.recorded is not None
    return matcher.stored(payloads.load, call.recorded.result)
