"""Database errors at any call, COMMIT included, as the drivers raise them.

They happen while the file named by ``STORM_ERRORS`` exists, to the share of calls that it holds; each leaves a line
in the ledger. COMMIT does not pass Django's execute wrappers, so it is overridden.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.ledger_app import ledger

VARIABLE = "STORM_ERRORS"


class _Failing:
    """Passes every call of a connection through ``_around``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.execute_wrappers.append(self._execute_faultily)
        self._switch = Path(os.environ[VARIABLE])
        self._chance = random.Random(f"{os.environ['STORM_SEED']} {os.getpid()}")

    def _execute_faultily(self, execute: Callable[..., Any], sql: str, params: Any, many: bool, context: Any) -> Any:
        return self._around(lambda: execute(sql, params, many, context))

    def _commit(self) -> Any:
        return self._around(super()._commit)

    def _around(self, call: Callable[[], Any]) -> Any:
        if self._is_chosen():
            return self._fail(call)
        return call()

    def _is_chosen(self) -> bool:
        try:
            rate = float(self._switch.read_text())
        except OSError:  # the file is away: nothing fails
            return False
        return self._chance.random() < rate

    def _fail(self, call: Callable[[], Any]) -> Any:
        raise NotImplementedError

    def _note(self, when: str) -> None:
        ledger.current().write("fault", None, kind="errors", name=when)


class Lossy(_Failing):
    """Loses the connection before the server gets the call, or after it has done what was asked."""

    def _fail(self, call: Callable[[], Any]) -> Any:
        if self._chance.random() < 0.5:
            self._note("before")
            self._hang_up()
            return call()
        answer = call()
        self._note("after")
        self._hang_up()
        with self.wrap_database_errors:
            raise self.Database.OperationalError("the storm lost the answer")
        return answer

    def _hang_up(self) -> None:
        """Shut the socket under the driver, which finds out by itself."""
        handle = self.connection.fileno()
        with socket.socket(fileno=os.dup(handle)) as wire:
            wire.shutdown(socket.SHUT_RDWR)


class Busy(_Failing):
    """SQLite has no connection to lose; what it says is that somebody else is writing."""

    def _fail(self, call: Callable[[], Any]) -> Any:
        self._note("before")
        with self.wrap_database_errors:
            raise self.Database.OperationalError("database is locked")
