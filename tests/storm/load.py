"""The clients: start and signal executions as users would, through whatever is between them and the database.

A closed loop: as many executions are kept open as the storm asks for, so that calm and storm can be compared.
"""

from __future__ import annotations

import heapq
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from django.db import InterfaceError, OperationalError, connections

from django_durable import client
from django_durable.exceptions import ExecutionClosedError, ExecutionConflict
from django_durable.models import Timer
from tests.ledger_app.ledger import Ledger

T = TypeVar("T")
STEPS = 10
LONG_BODY = "storm.late_writes"  # what a stopped worker must be found in to do harm when it comes back
OPEN = 40
PATIENCE_SECONDS = 60.0
LOST = (OperationalError, InterfaceError)

# Name of the workflow, its arguments, how often in a hundred starts. The first is what throughput is counted in.
PROGRAMS: list[tuple[str, tuple[Any, ...], float]] = [
    ("ledger.steps", (STEPS,), 60),
    ("ledger.slow_steps", (5, 0.02), 6),
    ("ledger.signals", (2,), 6),
    ("ledger.signal_or_timeout", (1.0,), 4),
    ("ledger.sleep", (1.0,), 5),
    ("ledger.retried", (), 3),
    ("ledger.atomic_retried", (), 3),
    ("ledger.once", (), 3),
    ("ledger.rolled_back", (), 2),
    ("ledger.branches", (0.5,), 2),
    ("ledger.side_by_side", (False,), 2),
    ("ledger.race", (0.5,), 2),
    ("ledger.parent_of_two", (1,), 1),
    ("ledger.mapped", ([1, 2, 3], 2), 1),
    ("ledger.parent_of_continued", (2, 0.3), 1),
    ("ledger.emits", (0.5,), 2),
    ("ledger.state_or_timeout", (0.5,), 1),
    ("ledger.coroutines", (0.3,), 1),
    ("ledger.flow", (0.3,), 1),
    (LONG_BODY, (1.0,), 0.0),  # only where a plan asks for it
]
SIGNALS = {
    "ledger.signals": ["answer", "last", "answer"],
    "ledger.signal_or_timeout": ["answer"],
    "ledger.branches": ["answer"],
    "ledger.flow": ["answer"],
}


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


class Load:
    """A thread that starts and signals until it is stopped."""

    def __init__(
        self,
        seed: str,
        ledger: Ledger,
        *,
        long_bodies: int = 0,
        programs: list[tuple[str, tuple[Any, ...], float]] = PROGRAMS,
    ):
        self.started = 0
        self.error: BaseException | None = None
        self._seed, self._ledger, self._programs, self._long_bodies = seed, ledger, programs, long_bodies
        self._chance = random.Random(seed)
        self._due: list[tuple[float, int, UUID, str, int]] = []  # when to send which signal
        self._full = threading.Event()
        self._full.set()
        self._thread = threading.Thread(target=self._run, name="storm-load", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def start_no_more(self) -> None:
        """The signals that are still due go on."""
        self._full.clear()

    @property
    def is_busy(self) -> bool:
        return self._thread.is_alive()

    def join(self) -> None:
        """Raises what the clients could not get over."""
        self._thread.join(PATIENCE_SECONDS)
        if self.error is not None:
            raise self.error

    def _run(self) -> None:
        try:
            while self._full.is_set() or self._due:
                missing = OPEN - patiently("direct", Timer.objects.using("direct").count)
                for _ in range(missing if self._full.is_set() else 0):
                    self.start_one()
                if self._long_bodies and self._full.is_set():
                    self._keep_long_bodies()
                self._send_due()
                time.sleep(0.05)
        except BaseException as error:
            self.error = error
        finally:
            connections.close_all()

    def _keep_long_bodies(self) -> None:
        open_now = Timer.objects.using("direct").filter(execution__workflow=LONG_BODY)
        for _ in range(self._long_bodies - patiently("direct", open_now.count)):
            self.start_one(LONG_BODY)

    def start_one(self, name: str = "") -> UUID:
        """Start with a key, again after a lost reply, as the guide says. name: which; default any, by weight."""
        weights = [float(program[0] == name) if name else program[2] for program in self._programs]
        [(name, args, _)] = self._chance.choices(self._programs, weights)
        key = f"{self._seed}-{self.started}"
        workflow = client.get_workflow(name).using(key=key)
        execution = patiently("default", lambda: workflow.start(*args))
        self._ledger.started(execution.id, workflow=name, key=key)
        self.started += 1
        for number, signal in enumerate(SIGNALS.get(name, [])):
            at = time.monotonic() + self._chance.random() * 2
            heapq.heappush(self._due, (at, self.started, execution.id, signal, number))
        return execution.id

    def _send_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            _, _, execution_id, name, number = heapq.heappop(self._due)
            signal_id = f"{name}-{number}"
            try:
                patiently("default", lambda: client.signal(execution_id, name, number, signal_id=signal_id))  # noqa: B023
            except ExecutionClosedError:
                if not self._may_be_late(execution_id):
                    raise
            else:
                self._ledger.sent(execution_id, name, signal_id)

    @staticmethod
    def _may_be_late(execution_id: UUID) -> bool:
        """A wait that timed out has not got the signal; every other execution needs all of them."""
        return patiently("direct", lambda: client.get(execution_id, using="direct")).workflow.endswith("_timeout")
