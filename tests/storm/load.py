"""The clients: start and signal executions as users would, through whatever is between them and the database.

A closed loop: as many executions are kept open as the storm asks for, so that calm and storm can be compared.
"""

from __future__ import annotations

import heapq
import random
import time
from typing import Any
from uuid import UUID

from django_durable import client
from django_durable.exceptions import ExecutionClosedError
from django_durable.models import Timer
from tests.ledger_app.ledger import Ledger
from tests.storm.clients import Client, patiently

STEPS = 10
LONG_BODY = "storm.late_writes"  # what a stopped worker must be found in to do harm when it comes back
OPEN = 40

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
    ("storm.seated", (), 6),
    ("storm.shelved", ("a",), 2),
    ("storm.shelved", ("b",), 2),
    ("storm.brief", (1,), 4),
    ("storm.failing", (), 2),
    (LONG_BODY, (1.0,), 0.0),  # only where a plan asks for it
]
SIGNALS = {
    "ledger.signals": ["answer", "last", "answer"],
    "ledger.signal_or_timeout": ["answer"],
    "ledger.branches": ["answer"],
    "ledger.flow": ["answer"],
}


class Load(Client):
    """Starts and signals."""

    def __init__(
        self,
        seed: str,
        ledger: Ledger,
        *,
        long_bodies: int = 0,
        programs: list[tuple[str, tuple[Any, ...], float]] = PROGRAMS,
    ):
        super().__init__()
        self.started = 0
        self._seed, self._ledger, self._programs, self._long_bodies = seed, ledger, programs, long_bodies
        self._chance = random.Random(seed)
        self._due: list[tuple[float, int, UUID, str, int]] = []  # when to send which signal

    def owes(self) -> bool:
        return bool(self._due)

    def take_turn(self) -> None:
        if self._begins.is_set():
            for _ in range(OPEN - patiently("direct", Timer.objects.using("direct").count)):
                self.start_one()
            if self._long_bodies:
                self._keep_long_bodies()
        self._send_due()

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
        """A wait that timed out, or was called off, has not got the signal; every other execution needs all of them."""
        found = patiently("direct", lambda: client.get(execution_id, using="direct"))
        return found.workflow.endswith("_timeout") or found.cancel_requested_at is not None
