"""One phase: a steady load, the faults of a plan, then peace, and what both witnesses say about it."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

from django.conf import settings
from django.test import override_settings

from django_durable.models import Execution, Timer
from tests.clusters import wait_until
from tests.engine.webhook_server import Receiver
from tests.storm import coalescer, hooks, operator, pruned, verdict
from tests.storm.backends.faulty import VARIABLE as ERRORS
from tests.storm.clients import Client, patiently
from tests.storm.coalescer import Coalescer
from tests.storm.crew import Crew
from tests.storm.ground import Ground, point_clients_to, recorded_steps
from tests.storm.injector import Injector
from tests.storm.load import PROGRAMS, Load
from tests.storm.operator import Operator
from tests.storm.plan import Plan
from tests.storm.proxy import Proxy

WARM_STEPS = 200
WARM_SECONDS = 60.0
AFTER_LEASE_SECONDS = 12.0  # for what is left when the faults end: ticks, back-off after a crash, the work itself


@dataclass
class Result:
    database: str
    name: str
    faults: Counter[str]
    executions: int
    steps: int
    repeated: int  # bodies that ran again without an attempt being recorded
    may_repeat: int  # as many can the faults explain
    steps_per_second: float
    settled_seconds: float
    orders: str  # what came of them
    coalesced: str
    pruned: int
    webhooks: str
    violations: list[str]


class Phase:
    """Everything that lives while one plan is played; ``play`` cleans up after itself."""

    def __init__(self, ground: Ground, plan: Plan) -> None:
        self._ground, self._plan = ground, plan
        self._seed = f"{ground.seed} {plan.name}"
        self._folder, self._ledger = ground.begin(plan.name)
        self._proxy = self._make_proxy()
        point_clients_to(self._proxy.port if self._proxy else ground.database_server.port)
        errors = self._folder / "errors"
        failing = {ERRORS: str(errors), "STORM_SEED": self._seed} if "errors" in plan.shares else {}
        self._crew = Crew(self._folder, embedded=ground.database == "sqlite", worker=failing, clocks=plan.clocks)
        self._injector = Injector(
            database=ground.database_server,
            broker=ground.broker,
            crew=self._crew,
            proxy=self._proxy,
            ledger=self._ledger,
            errors=errors,
        )

    def _make_proxy(self) -> Proxy | None:
        if "cut" not in self._plan.shares:
            return None
        port = self._ground.database_server.port
        return Proxy(self._ground.database, port, seed=self._seed, on_cut=lambda mode: self._injector.cut(mode))

    def play(self) -> Result:
        with hooks.receiving() as receiver:
            return self._play(receiver)

    def _play(self, receiver: Receiver) -> Result:
        load = Load(self._seed, self._ledger, long_bodies=self._plan.long_bodies)
        clients = [load, Operator(self._seed, self._ledger), Coalescer(self._seed, self._ledger)]
        try:
            self._crew.start()
            for client in clients:
                client.start()
            rate = self._storm()
            for client in clients:
                client.begin_no_more()
            self._injector.last_blow()
            self._injector.heal()
            self._crew.start()
            settled, unfinished = self._settle(clients)
            self._finish_five_more(unfinished)
        finally:
            self._crew.stop()
        violations = verdict.violations(self._ledger, self._injector.repeats, unfinished=unfinished, receiver=receiver)
        result = Result(
            self._ground.database,
            self._plan.name,
            self._injector.faults,
            Execution.objects.using("direct").count(),
            recorded_steps(),
            verdict.repeated(self._ledger),
            self._injector.repeats,
            rate,
            settled,
            operator.summary(self._ledger),
            coalescer.summary(self._ledger),
            pruned.count(self._ledger),
            hooks.summary(receiver),
            violations,
        )
        verdict.forget_everything()
        return result

    def _storm(self) -> float:
        """Steps per second from the first fault to the last."""
        wait_until(lambda: recorded_steps() >= WARM_STEPS, lambda: f"no work is done: {self._folder}", WARM_SECONDS)
        began, before = time.monotonic(), recorded_steps()
        self._injector.run(self._plan)
        return (recorded_steps() - before) / (time.monotonic() - began)

    def _settle(self, clients: list[Client]) -> tuple[float, list[str]]:
        """How long it took until nothing was open, and a violation for each execution that stayed."""
        began = time.monotonic()
        limit = settings.DURABLE["LEASE_SECONDS"] + AFTER_LEASE_SECONDS
        while any(client.is_busy for client in clients) or patiently("direct", Timer.objects.using("direct").exists):
            if time.monotonic() > began + limit:
                break
            self._crew.fill()
            time.sleep(0.05)
        for client in clients:
            client.join()
        left = [f"I15 is open {limit:.0f} s after the last fault: {text}" for text in verdict.open_executions()]
        return time.monotonic() - began, left

    def _finish_five_more(self, violations: list[str]) -> None:
        """Safety alone is kept by an engine that does nothing. Their hints are lost, so the tick must find them."""
        load = Load(f"{self._seed} after", self._ledger, programs=PROGRAMS[:1])
        with override_settings(DURABLE={**settings.DURABLE, "DISPATCHER": "django_durable.dispatch.NullDispatcher"}):
            wanted = [load.start_one() for _ in range(5)]
        executions = Execution.objects.using("direct").filter(pk__in=wanted)
        try:
            wait_until(lambda: executions.closed().count() == 5, str, settings.DURABLE["LEASE_SECONDS"] + 5)
        except TimeoutError:
            violations.append("I15 five executions started after the storm, known to the tick alone, did not finish")
