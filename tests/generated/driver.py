"""Runs programs on the real engine, hurts them at random database calls, and compares with the model.

Workers die in this process: from the chosen call on nothing reaches the database, and an open transaction is rolled
back, as the server does with that of a dead client. News comes between any two statements of a worker. The clock is
ours, so nobody waits.
"""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from unittest import mock
from uuid import UUID

from django.db import connection

from django_durable import client, clock
from django_durable.clock import DatabaseNow
from django_durable.engine import heartbeat, payloads, shutdown, worker
from django_durable.exceptions import ExecutionClosedError
from django_durable.models import CLOSED, AuditEntry, Execution, Kind, Signal, Step, Timer
from django_durable.testing.faults import watch_database
from tests.generated import interpreter, model
from tests.generated.programs import SIGNALS, Block, draw, smaller
from tests.invariants import check
from tests.ledger_app import ledger
from tests.ledger_app.ledger import Ledger
from tests.ledger_app.models import LedgerRow

USING = "default"
MOST_TURNS = 300
AT_ONCE = 100  # programs whose invariants are checked together
SHRINKING_SEEDS = 30  # of the faults, for each smaller program


class Died(BaseException):
    """A worker's end at a database call."""


class Memory(Ledger):
    """The ledger of a process that does not really die."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)

    def write(self, what: str, execution_id: UUID | None, **facts: Any) -> None:
        line = {"what": what, "execution": None if execution_id is None else str(execution_id), **facts}
        self._lines[what].append(line)

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


class Play:
    """One program, once, under the faults of one seed."""

    def __init__(self, program: Block, seed: int, memory: Memory, frozen: clock.FrozenClock) -> None:
        self.program = program
        self.memory = memory
        self.clock = frozen
        self.chance = random.Random(f"faults {seed}")
        self.faults = Faults(self.chance, frozen, deaths=self.chance.choice((0, 1, 2, 4)))
        self.faults.stops = self.chance.choice((0, 0, 1))
        self.faults.news = list(self._news())
        self.signals = 0
        self.deadline = self.chance.choice((2.0, 6.0, 15.0)) if self.chance.random() < 0.25 else None
        self.workflow = interpreter.leaving if self.chance.random() < 0.1 else interpreter.program
        self.died = 0
        self.id: UUID

    def _news(self) -> Iterator[Callable[[], None]]:
        kinds = [self._signal] * self.chance.randint(0, 3) + [self._cancel] * (self.chance.random() < 0.3)
        self.chance.shuffle(kinds)
        yield from kinds

    def _signal(self, name: str | None = None) -> None:
        self.signals += 1
        name = name or self.chance.choice(SIGNALS)
        try:
            client.signal(self.id, name, self.signals, signal_id=str(self.signals))
        except ExecutionClosedError:
            return
        self.memory.sent(self.id, name, str(self.signals))

    def _cancel(self) -> None:
        try:
            client.cancel(self.id)
        except ExecutionClosedError:
            return

    def run(self) -> None:
        """To its end. Raises Wrong if there is none, or not one that the model knows."""
        self.id = self.workflow.using(timeout=self.deadline).start(self.program).id
        for _ in range(MOST_TURNS):
            self._work()
            row = Execution.objects.values("status", "stuck_reason", "error").get(pk=self.id)
            if row["status"] in CLOSED:
                model.judge(self.program, self._observed())
                return
            if row["status"] == "stuck" and row["stuck_reason"] != "compensation":
                raise model.Wrong(f"is stuck by {row['stuck_reason']}: {payloads.load_error(row['error']).message}")
            self._go_on(is_stuck=row["status"] == "stuck")
        raise model.Wrong(f"does not end: {client.inspect(self.id)}")

    def _work(self) -> None:
        try:
            with self.faults.on():
                worker.drain("default", using=USING)
        except Died:
            self.died += 1
            self.memory.interrupted(self.id)
            if self.chance.random() < 0.7:  # the tick sees it; else the lease runs out
                Timer.objects.filter(pk=self.id, token__isnull=False).update(
                    token=None, holder="", due_at=DatabaseNow()
                )

    def _go_on(self, *, is_stuck: bool) -> None:
        """Let come what it waits for."""
        due_at = Timer.objects.values_list("due_at", flat=True).get(pk=self.id)
        if is_stuck and self.chance.random() < 0.7:
            self._help()
        elif self.faults.news and (due_at is None or self.chance.random() < 0.4):
            self.faults.tell()
        elif due_at is not None:
            self.clock.move_to(due_at)
        elif not is_stuck:
            waits = Step.objects.history(self.id).unsettled().filter(kind=Kind.WAIT)
            self._signal(waits.values_list("target", flat=True).first())

    def _help(self) -> None:
        help_ = self.chance.choice((client.retry_compensation, client.skip_compensation, client.resolve_compensation))
        help_(self.id)

    def _observed(self) -> model.Observed:
        row = Execution.objects.get(pk=self.id)
        steps = Step.objects.history(self.id).values_list("name", "kind", "status", "attempts", "result")
        return model.Observed(
            checkpoints={
                name: model.Recorded(status, attempts, payloads.load(result) if kind == Kind.WAIT and result else None)
                for name, kind, status, attempts, result in steps
            },
            bodies=[line["step"] for line in self.memory.lines("body") if line["execution"] == str(self.id)],
            status=row.status,
            result=None if row.result is None else payloads.load(row.result),
            error_type=row.error_type,
            died=self.died,
            compensates=self.workflow is interpreter.program,
            is_cancelled=row.cancel_requested_at is not None,
            has_deadline=row.deadline_at is not None,
        )


@dataclass(frozen=True)
class Finding:
    seed: int
    program: Block
    faults: int
    text: str

    @property
    def kind(self) -> str:
        """The words that do not name anything."""
        return re.sub(r"'[^']*'|\S*\d\S*", "", self.text)[:40]

    def __str__(self) -> str:
        return f"seed {self.seed}, faults {self.faults}: {self.text}\n{json.dumps(self.program)}"


def batches(seeds: range) -> Iterator[range]:
    """Parts of seeds, each to be played at once."""
    for at in range(seeds.start, seeds.stop, AT_ONCE):
        yield range(at, min(at + AT_ONCE, seeds.stop))


def play(seeds: range) -> list[Finding]:
    """Play the program of each seed under the faults of the same seed.

    Needs real transactions, and settings without a broker; empties the tables.
    """
    return _play({seed: draw(seed) for seed in seeds})


def _play(programs: dict[int, Block]) -> list[Finding]:
    findings, played = [], {}
    with stage() as (memory, frozen):
        faults = Faults(random.Random(0), frozen)
        with watch_database(_Switch(lambda: faults)):
            for seed, program in programs.items():
                play = Play(program, seed, memory, frozen)
                faults = play.faults
                try:
                    play.run()
                    played[str(play.id)] = seed
                except Exception as error:
                    findings.append(Finding(seed, program, seed, f"{type(error).__name__}: {error}"))
                    Timer.objects.filter(pk=play.id).delete()  # out of the way of the others
        for text in check(USING, memory, only=[UUID(pk) for pk in played]):
            seed = next(seed for pk, seed in played.items() if pk in text)
            findings.append(Finding(seed, programs[seed], seed, text))
    _forget()
    return findings


@dataclass
class _Switch:
    """The faults of the play that is on."""

    current: Callable[[], Faults]
    seen: list[str] = field(default_factory=list)

    def around(self, name: str, call: Callable[[], Any]) -> Any:
        return self.current().around(name, call)


def _forget() -> None:
    for table in (Signal, Step, Timer, AuditEntry, LedgerRow, Execution):
        table.objects.all()._raw_delete(using=USING)


def shrunk(finding: Finding) -> Finding:
    """The smallest program on the way that still fails, under any of some seeds of faults."""
    for program in smaller(finding.program):
        for faults in (finding.faults, *range(SHRINKING_SEEDS)):
            for found in _play({faults: program}):
                if found.kind != finding.kind:
                    continue
                return shrunk(Finding(finding.seed, program, faults, found.text))
    return finding
