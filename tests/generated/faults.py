"""What goes wrong around the database calls of a worker, and in the bodies that it runs.

Workers die in this process: from the chosen call on nothing reaches the database, and an open transaction is rolled
back, as the server does with that of a dead client. News comes between any two statements of a worker. The clock is
ours, so nobody waits.
"""

from __future__ import annotations

import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest import mock
from uuid import UUID

from django.db import connection

from django_durable import clock
from django_durable.engine import heartbeat, shutdown
from tests.ledger_app import ledger
from tests.ledger_app.ledger import Ledger


class Died(BaseException):
    """A worker's end."""


class Memory(Ledger):
    """The ledger of a process that does not really die, and what the code can ask about its own deploy."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
        self.is_deployed = True  # the patches
        self.in_body: Callable[[], None] = lambda: None

    def write(self, what: str, execution_id: UUID | None, **facts: Any) -> None:
        line = {"what": what, "execution": None if execution_id is None else str(execution_id), **facts}
        self._lines[what].append(line)
        if what == "body":
            self.in_body()

    def lines(self, what: str) -> list[dict[str, Any]]:
        return self._lines[what]


@dataclass
class Faults:
    """What happens around the database calls of one worker; offers ``around`` as ``DatabaseCalls`` does."""

    chance: random.Random
    clock: clock.FrozenClock
    deaths: int = 0
    news: list[Callable[[], None]] = field(default_factory=list)
    stops: int = 0
    threads: int = 1  # that run bodies
    _is_on: bool = False
    _is_dead: bool = False

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        if self._is_dead:
            return self._refuse(name)
        if not self._is_on:
            return call()
        self._pass_time()
        is_between = not connection.in_atomic_block and name not in {"COMMIT", "ROLLBACK"}
        if self.news and is_between and self.chance.random() < 0.03:
            self.tell()
        if self.stops and self.chance.random() < 0.03:
            self.stops -= 1
            shutdown.request_stop()
        is_fatal = self.deaths > 0 and self.chance.random() < 0.06
        if is_fatal and self.chance.random() < 0.5:
            self._die()
        answer = call()
        if is_fatal:
            self._die()
        return answer

    def in_body(self) -> None:
        """Beside others a body takes its time, so that they end in any order, and may take its worker along."""
        if self.threads == 1:
            return
        time.sleep(self.chance.choice((0, 0, 0.0005, 0.001)))
        if self._is_on and not self._is_dead and self.deaths > 0 and self.chance.random() < 0.03:
            self.deaths -= 1
            self._is_dead = True
            raise Died

    def tell(self) -> None:
        """The next of the news comes, from somebody whom no fault hits."""
        was_on, self._is_on = self._is_on, False
        try:
            self.news.pop(0)()
        finally:
            self._is_on = was_on

    def _pass_time(self) -> None:
        self.clock.advance(timedelta(microseconds=self.chance.randint(1, 400)))
        if self.chance.random() < 0.01:
            self.clock.advance(timedelta(seconds=self.chance.choice((1, 2, 4))))

    def _die(self) -> None:
        self.deaths -= 1
        self._is_dead = True
        connection.connection.rollback()  # what the server does
        raise Died

    def _refuse(self, name: str) -> None:
        if name != "ROLLBACK":
            raise Died

    @contextmanager
    def on(self) -> Iterator[None]:
        self._is_on, self._is_dead = True, False
        try:
            yield
        finally:
            for thread in threading.enumerate():  # a dead worker's would not go on
                if thread.name.startswith("step "):
                    thread.join()
            if self._is_dead:
                connection.connection.rollback()
            self._is_on = self._is_dead = False
            connection.run_on_commit.clear()
            shutdown.forget()


@contextmanager
def stage() -> Iterator[tuple[Memory, clock.FrozenClock]]:
    """A ledger in memory, a clock that stands still, and no heartbeat. Needs settings without a broker."""
    memory = Memory()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(ledger, "current", lambda: memory))
        stack.enter_context(mock.patch.object(heartbeat, "keep", _no_heartbeat))
        yield memory, stack.enter_context(clock.frozen())


@contextmanager
def _no_heartbeat(claim: object) -> Iterator[None]:
    yield
