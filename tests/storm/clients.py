"""Who uses the engine from outside while it is hurt: each client is a thread of the storm's own process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import InterfaceError, OperationalError, connections

from django_durable.exceptions import ExecutionClosedError, ExecutionConflict

T = TypeVar("T")
PATIENCE_SECONDS = 60.0
LOST = (OperationalError, InterfaceError)


def patiently(using: str, call: Callable[[], T]) -> T:
    """Do it again on a new connection for as long as the database is away."""
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return call()
        except ExecutionClosedError:
            raise
        except (*LOST, ExecutionConflict):
            connections[using].close()
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.05)


class Client:
    """Takes its turn again and again, until it is to begin nothing new and owes nothing any more."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._begins = threading.Event()
        self._begins.set()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def begin_no_more(self) -> None:
        """What has been begun is still brought to its end."""
        self._begins.clear()

    @property
    def is_busy(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        """Raises what the client could not get over."""
        self._thread.join(PATIENCE_SECONDS)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while self._begins.is_set() or self.owes():
                self.take_turn()
                time.sleep(0.05)
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()

    def take_turn(self) -> None:
        raise NotImplementedError

    def owes(self) -> bool:
        """Whether something that was begun is not at its end."""
        return False
