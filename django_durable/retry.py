"""Retry policies and the arithmetic of back-off. Pure: no clock, no database, no global random numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from django_durable.exceptions import InvalidOptionError, NonRetryable, RetryAfter

# A due time must be a date; nobody waits longer for a retry.
LONGEST_SECONDS = 3650 * 86_400.0

Errors = type[Exception] | Iterable[type[Exception]]


@dataclass(frozen=True, slots=True, kw_only=True, init=False)
class Retry:
    """When a failed step is tried again, and when it is given up.

    The delay after attempt n is ``initial_seconds * multiplier ** (n - 1)``, at most ``maximum_seconds``, less
    a random part of up to ``jitter`` of it, so that what failed together does not come back together.
    Durations take seconds or a timedelta and read as seconds. Bad values raise InvalidOptionError here, not at
    the first failure.
    """

    max_attempts: int | None  # the first try included; None = no limit
    initial_seconds: float
    multiplier: float
    maximum_seconds: float
    jitter: float  # 0 = none, 1 = anything between nothing and the whole delay
    max_elapsed_seconds: float | None  # a retry that would begin later than this after the first try is not made
    retry_on: tuple[type[Exception], ...]
    not_on: tuple[type[Exception], ...]  # wins over retry_on

    def __init__(
        self,
        *,
        max_attempts: int | None = 3,
        initial_seconds: float | timedelta = 1.0,
        multiplier: float = 2.0,
        maximum_seconds: float | timedelta = 60.0,
        jitter: float = 0.5,
        max_elapsed_seconds: float | timedelta | None = None,
        retry_on: Errors = (Exception,),
        not_on: Errors = (),
    ) -> None:
        longest = None if max_elapsed_seconds is None else _seconds("max_elapsed_seconds", max_elapsed_seconds)
        values = {
            "max_attempts": _attempts(max_attempts),
            "initial_seconds": _seconds("initial_seconds", initial_seconds),
            "multiplier": _number("multiplier", multiplier, at_least=1, at_most=1e6),
            "maximum_seconds": _seconds("maximum_seconds", maximum_seconds),
            "jitter": _number("jitter", jitter, at_least=0, at_most=1),
            "max_elapsed_seconds": longest,
            "retry_on": _errors("retry_on", retry_on),
            "not_on": _errors("not_on", not_on),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.maximum_seconds < self.initial_seconds:
            raise InvalidOptionError(
                f"Retry(initial_seconds={self.initial_seconds:g}, maximum_seconds={self.maximum_seconds:g}): "
                "the maximum is below the first delay. Raise maximum_seconds or lower initial_seconds."
            )

    def delay_seconds(self, attempt: int, random: Random) -> float:
        """Wait after the failure of an attempt. attempt: from 1."""
        return self._longest_delay(attempt) * (1 - self.jitter * random.random())

    def next_delay_seconds(
        self, error: BaseException, *, attempt: int, elapsed_seconds: float, random: Random
    ) -> float | None:
        """How long to wait before the next attempt, or None to give up.

        attempt: the one that failed, from 1. elapsed_seconds: since the first attempt began.
        """
        if not self._retries(error):
            return None
        if self.max_attempts is not None and attempt >= self.max_attempts:
            return None
        if isinstance(error, RetryAfter):
            delay = min(error.seconds, LONGEST_SECONDS)
        else:
            delay = self.delay_seconds(attempt, random)
        if self.max_elapsed_seconds is not None and elapsed_seconds + delay > self.max_elapsed_seconds:
            return None
        return delay

    def _longest_delay(self, attempt: int) -> float:
        try:
            grown = self.initial_seconds * self.multiplier ** (max(attempt, 1) - 1)
        except OverflowError:
            return self.maximum_seconds if self.initial_seconds else 0.0
        return min(grown, self.maximum_seconds)

    def _retries(self, error: BaseException) -> bool:
        if isinstance(error, (NonRetryable, *self.not_on)):
            return False
        return isinstance(error, (RetryAfter, *self.retry_on))


def _attempts(value: Any) -> int | None:
    if value is not None and (type(value) is not int or value < 1):
        raise InvalidOptionError(
            f"Retry(max_attempts={value!r}): give a whole number from 1 (1 = never try again), or None for no limit."
        )
    return value


def _seconds(name: str, value: float | timedelta) -> float:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    return _number(name, seconds, at_least=0, at_most=LONGEST_SECONDS)


def _number(name: str, value: Any, *, at_least: float, at_most: float) -> float:
    real = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not real or not at_least <= value <= at_most:
        raise InvalidOptionError(f"Retry({name}={value!r}): give a number from {at_least:g} to {at_most:g}.")
    return float(value)


def _errors(name: str, value: object) -> tuple[type[Exception], ...]:
    given = (value,) if isinstance(value, type) else value
    classes = tuple(given) if isinstance(given, Iterable) else (given,)
    for cls in classes:
        # BaseException would catch the engine's own control flow and a worker's shutdown.
        if not (isinstance(cls, type) and issubclass(cls, Exception)):
            raise InvalidOptionError(f"Retry({name}=...): {cls!r} is not a subclass of Exception. Give error classes.")
    return classes


NO_RETRY = Retry(max_attempts=1)
