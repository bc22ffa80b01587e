"""Going on after the database dropped the connection, refused a lock or broke a deadlock.

A COMMIT whose reply is lost may or may not have happened, so a write is only repeated after it was looked up.
Source: the ambiguous commit, FoundationDB's ``commit_unknown_result``.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections

T = TypeVar("T")

TRANSIENT = (OperationalError, InterfaceError)
# PostgreSQL: serialization and deadlock, connection, operator intervention, lock timeout. MySQL: by error number.
_PASSING_STATES = ("40", "08", "57P", "55P03")
_PASSING_NUMBERS = frozenset({1020, 1205, 1213, 2006, 2013})
# No long pause: a database that restarts is back after some seconds, and then every worker should be. Together far
# below the default lease.
_DELAYS_SECONDS = (0.0, 0.05, 0.2, 0.5, *[1.0] * 9)


def persist(using: str, write: Callable[[], T], *, written: Callable[[], T | None]) -> T:
    """Run ``write`` (one transaction), again on a fresh connection if the database fails.

    written: looks up whether an earlier try was committed after all; not None is its answer.
    Raises the last database error when patience ends, and at once inside a transaction that is not ours to repeat.
    """
    for number, delay in enumerate((*_DELAYS_SECONDS, None)):
        try:
            found = written() if number else None
            return write() if found is None else found
        except TRANSIENT:
            if delay is None or connections[using].in_atomic_block:
                raise
            pause_and_reconnect(using, delay)
    raise AssertionError("unreachable: the last try returns or raises")


def pause_and_reconnect(using: str, delay_seconds: float) -> None:
    """Drop the connection and wait with jitter, so that many workers do not return in one instant."""
    connections[using].close()
    if delay_seconds:
        time.sleep(delay_seconds * (0.5 + random.random() / 2))


def is_passing(error: BaseException, using: str) -> bool:
    """Whether a database error inside user code is the moment's and not the code's: worth the same work again."""
    if not isinstance(error, TRANSIENT):
        return False
    state = getattr(error.__cause__, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_PASSING_STATES)
    number = error.args[0] if error.args else None
    return number in _PASSING_NUMBERS or "locked" in str(error) or not connections[using].is_usable()
