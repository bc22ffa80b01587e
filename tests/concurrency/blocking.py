"""Which actor waits for another's lock: the one question of the interleaver that each database answers its own way."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from django.db import connection


class Call(Protocol):
    @property
    def reads(self) -> bool: ...


class Session(Protocol):
    """What the interleaver knows of an actor's connection: as it was before the call that is next or under way."""

    @property
    def next_call(self) -> Call: ...

    session_id: int
    holds_write_lock: bool


class Blocking:
    """PostgreSQL: a call waits inside the server, which says for whom."""

    def session_id(self) -> int:
        return int(connection.connection.info.backend_pid)

    def holds_write_lock(self) -> bool:
        """Whether this thread's connection keeps every other one from writing."""
        return False

    def may_move(self, session: Session, others: Sequence[Session]) -> bool:
        """Whether the call may be sent; one that waits in the server may."""
        return True

    def all_wait(self, sessions: Sequence[Session]) -> bool:
        """Whether each of these, whose calls are under way, waits for a lock."""
        return _one(
            "SELECT bool_and(cardinality(pg_blocking_pids(pid)) > 0) FROM unnest(%s::int[]) AS pid",
            [[session.session_id for session in sessions]],
        )[0]


class MariaDBBlocking(Blocking):
    """The engine's status report: fresh at every call, which INNODB_TRX and INNODB_LOCK_WAITS are not.

    Those views are kept for as long as they are read more often than every 100 ms.
    """

    def session_id(self) -> int:
        return int(connection.connection.thread_id())

    def all_wait(self, sessions: Sequence[Session]) -> bool:
        report = _one("SHOW ENGINE INNODB STATUS", [])[2].partition("LIST OF TRANSACTIONS FOR EACH SESSION")[2]
        waiting = [part for part in report.split("---TRANSACTION") if "\nLOCK WAIT" in part]
        ids = {int(found[1]) for part in waiting if (found := re.search(r"thread id (\d+)", part))}
        return ids >= {session.session_id for session in sessions}


class SQLiteBlocking(Blocking):
    """One write lock for all, taken by BEGIN IMMEDIATE or a lone write: while one has it, no other's write is sent.

    A real writer would be sent away and try again until the lock is free, which is the same order of calls.
    """

    def session_id(self) -> int:
        return 0

    def holds_write_lock(self) -> bool:
        return bool(connection.connection.in_transaction)

    def may_move(self, session: Session, others: Sequence[Session]) -> bool:
        return session.next_call.reads or not any(other.holds_write_lock for other in others if other is not session)

    def all_wait(self, sessions: Sequence[Session]) -> bool:
        return False


def _one(sql: str, params: list[Any]) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchone()


def blocking() -> Blocking:
    return {"postgresql": Blocking, "mysql": MariaDBBlocking, "sqlite": SQLiteBlocking}[connection.vendor]()
