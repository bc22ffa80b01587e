"""How long what has ended is kept. Pure; ``engine/retention.py`` deletes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta

from django_durable.clock import to_seconds
from django_durable.exceptions import InvalidOptionError

FOREVER = timedelta.max


@dataclass(frozen=True, slots=True, kw_only=True)
class Retention:
    """How long an execution is kept after its end, by the status with which it ended.

    otherwise: for each status that is not named; None: what the next wider policy says, at the end for ever. A time of
    ``FOREVER`` keeps, whatever a wider policy says. Bad values raise InvalidOptionError here.
    """

    otherwise: timedelta | None = None
    completed: timedelta | None = None
    failed: timedelta | None = None
    cancelled: timedelta | None = None
    timed_out: timedelta | None = None
    terminated: timedelta | None = None
    compensation_failed: timedelta | None = None
    continued: timedelta | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            check_age(getattr(self, field.name), f"Retention({field.name})")

    @classmethod
    def of(cls, given: object, what: str) -> Retention:
        """What an option or a setting may say: one, a timedelta for all statuses, or None for no policy."""
        if isinstance(given, Retention):
            return given
        if given is None or isinstance(given, timedelta):
            check_age(given, what)
            return cls(otherwise=given)
        raise InvalidOptionError(f"{what}={given!r}: give a timedelta, a Retention(...), or None.")

    def after(self, status: str) -> timedelta | None:
        """How long one that ended so is kept; None: not said here."""
        named: timedelta | None = getattr(self, status)
        return self.otherwise if named is None else named


def check_age(given: object, what: str) -> None:
    """Raise InvalidOptionError for what is no duration: None and ``FOREVER`` are."""
    if given is None or given == FOREVER:
        return
    if not isinstance(given, timedelta):
        raise InvalidOptionError(f"{what}={given!r}: give a timedelta.")
    to_seconds(given, what)
