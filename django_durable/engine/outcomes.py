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

    opens: what is recorded with it: open checkpoints, and whether each is new. until None: only news can end it.
    wake_seq: the news that were known when it was decided to wait; another branch may have learnt of more since.
    """

    opens: tuple[tuple[Checkpoint, bool], ...]
    status: Status
    until: datetime | None
    waiting_for: str
    wake_seq: int


@dataclass(frozen=True, slots=True)
class HandBack:
    """This worker is stopping."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The code does not fit the history, or swallowed its control flow: new code is needed."""

    error: DurableError


@dataclass(frozen=True, slots=True)
class RollingBack:
    """The history says that the end was decided here: leave the function and go on undoing."""


@dataclass(frozen=True, slots=True)
class CompensationFailed:
    """A compensation has used its attempts: a person must help. error: encoded."""

    detail: str
    error: str
    error_type: str


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is to be kept of the end. result, error: encoded."""

    status: Status
    result: str | None = None
    error: str | None = None
    error_type: str = ""


Leaving = Park | HandBack | Mismatch | RollingBack | CompensationFailed | Abandon
Outcome = Leaving | Returned | Raised | Ended


class Leave(Suspend):
    """The engine's Suspend: unwinds the workflow function; ``why`` says what to do then."""

    def __init__(self, why: Leaving) -> None:
        super().__init__(type(why).__name__)
        self.why = why
