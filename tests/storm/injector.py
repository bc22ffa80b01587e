"""Hurts what works, as the plan says, and keeps the account of what each fault may have interrupted.

Who is killed or stopped is frozen first and then looked up, so that exactly the executions are named in the ledger
whose lease it holds. A fault that hits a connection may hit any pass; those are counted, one for each pass in flight.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import connections

from django_durable.models import Timer
from tests.ledger_app.ledger import Ledger
from tests.storm.clients import patiently
from tests.storm.crew import CHILDREN, Crew, Post, freeze, kill, thaw
from tests.storm.load import LONG_BODY
from tests.storm.plan import Plan
from tests.storm.proxy import Proxy

WHOLE_WORKER = 1 / 15  # of the kills
PRUNER = 1 / 15  # beside a worker
RESTART_SECONDS = 0.5
STOP_LEASES = (1.2, 1.8)
DOWN_SECONDS = (0.2, 1.5)
BEATS = (2, 0, 1)


class NobodyThere(Exception):
    """Every process that could be hurt is dead or stopped already."""


class Injector:
    """One for each phase. faults: how many of each kind. repeats: how many bodies they can have made run again."""

    def __init__(
        self, *, database: Any, broker: Any, crew: Crew, proxy: Proxy | None, ledger: Ledger, errors: Path
    ) -> None:
        self.faults: Counter[str] = Counter()
        self.repeats = 0
        self._database_server, self._broker_server, self._crew, self._proxy = database, broker, crew, proxy
        self._ledger, self._errors = ledger, errors
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._number = count()
        self._stopped: set[int] = set()

    def run(self, plan: Plan) -> None:
        """Return when every fault has happened and, where the plan asks for a number of cuts, they have too."""
        began = time.monotonic()
        if self._proxy is not None:
            self._proxy.rate = plan.shares.get("cut", 0.0)
        if "errors" in plan.shares:
            whole = self._errors.with_suffix(".new")
            whole.write_text(str(plan.shares["errors"]))
            whole.rename(self._errors)  # at once: workers read it at every call
        for fault in plan.faults:
            self._at(began + fault.at, lambda fault=fault: self._inject(fault.kind, fault.draw))
        self._at(began, self._supervise)
        while len(self._later) > 1 or time.monotonic() < began + plan.seconds or self._cuts() < plan.cuts:
            while self._later and self._later[0][0] <= time.monotonic():
                heapq.heappop(self._later)[2]()
            if time.monotonic() > began + 4 * plan.seconds + 30:
                raise TimeoutError(f"{plan.name}: the plan is not done after four times its time")
            time.sleep(0.01)

    def last_blow(self) -> None:
        """Every worker dies and every message is lost: what is left is known to the tables and the tick alone."""
        for post in self._crew.workers:
            self._kill_worker(post)
        self._broker_server.flush()

    def heal(self) -> None:
        if self._proxy is not None:
            self._proxy.rate = 0.0
        self._errors.unlink(missing_ok=True)
        errors = len(self._ledger.lines("fault"))
        self._hit_connections("errors", errors, passes=errors)

    def _supervise(self) -> None:
        """A worker whose main process ended is started anew, as by systemd."""
        self._crew.fill()
        self._in(RESTART_SECONDS, self._supervise)

    def _cuts(self) -> int:
        return 0 if self._proxy is None else self._proxy.cuts.total()

    def cut(self, mode: str) -> None:
        """The proxy tells of every connection that it cut."""
        self._hit_connections("cut", 1, passes=1)
        self.faults[f"cut: {mode}"] += 1

    def _at(self, moment: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (moment, next(self._number), what))

    def _in(self, seconds: float, what: Callable[[], None]) -> None:
        self._at(time.monotonic() + seconds, what)

    def _inject(self, kind: str, draw: str) -> None:
        """Some faults need a victim; when nobody is there they wait for one."""
        began = time.time()
        try:
            getattr(self, f"_{kind}")(random.Random(draw))
        except NobodyThere:
            self._in(RESTART_SECONDS, lambda: self._inject(kind, draw))
            return
        self._ledger.write("injected", None, kind=kind, at=began, seconds=time.time() - began)

    # -- processes -------------------------------------------------------------------------------------

    def _kill(self, chance: random.Random) -> None:
        post, child = self._victim(chance)
        self.faults["kill"] += 1
        if chance.random() < PRUNER:
            self._kill_pruner()
        if chance.random() < WHOLE_WORKER or child == post.running.pid:
            self._kill_worker(post)
            return
        freeze([child])
        self._interrupt([child], set())
        kill([child])

    def _kill_worker(self, post: Post) -> None:
        self.faults["kill: whole worker"] += 1
        pids = post.pids
        freeze(pids)
        self._interrupt(pids, set())
        kill(pids)
        post.leave()

    def _kill_pruner(self) -> None:
        """It holds nothing that anybody must be told of."""
        self.faults["kill: pruner"] += 1
        kill(self._crew.pruner.pids)
        self._crew.pruner.leave()

    def _stop(self, chance: random.Random) -> None:
        _, child = self._victim(chance, among=self._in_long_bodies())
        self.faults["stop"] += 1
        self._stopped.add(child)
        known: set[Any] = set()
        freeze([child])
        self._interrupt([child], known)
        self._in(0.5, lambda: self._interrupt([child], known))  # a claim that was on its way when it was stopped
        lease = settings.DURABLE["LEASE_SECONDS"]
        self._in(lease * chance.uniform(*STOP_LEASES), lambda: self._go_on(child))

    def _go_on(self, child: int) -> None:
        thaw([child])
        self._stopped.discard(child)

    def _victim(self, chance: random.Random, *, among: set[int] | None = None) -> tuple[Post, int]:
        """A process that runs steps and is not stopped. Raises NobodyThere."""
        living = [(post, pid) for post in self._crew.workers for pid in post.children if pid not in self._stopped]
        preferred = [(post, pid) for post, pid in living if among and pid in among]
        if not living:
            raise NobodyThere
        return chance.choice(preferred or living)

    @staticmethod
    def _in_long_bodies() -> set[int]:
        """The processes from which a stop of some seconds takes the execution before its body ends."""
        timers = Timer.objects.using("direct").leased().filter(execution__workflow=LONG_BODY)
        held = patiently("direct", lambda: list(timers.values_list("holder", flat=True)))
        return {int(holder.split(":")[1]) for holder in held}

    def _interrupt(self, pids: list[int], known: set[Any]) -> None:
        """Name what these processes hold, which they can no longer change."""
        held = patiently("direct", lambda: list(Timer.objects.using("direct").leased().values_list("pk", "holder")))
        marks = [f":{pid}:" for pid in pids]
        for execution_id, holder in held:
            if any(mark in holder for mark in marks) and execution_id not in known:
                known.add(execution_id)
                self._ledger.interrupted(execution_id)
                self.repeats += 1

    # -- servers ---------------------------------------------------------------------------------------

    def _broker(self, chance: random.Random) -> None:
        """Every message is lost, three times of four without the server being gone."""
        self.faults["broker"] += 1
        if self.faults["broker"] % 4 == 2:
            self.faults["broker: restart"] += 1
            self._broker_server.restart()
        else:
            self._broker_server.flush()

    def _database(self, chance: random.Random) -> None:
        """A crash, a while without, and recovery from the log."""
        self._database_server.crash()
        time.sleep(chance.uniform(*DOWN_SECONDS))
        self._database_server.start()
        self._hit_connections("database", 1, passes=len(self._crew.workers) * CHILDREN)

    def _sessions(self, chance: random.Random) -> None:
        """End one connection of a worker or a client."""
        connection = connections["direct"]
        find, end = _SESSIONS[connection.vendor]

        def kill_one() -> int:
            with connection.cursor() as cursor:
                cursor.execute(find)
                found = sorted(cursor.fetchall())
                if found:
                    cursor.execute(end, chance.choice(found))
                return len(found)

        if patiently("direct", kill_one):
            self._hit_connections("sessions", 1, passes=1)

    def _beats(self, chance: random.Random) -> None:
        number = BEATS[self.faults["beats"] % len(BEATS)]
        self.faults["beats"] += 1
        self._crew.keep_beats(number)

    def _hit_connections(self, kind: str, times: int, *, passes: int) -> None:
        if times:
            self.faults[kind] += times
        self.repeats += passes
        for _ in range(times):
            self._ledger.interrupted()


_SESSIONS = {
    "postgresql": (
        "SELECT pid FROM pg_stat_activity WHERE usename = 'storm'",
        "SELECT pg_terminate_backend(%s)",
    ),
    "mysql": ("SELECT id FROM information_schema.processlist WHERE user = 'storm'", "KILL CONNECTION %s"),
}
