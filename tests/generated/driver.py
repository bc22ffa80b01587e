"""Runs programs on the real engine, hurts them at random database calls, and compares with the model."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from unittest import mock
from uuid import UUID

from django.db.models import Count

from django_durable import client, clock
from django_durable.clock import DatabaseNow
from django_durable.engine import advance, payloads, tokens, worker
from django_durable.exceptions import ExecutionClosedError, ExecutionConflict, ExpiredTokenError, UsedTokenError
from django_durable.models import AuditEntry, Delivery, Execution, Kind, OutboxEvent, Signal, Step, Timer
from django_durable.testing.faults import watch_database
from tests.generated import interpreter, model
from tests.generated.faults import Died, Faults, Memory, stage
from tests.generated.observed import Circumstances, family, observe
from tests.generated.programs import SIGNALS, Block, draw, smaller
from tests.invariants import check
from tests.ledger_app.models import LedgerRow

USING = "default"
SETTINGS = {
    "DISPATCHER": "django_durable.dispatch.NullDispatcher",
    "PARALLEL_STEPS": 1,
    "HISTORY_WARNING": model.HISTORY_WARNING,
}
MOST_TURNS = 500
AT_ONCE = 100  # programs whose invariants are checked together
SHRINKING_SEEDS = 30  # of the faults, for each smaller program
ENOUGH = 100  # what is put into a state by an update: every condition holds then


@dataclass(frozen=True)
class Open:
    """One execution of the family that has not ended."""

    id: UUID
    due_at: datetime | None
    status: str
    stuck_reason: str
    error: str | None

    @property
    def is_stuck(self) -> bool:
        return self.status == "stuck"


class Play:
    """One program, once, under the faults of one seed."""

    def __init__(self, program: Block, seed: int, memory: Memory, frozen: clock.FrozenClock) -> None:
        self.program = program
        self.memory = memory
        self.clock = frozen
        self.chance = random.Random(f"faults {seed}")
        self.faults = Faults(self.chance, frozen, deaths=self.chance.choice((0, 1, 2, 4)))
        self.faults.stops = self.chance.choice((0, 0, 1))
        self.faults.threads = 4 if self.chance.random() < 0.15 else 1
        self.faults.news = list(self._news())
        self.around = Circumstances(is_serial=self.faults.threads == 1)
        self.signals = 0
        self.redeemed: set[str] = set()
        self.deadline = self.chance.choice((2.0, 6.0, 15.0)) if self.chance.random() < 0.25 else None
        workflow = self.chance.choices(("program", "leaving", "tolerant"), (7, 1, 2))[0]
        self.workflow = interpreter.WORKFLOWS[workflow]
        deploys = self.chance.random() < 0.4
        self.deploys_at = self.chance.randint(1, 8) if deploys else None  # the turn
        memory.is_deployed = self.around.is_deployed = not deploys
        memory.in_body = self.faults.in_body
        self.id: UUID

    def _news(self) -> Iterator[Callable[[], None]]:
        kinds = [self._signal] * self.chance.randint(0, 3) + [self._cancel] * (self.chance.random() < 0.3)
        kinds += [self._redeem] * self.chance.randint(0, 1) + [self._update] * self.chance.randint(0, 1)
        kinds += [self._another_worker] * self.chance.randint(0, 2) + [self._terminate] * (self.chance.random() < 0.05)
        self.chance.shuffle(kinds)
        yield from kinds

    # -- news ------------------------------------------------------------------------------------------

    def _anybody(self) -> UUID:
        """The first, maybe by the id of what was continued, or anybody who is open."""
        return self.chance.choice([self.id, self.id, *Timer.objects.order_by("pk").values_list("pk", flat=True)])

    def _signal(self, to: UUID | None = None, name: str | None = None) -> None:
        self.signals += 1
        number, to, name = self.signals, to or self._anybody(), name or self.chance.choice(SIGNALS)
        with suppress(ExecutionClosedError):
            client.signal(to, name, number, signal_id=str(number))
            self.memory.sent(to, name, str(number))

    def _update(self, to: UUID | None = None) -> None:
        self.signals += 1
        number, to = self.signals, to or self._anybody()
        with suppress(ExecutionClosedError):
            client.send_update(to, "put", ENOUGH, update_id=str(number))
            self.memory.sent(to, "update/put", f"update\t{number}")

    def _redeem(self) -> None:
        """Answer by a token that was shown. One use, and none too late."""
        shown = [(line["text"], line["name"]) for line in self.memory.lines("token") if self._is_ours(line)]
        if not shown:
            return
        text, name = self.chance.choice(shown)
        checkpoint = Step.objects.get(pk=tokens.unsign(text))
        assert checkpoint.due_at is not None
        is_late = checkpoint.due_at <= self.clock.now()
        self.signals += 1
        try:
            to = client.signal_by_token(text, name, self.signals)
        except ExecutionClosedError:
            return
        except (UsedTokenError, ExpiredTokenError) as refused:
            expected = UsedTokenError if text in self.redeemed else ExpiredTokenError if is_late else None
            if type(refused) is not expected:
                raise model.Wrong(f"the token of {checkpoint.name!r} was refused: {refused!r}") from refused
            return
        if is_late or text in self.redeemed:
            raise model.Wrong(f"the token of {checkpoint.name!r} was taken, too late or again")
        self.redeemed.add(text)
        self.memory.sent(to, name, f"token:{checkpoint.pk}")

    def _is_ours(self, line: dict[str, Any]) -> bool:
        return UUID(line["execution"]) in family(self.id)

    def _cancel(self) -> None:
        to = self._anybody()
        self.around.cancelled.add(to)
        with suppress(ExecutionClosedError):
            client.cancel(to)

    def _terminate(self) -> None:
        """A child, or all. Its lease is gone, while it may be running a body."""
        self._interrupt()
        with suppress(ExecutionClosedError):
            client.terminate(self._anybody())

    def _interrupt(self) -> None:
        for pk in Timer.objects.leased().values_list("pk", flat=True):
            self.memory.interrupted(pk)

    def _another_worker(self) -> None:
        """Takes whatever is due, while the first is at something else."""
        worker.drain("default", using=USING)

    def _deploy(self) -> None:
        recorded = defaultdict(set)
        for pk, name in Step.objects.filter(execution_id__in=family(self.id)).values_list("execution_id", "name"):
            recorded[pk].add(name)
        self.around.before_deploy, self.around.deployed_at = recorded, self.clock.now()
        self.memory.is_deployed = self.around.is_deployed = True

    # -- turns -----------------------------------------------------------------------------------------

    def run(self) -> None:
        """To its end. Raises Wrong if there is none, or not one that the model knows."""
        self.id = self.workflow.using(timeout=self.deadline).start(self.program).id
        self.open_before = {self.id}
        for turn in range(MOST_TURNS):
            if turn == self.deploys_at:
                self._deploy()
            self._work()
            open_ones = self._open()
            self._note_ends({each.id for each in open_ones}, turn)
            if not open_ones:
                members = observe(family(self.id), self.memory.lines("body"))
                model.judge(self.id, self.program, members, self.around)
                return
            for each in open_ones:
                if each.is_stuck and each.stuck_reason != "compensation":
                    told = payloads.load_error(each.error or "").message
                    raise model.Wrong(f"is stuck by {each.stuck_reason}: {told}")
            self._go_on(open_ones)
        raise model.Wrong(f"does not end: {[client.inspect(each.id) for each in self._open()]}")

    def _note_ends(self, open_ones: set[UUID], turn: int) -> None:
        for gone in self.open_before - open_ones:
            self.around.ends[gone] = turn
        self.open_before = open_ones

    def _open(self) -> list[Open]:
        columns = ("status", "stuck_reason", "error")
        timers = Timer.objects.order_by("pk")  # of this play: the others have ended
        return [Open(*row) for row in timers.values_list("pk", "due_at", *(f"execution__{name}" for name in columns))]

    def _work(self) -> None:
        try:
            with self.faults.on():
                worker.drain("default", using=USING)
        except Died:
            self.around.died += 1
            self._interrupt()
            if self.chance.random() < 0.7:  # the tick sees it; else the lease runs out
                Timer.objects.leased().update(token=None, holder="", due_at=DatabaseNow())

    def _go_on(self, open_ones: list[Open]) -> None:
        """Let come what they wait for."""
        due = min((each.due_at for each in open_ones if each.due_at is not None), default=None)
        stuck = [each.id for each in open_ones if each.is_stuck]
        if stuck and self.chance.random() < 0.7:
            self._help(self.chance.choice(stuck))
        elif self.faults.news and (due is None or self.chance.random() < 0.4):
            self.faults.tell()
        elif due is not None:
            self.clock.move_to(due)
        elif not stuck:
            self._answer([each.id for each in open_ones])

    def _help(self, whom: UUID) -> None:
        help_ = self.chance.choice((client.retry_compensation, client.skip_compensation, client.resolve_compensation))
        with suppress(ExecutionConflict, ExecutionClosedError):
            help_(whom)

    def _answer(self, open_ones: list[UUID]) -> None:
        """Nothing is due, so somebody waits for news, and not for a child alone."""
        waits = Step.objects.filter(execution_id__in=open_ones, kind__in=(Kind.WAIT, Kind.UNTIL)).unsettled()
        wait = waits.order_by("execution_id", "position").first()
        if wait is None:
            raise model.Wrong(f"nothing is due and nothing is waited for by {open_ones}")
        if wait.kind == Kind.WAIT:
            self._signal(wait.execution_id, wait.target)
        else:
            self._update(wait.execution_id)


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


def play(seeds: range, recorded: Counter[str] | None = None) -> list[Finding]:
    """Play the program of each seed under the faults of the same seed.

    recorded: gets how many checkpoints of each kind there were. Needs real transactions, and ``SETTINGS``; empties the
    tables.
    """
    return _play({seed: draw(seed) for seed in seeds}, recorded)


def _play(programs: dict[int, Block], recorded: Counter[str] | None = None) -> list[Finding]:
    findings, played = [], {}
    with stage() as (memory, frozen):
        faults = Faults(random.Random(0), frozen)
        threads = mock.patch.object(advance, "_body_threads", lambda claim: faults.threads)
        with watch_database(_Switch(lambda: faults)), threads:
            for seed, program in programs.items():
                play = Play(program, seed, memory, frozen)
                faults = play.faults
                try:
                    play.run()
                    played |= {str(pk): seed for pk in family(play.id)}
                except Exception as error:
                    findings.append(Finding(seed, program, seed, f"{type(error).__name__}: {error}"))
                    Timer.objects.all().delete()  # out of the way of the others
        for text in check(USING, memory, only=[UUID(pk) for pk in played]):
            seed = next(seed for pk, seed in played.items() if pk in text)
            findings.append(Finding(seed, programs[seed], seed, text))
    if recorded is not None:
        recorded.update(dict(Step.objects.values_list("kind").annotate(Count("pk"))))
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
    Execution.objects.filter(parent__isnull=False).update(parent=None)  # MariaDB checks such a key row by row
    for table in (Delivery, OutboxEvent, Signal, Step, Timer, AuditEntry, LedgerRow, Execution):
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
