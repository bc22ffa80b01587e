"""All orders in which the database can see the calls of a few actors, one order after the other.

Each actor is a thread with a connection of its own. It stops before every statement, COMMIT and ROLLBACK until it
is given the baton; one moves at a time. An actor whose call waits for another's lock counts as blocked (see
``blocking``) and the others go on. Depth first over the choices: a run repeats the choices of the last one up to the
last place where something else could have happened, and takes that. Where deaths are allowed, "this actor dies here"
is one more choice at each place.

Of two neighbours that cannot notice each other one order is tried, because the other one is the same to the database:
a read and what commits nothing; a savepoint, or the death of one outside a transaction, and anything.

Actors must be deterministic: the same choices must lead to the same calls. That is checked.
"""

from __future__ import annotations

import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, connections

from django_durable.testing.faults import watch_database
from tests.concurrency.blocking import Blocking, blocking

LONGEST_SECONDS = 120.0  # for one actor to get from one call to the next
LOCK_POLL_SECONDS = 0.002
MOST_FINDINGS = 5  # no need to hear the same of a thousand orders
DEATH_WEIGHT = 0.05  # of a death against a move, where chance chooses

Act = Callable[[], Any]
Play = Callable[[], dict[str, Act]]
Judge = Callable[[dict[str, Any]], list[str]]


class Died(BaseException):
    """The actor's process is gone: this is what its thread ends with."""


@dataclass
class Exploration:
    """How many orders were tried, whether that was all, and what was wrong in which."""

    schedules: int = 0
    is_complete: bool = False
    findings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Call:
    """What an actor does next."""

    name: str
    is_alone: bool = False  # outside a transaction

    @property
    def reads(self) -> bool:
        return self.name.startswith("SELECT") and " FOR " not in self.name

    @property
    def is_private(self) -> bool:
        return "SAVEPOINT" in self.name and "ROLLBACK" not in self.name

    @property
    def publishes(self) -> bool:
        """Whether another connection can see a difference once this is done."""
        return self.name == "COMMIT" or (self.is_alone and not self.name.startswith(("SELECT", "BEGIN")))


class _Actor:
    """One thread; ``around`` is what ``watch_database`` calls for every call."""

    def __init__(self, name: str, moved: threading.Condition, locks: Blocking) -> None:
        self.name, self.next_call, self.session_id, self.holds_write_lock = name, _Call(""), 0, False
        self.state = "done"  # or running, or waiting for the baton
        self.is_dead = False
        self._moved, self._locks, self._granted = moved, locks, False
        self._pool = ThreadPoolExecutor(1, thread_name_prefix=name)
        self.outcome: Future[Any]

    def begin(self, act: Act) -> None:
        self.state, self.is_dead = "running", False
        self.outcome = self._pool.submit(self._run, act)

    def _run(self, act: Act) -> Any:
        try:
            connection.ensure_connection()
            with watch_database(self):
                return act()
        finally:
            if self.is_dead:
                connection.close()
            self.holds_write_lock = False
            self._move_to("done")

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        if self.is_dead:  # its `finally` and `except` clauses run, but a dead process reaches no database
            raise Died(self.name)
        with self._moved:
            name = re.sub("SAVEPOINT .*", "SAVEPOINT", name)  # Django numbers them
            self.next_call = _Call(name, is_alone=connection.get_autocommit())
            self.session_id = self._locks.session_id()
            self.holds_write_lock = self._locks.holds_write_lock()
            self._move_to("waiting")
            if not self._moved.wait_for(lambda: self._granted, LONGEST_SECONDS):
                raise TimeoutError(f"{self.name} was not let on at {name}")
            self._granted = False
        if self.is_dead:
            # What the server does once the connection is gone, but before anybody else moves.
            connection.connection.rollback()
            raise Died(self.name)
        return call()

    def _move_to(self, state: str) -> None:
        with self._moved:
            self.state = state
            self._moved.notify_all()

    def let_on(self, *, dies: bool) -> None:
        with self._moved:
            self._granted, self.state, self.is_dead = True, "running", dies
            self._moved.notify_all()

    def stop(self) -> None:
        if self.state != "done":  # the run broke off
            self.let_on(dies=True)
        self._pool.submit(connections.close_all)
        self._pool.shutdown(wait=True)


@dataclass(frozen=True)
class _Option:
    """What may happen next."""

    who: str
    call: _Call
    dies: bool = False

    def __str__(self) -> str:
        return f"{self.who}{' DIES before' if self.dies else ''} {self.call.name.strip()[:40]}"

    def is_unnoticed_by(self, other: _Option) -> bool:
        """Whether it is all the same to the database which of these two neighbours comes first."""
        if self.who == other.who or other.dies:
            return False
        if self.dies:
            return self.call.is_alone or other.call.reads
        if self.call.is_private or other.call.is_private:
            return True
        return (self.call.reads and not other.call.publishes) or (other.call.reads and not self.call.publishes)


@dataclass
class _Place:
    """One place in a schedule: what there is to choose from, and which of it is taken."""

    options: list[_Option]
    worthwhile: list[int]
    is_repeat: bool  # nothing was worthwhile: another schedule is the same
    taken: int = 0

    @property
    def chosen(self) -> _Option:
        return self.options[self.worthwhile[self.taken]]


class _DepthFirst:
    """The choices of one schedule after the other, until there is no other."""

    def __init__(self) -> None:
        self._path: list[_Place] = []
        self._at = 0

    def choose(self, options: list[_Option]) -> int:
        if self._at == len(self._path):
            worthwhile = self._worthwhile(options)
            self._path.append(_Place(options, worthwhile or [len(options) - 1], is_repeat=not worthwhile))
        place = self._path[self._at]
        if options != place.options:
            raise AssertionError(f"not deterministic: after the same choices {place.options} became {options}")
        self._at += 1
        return place.worthwhile[place.taken]

    def _worthwhile(self, options: list[_Option]) -> list[int]:
        """Without those that could as well have come before the last one, and then did: in an earlier schedule.

        If nothing is left, this whole schedule is one of them; it is played to its end without further branches.
        """
        repeated: set[_Option] = set()
        if self._path:
            last = self._path[-1]
            earlier = last.options[: last.worthwhile[last.taken]]
            repeated = {option for option in earlier if option.is_unnoticed_by(last.chosen)}
            if last.is_repeat:
                repeated = set(options)
        return [index for index, option in enumerate(options) if option not in repeated]

    def turn(self) -> bool:
        """Go back to the last place with something left to try; False: all was tried."""
        self._at = 0
        while self._path and self._path[-1].taken + 1 == len(self._path[-1].worthwhile):
            self._path.pop()
        if self._path:
            self._path[-1].taken += 1
        return bool(self._path)


class Interleaver:
    """Keeps its actors' threads and connections from one schedule to the next."""

    def __init__(self) -> None:
        self._moved, self._locks = threading.Condition(), blocking()
        self._actors: list[_Actor] = []

    def explore(self, play: Play, judge: Judge, *, most: int, deaths: int = 0) -> Exploration:
        """Try every order. play: prepares one run and returns what each actor does. judge: what is wrong after it.

        judge gets each actor's value or exception. most: no further schedule is begun after so many.
        deaths: of how many actors in one schedule.
        """
        found, path = Exploration(), _DepthFirst()
        while found.schedules < most and len(found.findings) < MOST_FINDINGS:
            self._try(found, play, judge, path.choose, deaths)
            if not path.turn():
                found.is_complete = True
                break
        return found

    def sample(self, play: Play, judge: Judge, *, schedules: int, seed: int, deaths: int = 0) -> Exploration:
        """Try so many orders at random; the same seed gives the same ones."""
        found, chance = Exploration(), random.Random(seed)

        def choose(options: list[_Option]) -> int:
            weights = [DEATH_WEIGHT if option.dies else 1.0 for option in options]
            return chance.choices(range(len(options)), weights)[0]

        while found.schedules < schedules and len(found.findings) < MOST_FINDINGS:
            self._try(found, play, judge, choose, deaths)
        return found

    def _try(
        self, found: Exploration, play: Play, judge: Judge, choose: Callable[[list[_Option]], int], deaths: int
    ) -> None:
        trace, outcomes = self._run(play(), choose, deaths)
        found.schedules += 1
        found.findings += [f"{text}\n  order: {' > '.join(trace)}" for text in judge(outcomes)]

    def _run(
        self, acts: dict[str, Act], choose: Callable[[list[_Option]], int], deaths: int
    ) -> tuple[list[str], dict[str, Any]]:
        """One schedule: what happened, and the outcomes."""
        trace: list[str] = []
        self._actors = self._actors or [_Actor(name, self._moved, self._locks) for name in acts]
        for actor in self._actors:
            actor.begin(acts[actor.name])
        while ready := self._ready():
            moves = [(actor, dies) for dies in ([True, False] if deaths else [False]) for actor in ready]
            options = [_Option(actor.name, actor.next_call, dies) for actor, dies in moves]
            choice = choose(options)
            trace.append(str(options[choice]))
            actor, dies = moves[choice]
            deaths -= dies
            actor.let_on(dies=dies)
        outcomes = {actor.name: actor.outcome.exception() or actor.outcome.result() for actor in self._actors}
        return trace, outcomes

    def _ready(self) -> list[_Actor]:
        """Those that may move, once everybody else is done or blocked by a lock. Bounded."""
        ends_at = time.monotonic() + LONGEST_SECONDS
        while time.monotonic() < ends_at:
            with self._moved:
                self._moved.wait_for(lambda: not self._in("running"), LOCK_POLL_SECONDS)
                running, waiting = self._in("running"), self._in("waiting")
            # Nobody left to free the blocked ones: then the server finds the deadlock and ends it.
            if not running or (waiting and self._locks.all_wait(running) and self._in("running") == running):
                return [actor for actor in waiting if self._locks.may_move(actor, self._actors)]
        raise TimeoutError(f"{[actor.name for actor in self._in('running')]} never came to a next call")

    def _in(self, state: str) -> list[_Actor]:
        return [actor for actor in self._actors if actor.state == state]

    def stop(self) -> None:
        for actor in self._actors:
            actor.stop()


@contextmanager
def interleaver() -> Iterator[Interleaver]:
    made = Interleaver()
    try:
        yield made
    finally:
        made.stop()
