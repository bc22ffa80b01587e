"""Faults on purpose: a crash at any database call, and a dispatcher that loses, doubles and shuffles."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal
from unittest import mock
from uuid import UUID

from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

CRASHED = 137  # exit status of a process that died here, as of one that got SIGKILL
Hint = tuple[Literal["wake", "drain"], UUID | str, str]


class DatabaseCalls:
    """Counts calls to one database, COMMIT and ROLLBACK included, and dies at the chosen one.

    at: 1-based number of the call; None only counts. when: before the database gets it, or after it has answered.
    die: default ``os._exit``, which runs no ``finally`` and sends nothing, like SIGKILL.
    """

    def __init__(
        self,
        *,
        at: int | None = None,
        when: Literal["before", "after"] = "before",
        die: Callable[[], Any] = lambda: os._exit(CRASHED),
    ) -> None:
        self.at, self.when, self.die = at, when, die
        self.seen: list[str] = []
        self._counting = threading.Lock()  # several threads may be watched

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        with self._counting:
            self.seen.append(name)
            is_here = len(self.seen) == self.at
        if is_here and self.when == "before":
            self.die()
        answer = call()
        if is_here and self.when == "after":
            self.die()
        return answer


@contextmanager
def watch_database(calls: DatabaseCalls, *, using: str = "default") -> Iterator[DatabaseCalls]:
    """Pass every call of this thread's connection through ``calls`` for as long as the block runs.

    COMMIT and ROLLBACK do not pass Django's execute wrappers, so they are patched in.
    """
    connection = connections[using]

    def statement(execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        return calls.around(_name(sql), lambda: execute(sql, params, many, context))

    with (
        connection.execute_wrapper(statement),
        _watched(connection, "_commit", calls),
        _watched(connection, "_rollback", calls),
    ):
        yield calls


def _name(sql: str) -> str:
    """How a statement begins; a read that locks says so."""
    name = sql.split("(", 1)[0][:80]
    is_locking = name.startswith("SELECT") and (" FOR UPDATE" in sql or " FOR SHARE" in sql or " LOCK IN " in sql)
    return f"{name} FOR UPDATE" if is_locking else name


@contextmanager
def _watched(connection: BaseDatabaseWrapper, method: str, calls: DatabaseCalls) -> Iterator[None]:
    real = getattr(connection, method)
    with mock.patch.object(connection, method, lambda: calls.around(method.strip("_").upper(), real)):
        yield


class LyingDispatcher:
    """Keeps hints instead of sending them; ``take`` hands them out dropped, multiplied and shuffled.

    Name it in ``DURABLE["DISPATCHER"]`` as ``django_durable.testing.faults.LyingDispatcher``; all instances share
    the hints, which a test clears first.
    """

    hints: list[Hint] = []

    def wake(self, execution_id: UUID, *, queue: str, using: str) -> None:
        self.hints.append(("wake", execution_id, queue))

    def drain(self, queue: str, *, using: str, delay_seconds: float = 0.0) -> None:
        self.hints.append(("drain", queue, queue))

    @classmethod
    def clear(cls) -> None:
        cls.hints.clear()

    @classmethod
    def take(cls, *, copies: int = 1, drop: float = 0.0, seed: int = 0) -> list[Hint]:
        """The hints so far, each ``copies`` times, a share of ``drop`` of them lost, in seeded random order."""
        chance = random.Random(seed)
        hints = [hint for hint in cls.hints for _ in range(copies) if chance.random() >= drop]
        cls.hints.clear()
        chance.shuffle(hints)
        return hints
