"""The sweep: play a scenario once for every database call and die or be refused there, then recover and look."""

from __future__ import annotations

import gc
import json
import os
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Literal
from unittest import mock
from uuid import UUID

from django.conf import settings
from django.db import OperationalError, connection, connections
from django.db.models import Q, QuerySet
from django.test import override_settings

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.definitions import WorkflowDefinition
from django_durable.engine import claims, slots, worker
from django_durable.engine.side_by_side import Threads
from django_durable.exceptions import ExecutionClosedError, UpdateFailed, UsedTokenError
from django_durable.models import Delivery, Execution, Signal, Timer
from django_durable.testing.faults import CRASHED, DatabaseCalls, watch_database
from tests.invariants import check
from tests.ledger_app.ledger import VARIABLE, Ledger

POINTS: Counter[str] = Counter()  # by test, for the summary
PLACES: Counter[str] = Counter()  # likewise: how many there are
PATIENCE_SECONDS = 90.0
MOST_FINDINGS = 10  # enough to see a pattern
USING = "default"
# So many places of each scenario, evenly spread and the same in every run: all of them take hours. Each database takes
# others. ``DURABLE_CRASH_STRIDE=1`` dies at every one, as ``make storm LONG=1`` does; 5 at every fifth.
SAMPLED = {"sqlite": 12, "postgresql": 12, "mysql": 6}
When = Literal["before", "after", "refused"]
_numbers = count(1)


class RolledBack(Exception):
    """Raised by a caller to undo its transaction."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """A small story: acts of a caller and of a worker, and how it may end.

    caller acts must be harmless to repeat, as a caller that got no answer repeats them. ends: (status, result)
    pairs; a crash may choose between several, like the two answers of an at-most-once step.
    """

    name: str
    workflow: WorkflowDefinition[..., Any]
    args: tuple[Any, ...] = ()
    timeout: float | None = None
    acts: tuple[Callable[[Play], None], ...]
    ends: tuple[tuple[str, Any], ...]
    at_least: int  # crash points; fewer means that the sweep no longer reaches what it was made for
    is_refused: bool = True  # no: its step bodies call the engine, and what they do about a refusal is theirs
    threads: int = 1  # for step bodies of one pass; with more, the order of the calls differs from play to play


@dataclass
class Play:
    """One performance of a scenario, with an execution and a ledger of its own."""

    scenario: Scenario
    ledger: Ledger
    key: str = field(default_factory=lambda: f"play-{os.getpid()}-{next(_numbers)}")
    _id: UUID | None = None

    @property
    def execution_id(self) -> UUID | None:
        """The first of its chain; None until its start has been committed, by whomever."""
        if self._id is None:
            found = Execution.objects.filter(self._own(), workflow=self.scenario.workflow.name)
            chain, pk = found.order_by("pk").values_list("chain", "pk").first() or (None, None)
            self._id = chain or pk
        return self._id

    def _own(self) -> Q:
        """What was started with its key, or says by a label whose it is."""
        return Q(key=self.key) | Q(labels__play=self.key)

    def start(self) -> None:
        options = {"key": self.key, "timeout": self.scenario.timeout}
        started = self.scenario.workflow.using(**options).start(*self.scenario.args)
        self.ledger.started(started.id, workflow=self.scenario.workflow.name, key=self.key)

    def send(self, name: str, payload: object, signal_id: str) -> None:
        execution_id = self.execution_id
        try:
            client.signal(execution_id, name, payload, signal_id=signal_id)
        except ExecutionClosedError:
            return
        self.ledger.sent(execution_id, name, signal_id)

    def send_with_start(self, name: str, payload: object, signal_id: str) -> None:
        prepared = self.scenario.workflow.using(key=self.key).prepare(*self.scenario.args)
        execution, _ = client.signal_with_start(prepared, name, payload, signal_id=signal_id)
        self.ledger.started(execution.id, workflow=self.scenario.workflow.name, key=self.key)
        self.ledger.sent(execution.id, name, signal_id)

    def redeem(self, name: str, payload: object) -> None:
        """Answer by the token, once somebody has it; that it was used before is the answer to a lost reply."""
        while (token := self.ledger.token(self.execution_id)) is None:
            self.await_due()
            self.work()
        with suppress(UsedTokenError):
            client.signal_by_token(token, name, payload)
        signal = Signal.objects.get(execution_id=self.execution_id, name=name)
        self.ledger.sent(signal.execution_id, name, signal.signal_id)

    def ask(self, number: int) -> None:
        """Send the update, once."""
        with suppress(ExecutionClosedError):
            client.send_update(self.execution_id, "add", number, update_id=str(number))
            self.ledger.sent(self.execution_id, "update/add", f"update\t{number}")

    def reply(self, number: int) -> None:
        """Whoever asks again gets the one reply, and that is seen."""
        self.finish()
        request = client.send_update(self.execution_id, "add", number, update_id=str(number))
        try:
            told = repr(client.update_result(self.execution_id, request, timeout=0))
        except UpdateFailed as failed:
            told = str(failed)
        self.ledger.write("seen", self.execution_id, name=f"reply {number}", value=told)

    # -- the worker's side -------------------------------------------------------------------------

    def work(self) -> None:
        """One turn of a worker."""
        worker.drain("default", using=USING)

    def family(self) -> list[UUID]:
        """The executions of its chain, their children, its copies, others of its key; none before its start."""
        if self.execution_id is None:
            return []
        chain = Q(pk=self.execution_id) | Q(chain=self.execution_id)
        children = Q(parent=self.execution_id) | Q(parent__chain=self.execution_id)
        family = Execution.objects.filter(chain | children | Q(origin=self.execution_id) | self._own())
        return list(family.order_by("pk").values_list("pk", flat=True))

    def timer(self) -> tuple[bool, bool] | None:
        """(due by the database's clock, will be due without news) of any timer or delivery; None: nothing is left."""
        timers = Timer.objects.filter(execution__in=self.family())
        due = [
            (at is not None and at <= now, at is not None)
            for rows in (timers, self.deliveries())
            for at, now in rows.values_list("due_at", DatabaseNow())
        ]
        return max(due, default=None)

    def deliveries(self) -> QuerySet[Delivery]:
        """Those that are not settled."""
        return Delivery.objects.filter(event__execution__in=self.family(), status="pending")

    def await_due(self) -> None:
        """What the tick does, until there is something to run: the dead give back what they held; bounded."""
        claims.release_dead(using=USING)
        slots.mend(using=USING)
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while (timer := self.timer()) is not None and timer[1] and not timer[0]:
            assert time.monotonic() < ends_at, f"{self.key}: its timer is too far away"
            time.sleep(0.002)

    def perform(self, *acts: Callable[[Play], None]) -> None:
        for act in acts:
            if act is work:
                self.await_due()
            act(self)

    def finish(self) -> None:
        """Work until the execution has ended or only news can help; bounded."""
        slots.mend(using=USING)
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while (timer := self.timer()) is not None and timer[1]:
            assert time.monotonic() < ends_at, f"{self.key}: still open"
            self.await_due()
            self.work()


def work(play: Play) -> None:
    """The worker's act."""
    play.work()


@dataclass(frozen=True)
class _Place:
    """Where a play dies: at which call of which act. refused: the call fails, and the process lives on."""

    index: int
    at: int
    when: When


def _sampled(places: list[_Place], name: str) -> list[_Place]:
    """Those that this run takes, and a first that differs from scenario to scenario and database to database."""
    stride = int(os.environ.get("DURABLE_CRASH_STRIDE") or len(places) // SAMPLED[connection.vendor]) or 1
    while stride > 1 and (stride % 2 == 0 or stride % 3 == 0):  # else it would meet the same of the kinds each time
        stride += 1
    return places[zlib.crc32(f"{name} {connection.vendor}".encode()) % stride :: stride]


class Sweep:
    """Plays scenarios with a death at every database call of every act."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._plays = count()

    def run(self, scenario: Scenario) -> int:
        """Returns the number of crash points there are, whether or not this run takes them all.

        Raises AssertionError with every finding and where it died.
        """
        with override_settings(DURABLE={**settings.DURABLE, "PARALLEL_STEPS": scenario.threads}):
            return self._run(scenario)

    def _run(self, scenario: Scenario) -> int:
        calls = self._rehearse(scenario)
        places = [
            _Place(index, at, when)
            for index, names in enumerate(calls)
            for at, name in enumerate(names, start=1)
            for when in _whens(scenario, index, name)
        ]
        findings: list[str] = []
        for place in _sampled(places, scenario.name):
            found = self._crash(scenario, place)
            POINTS[scenario.name] += found is not None
            act, name = _named(scenario.acts[place.index]), calls[place.index][place.at - 1]
            where = f"{scenario.name}, act {place.index} ({act}), {place.when} call {place.at} {name!r}"
            findings += [f"{where}: {text}" for text in found or ()]
            assert len(findings) < MOST_FINDINGS, "\n".join(findings)
        PLACES[scenario.name] = len(places)
        assert not findings, "\n".join(findings)
        return len(places)

    def _play(self, scenario: Scenario) -> Play:
        ledger = Ledger(self._folder / f"ledger-{next(self._plays)}")
        os.environ[VARIABLE] = str(ledger.path)
        return Play(scenario, ledger)

    def _rehearse(self, scenario: Scenario) -> list[list[str]]:
        """The calls of each act. Without any fault the story must end right; else one finding would be repeated."""
        play, calls = self._play(scenario), []
        for act in scenario.acts:
            if act is work:
                play.await_due()
            names, status = _in_child(lambda _, act=act: act(play), DatabaseCalls())
            assert status == 0, f"{scenario.name}: {_named(act)} failed without a fault:\n{names}"
            calls.append(names)
        play.finish()
        assert self._judge(play) == []
        return calls

    def _prepare(self, scenario: Scenario, index: int) -> Play:
        play = self._play(scenario)
        play.perform(*scenario.acts[:index])
        if scenario.acts[index] is work:
            play.await_due()
        return play

    def _crash(self, scenario: Scenario, place: _Place) -> list[str] | None:
        """The findings; None when the act ended before it came to that call, as a slow machine may let it."""
        play, act = self._prepare(scenario, place.index), scenario.acts[place.index]
        if place.when == "refused":
            return self._refuse(play, place)
        seen, status = _in_child(lambda _: act(play), DatabaseCalls(at=place.at, when=place.when))
        if status == 0:
            play.finish()
            return None
        if status != CRASHED:
            return [f"the process ended with {status} instead of dying: {seen}"]
        self._abandon(play)
        try:
            # News may come before anybody has noticed the death, or after; the two halves of the sweep differ.
            if act is work and place.at % 2:
                self._recover(play)
            if act is not work:
                act(play)  # the caller got no answer, and asks again
            play.perform(*scenario.acts[place.index + 1 :])
            play.finish()
        except Exception:
            return [f"recovery failed: {traceback.format_exc()}"]
        return self._judge(play)

    def _refuse(self, play: Play, place: _Place) -> list[str]:
        """The pass gives up, and its lease has to run out; the workflow must not take it for a failure of its own."""
        acts = play.scenario.acts
        try:
            with watch_database(DatabaseCalls(at=place.at, die=_refused)), suppress(OperationalError):
                acts[place.index](play)
        finally:
            connections.close_all()  # a refused ROLLBACK must not leave its transaction to the next turn
        self._abandon(play)
        Timer.objects.leased().update(due_at=DatabaseNow())  # nobody else works here
        try:
            play.perform(*acts[place.index + 1 :])
            play.finish()
        except Exception:
            return [f"recovery failed: {traceback.format_exc()}"]
        return self._judge(play)

    def _abandon(self, play: Play) -> None:
        for each in play.family():
            play.ledger.interrupted(each)
        play.deliveries().exclude(token=None).update(due_at=DatabaseNow())  # the lease of a delivery has to run out

    def _recover(self, play: Play) -> None:
        claims.release_dead(using=USING)
        slots.mend(using=USING)
        held = Timer.objects.filter(execution__in=play.family()).leased().exists()
        assert not held, "the lease of a dead process was not returned at once"
        play.work()
        found = check(USING, play.ledger, only=play.family())
        assert not found, f"at rest after the recovery: {found}"

    def _judge(self, play: Play) -> list[str]:
        execution_id = play.execution_id
        if execution_id is None:
            return [] if play.scenario.ends == () else ["no execution"]
        execution = client.latest(execution_id)
        result = client.result(execution) if execution.status == "completed" else None
        end = (execution.status, result)
        wrong = [] if end in play.scenario.ends else [f"ended as {end}, not as one of {play.scenario.ends}"]
        return wrong + check(USING, play.ledger, only=play.family())


def _whens(scenario: Scenario, index: int, name: str) -> tuple[When, ...]:
    """What a caller or a step body does about a call that is refused is its own affair."""
    is_the_engines = scenario.acts[index] is work and "ledger_app" not in name
    return ("before", "after", "refused") if scenario.is_refused and is_the_engines else ("before", "after")


def _refused() -> None:
    raise OperationalError("this call is refused")


def _watched(work: Callable[[Threads], None], calls: DatabaseCalls) -> Callable[[Threads], None]:
    """Pass the calls of the threads that run bodies through ``calls`` too."""

    def watched(threads: Threads) -> None:
        connection.ensure_connection()
        with watch_database(calls):
            work(threads)

    return watched


def _named(act: Callable[..., Any]) -> str:
    return getattr(act, "__name__", "act")


def _in_child(act: Callable[[DatabaseCalls], None], calls: DatabaseCalls) -> tuple[list[str], int]:
    """Run an act in a process of its own; returns the calls it made (or its traceback) and its exit status."""
    connections.close_all()
    gc.freeze()  # a collection in the child would copy every page that it shares
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        _be_the_child(act, calls, write)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return (json.loads(told) if told else []), status


def _be_the_child(act: Callable[[DatabaseCalls], None], calls: DatabaseCalls, write: int) -> None:
    """Never returns: pytest must not go on twice."""
    status = 1
    try:
        connection.ensure_connection()  # opening it is not part of the story
        with watch_database(calls), mock.patch.object(Threads, "_work", _watched(Threads._work, calls)):
            act(calls)
        os.write(write, json.dumps(calls.seen).encode())
        status = 0
    except BaseException:
        os.write(write, json.dumps(traceback.format_exc().splitlines()[-12:]).encode())
    finally:
        os._exit(status)


def least(scenario: Scenario) -> float:
    """On PostgreSQL a start, a signal and an end are one statement each."""
    return scenario.at_least * (0.4 if connection.vendor == "postgresql" else 1)
