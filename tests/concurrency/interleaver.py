"""All orders in which the database can see the statements of a few actors, one order after the other.

Each actor is a thread with a connection of its own. It stops before every statement, COMMIT and ROLLBACK until it
is given the baton; one moves at a time. An actor whose statement waits for another's lock counts as blocked
(``pg_blocking_pids``) and the others go on. Depth first over the choices: a run repeats the choices of the last one
up to the last place where another actor could have moved, and takes that one there.

PostgreSQL only. Actors must be deterministic: the same choices must lead to the same statements.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, connections

from django_durable.testing.faults import watch_database

LONGEST_SECONDS = 30.0  # for one actor to get from one statement to the next
Act = Callable[[], Any]


@dataclass
class Exploration:
    """How many orders were tried, whether that was all, and what was wrong in which."""

    schedules: int = 0
    is_complete: bool = False
    findings: list[str] = field(default_factory=list)


class _Actor:
    """One thread; ``around`` is what ``watch_database`` calls for every statement."""

    def __init__(self, name: str, moved: threading.Condition) -> None:
        self.name, self.next_call, self.pid = name, "", 0
        self.state = "done"  # or running, or waiting for the baton
        self._moved, self._granted = moved, False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self.outcome: Future[Any]

    def begin(self, act: Act) -> None:
        self.state = "running"
        self.outcome = self._pool.submit(self._run, act)

    def _run(self, act: Act) -> Any:
        try:
            connection.ensure_connection()
            self.pid = connection.connection.info.backend_pid
            with watch_database(self):
                return act()
        finally:
            self._move_to("done")

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        with self._moved:
            self.next_call = name
            self._move_to("waiting")
            if not self._moved.wait_for(lambda: self._granted, LONGEST_SECONDS):
                raise TimeoutError(f"{self.name} was not let on at {name}")
            self._granted = False
        return call()

    def _move_to(self, state: str) -> None:
        with self._moved:
            self.state = state
            self._moved.notify_all()

    def let_on(self) -> None:
        with self._moved:
            self._granted, self.state = True, "running"
            self._moved.notify_all()

    def stop(self) -> None:
        self._pool.submit(connections.close_all)
        self._pool.shutdown(wait=True)


class Interleaver:
    """Keeps its actors' threads and connections from one schedule to the next."""

    def __init__(self, names: list[str]) -> None:
        self._moved = threading.Condition()
        self._actors = [_Actor(name, self._moved) for name in names]

    def explore(
        self, play: Callable[[], list[Act]], judge: Callable[[list[Any]], list[str]], *, seconds: float
    ) -> Exploration:
        """Try every order. play: prepares one run and returns what each actor does. judge: what is wrong after it.

        judge gets each actor's value or exception. seconds: no further schedule is begun after that.
        """
        found, choices = Exploration(), []
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            taken, trace, outcomes = self._run(play(), choices)
            found.schedules += 1
            found.findings += [f"{text}\n  order: {' > '.join(trace)}" for text in judge(outcomes)]
            while taken and taken[-1][0] + 1 == taken[-1][1]:
                taken.pop()
            if not taken:
                found.is_complete = True
                break
            choices = [choice for choice, _ in taken]
            choices[-1] += 1
        return found

    def _run(self, acts: list[Act], choices: list[int]) -> tuple[list[tuple[int, int]], list[str], list[Any]]:
        """One schedule: (choice, number of options) at each place, what happened, and the outcomes."""
        taken, trace = [], []
        for actor, act in zip(self._actors, acts, strict=True):
            actor.begin(act)
        while ready := self._ready():
            choice = choices[len(taken)] if len(taken) < len(choices) else 0
            taken.append((choice, len(ready)))
            actor = ready[choice]
            trace.append(f"{actor.name} {actor.next_call.split('(')[0].strip()[:40]}")
            actor.let_on()
        return taken, trace, [actor.outcome.exception() or actor.outcome.result() for actor in self._actors]

    def _ready(self) -> list[_Actor]:
        """Those that wait for the baton, once everybody else is done or blocked by a lock. Bounded."""
        ends_at = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < ends_at:
            with self._moved:
                self._moved.wait_for(lambda: not self._in("running"), 0.002)
                running, waiting = self._in("running"), self._in("waiting")
            if not running:
                return waiting
            # Nobody left to free the blocked ones: then PostgreSQL finds the deadlock and ends it.
            if waiting and all(map(_is_blocked, running)) and self._in("running") == running:
                return waiting
        raise TimeoutError(f"{[actor.name for actor in self._in('running')]} never came to a next statement")

    def _in(self, state: str) -> list[_Actor]:
        return [actor for actor in self._actors if actor.state == state]

    def stop(self) -> None:
        for actor in self._actors:
            actor.stop()


def _is_blocked(actor: _Actor) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT cardinality(pg_blocking_pids(%s)) > 0", [actor.pid])
        return bool(cursor.fetchone()[0])


@contextmanager
def interleaver(*names: str) -> Iterator[Interleaver]:
    with ExitStack() as stack:
        made = Interleaver(list(names))
        stack.callback(made.stop)
        yield made
