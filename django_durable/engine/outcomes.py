"""How a pass can end. A workflow function is left by a return, an error, or a Suspend that carries one of these."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_durable.engine.history import Checkpoint
from django_durable.exceptions import DurableError, Suspend
from django_durable.models import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """Wait for a time, for news, or for both.

    checkpoint: the open one to be recorded with the park if it is_new. until None: only news can end it.
    """

    checkpoint: Checkpoint
    is_new: bool
    status: Status
    until: datetime | None
    waiting_for: str


@dataclass(frozen=True, slots=True)
class HandBack:
    """This worker is stopping."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The code does not fit the history, or swallowed its control flow: new code is needed."""

    error: DurableError


@dataclass(frozen=True, slots=True)
class Abandon:
    """The lease is lost or the database stays away: write nothing more."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Returned:
    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    error: BaseException


Leaving = Park | HandBack | Mismatch | Abandon
Outcome = Leaving | Returned | Raised


class Leave(Suspend):
    """The engine's Suspend: unwinds the workflow function; ``why`` says what to do then."""

    def __init__(self, why: Leaving) -> None:
        super().__init__(type(why).__name__)
        self.why = why
