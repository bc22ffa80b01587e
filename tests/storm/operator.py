"""The operator: gives orders to what is under way, a few a second, and helps what has failed.

Each order is told to the ledger before it is given, and so is the answer. One whose reply was lost may have been
carried out; it is not given again, but for the resume of what may be paused.
"""

from __future__ import annotations

import heapq
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from uuid import UUID

from django.db import connections
from django.db.models import QuerySet

from django_durable import client
from django_durable.engine.orders import VERBS
from django_durable.exceptions import ExecutionConflict, ExecutionNotFoundError
from django_durable.models import AuditEntry, Execution, Status, Step
from tests.ledger_app.ledger import Ledger
from tests.storm.clients import LOST, Client, patiently
from tests.storm.load import LONG_BODY
from tests.storm.mercy import have_mercy

NAME = "the storm"  # in the audit trail
PER_SECOND = 3.0
PAUSE_SECONDS = (0.2, 1.5)
FAILING = "storm.failing"
FORKED = ("ledger.steps", "ledger.slow_steps", "ledger.sleep", "ledger.atomic_retried", "storm.seated")
UNTOUCHED = LONG_BODY  # stops aim at it
ORDERS = {"pause": 4, "wake_now": 3, "cancel": 1, "fork": 2}  # how often, beside each other
DONE, REFUSED, IS_LOST = "done", "refused", "lost"


class Operator(Client):
    """Which order is given when goes by the seed; to whom, by number among those who are there."""

    def __init__(self, seed: str, ledger: Ledger) -> None:
        super().__init__()
        self._chance = random.Random(f"{seed} operator")
        self._ledger = ledger
        self._next_at = time.monotonic()
        self._paused: list[tuple[float, UUID, bool]] = []  # when to resume which, and whether its timers are shifted

    def owes(self) -> bool:
        return bool(self._paused) or patiently("direct", self._hopeful().exists)

    @staticmethod
    def _hopeful() -> QuerySet[Execution]:
        """Those that have to fail before they can complete, and have not come so far."""
        executions = Execution.objects.using("direct").filter(workflow=FAILING)
        return executions.exclude(status__in=(Status.COMPLETED, Status.CANCELLED))

    def take_turn(self) -> None:
        now = time.monotonic()
        while self._paused and (self._paused[0][0] <= now or not self._begins.is_set()):
            self._resume(*heapq.heappop(self._paused)[1:])
        if now < self._next_at:
            return
        self._next_at = now + self._chance.expovariate(PER_SECOND)
        self._retry_one()
        if self._begins.is_set():
            [name] = self._chance.choices(list(ORDERS), list(ORDERS.values()))
            getattr(self, f"_{name}")()

    def _give(self, name: str, execution_id: UUID, order: Callable[[], object]) -> str:
        """Order once. The answer: done, refused, or lost."""
        self._ledger.write("ordered", execution_id, order=name)
        answer, why = DONE, ""
        try:
            order()
        except (ExecutionConflict, ExecutionNotFoundError) as refusal:
            answer, why = REFUSED, str(refusal)
        except LOST as error:
            connections["default"].close()
            answer, why = IS_LOST, str(error)
        self._ledger.write("answered", execution_id, order=name, answer=answer, why=why)
        return answer

    # -- orders ----------------------------------------------------------------------------------------

    def _pause(self) -> None:
        if (wanted := self._one_of(_open())) and self._give("pause", wanted, _signed(client.pause, wanted)) != REFUSED:
            at = time.monotonic() + self._chance.uniform(*PAUSE_SECONDS)
            heapq.heappush(self._paused, (at, wanted, self._chance.random() < 0.5))

    def _resume(self, execution_id: UUID, shift_timers: bool) -> None:
        order = _signed(client.resume, execution_id, shift_timers=shift_timers)
        if self._give("resume", execution_id, order) == IS_LOST:
            time.sleep(0.05)
            heapq.heappush(self._paused, (time.monotonic(), execution_id, shift_timers))

    def _wake_now(self) -> None:
        if wanted := self._one_of(_open().filter(status__in=(Status.SLEEPING, Status.RETRYING, Status.PENDING))):
            self._give("wake_now", wanted, _signed(client.wake_now, wanted))

    def _cancel(self) -> None:
        """Not of a child, which would fail its parent; not again, which changes nothing."""
        if wanted := self._one_of(_open().filter(parent=None, cancel_requested_at=None)):
            self._give("cancel", wanted, _signed(client.cancel, wanted))

    def _fork(self) -> None:
        if wanted := self._one_of(Execution.objects.using("direct").filter(workflow__in=FORKED)):
            recorded = patiently("direct", Step.objects.using("direct").filter(execution_id=wanted).count)
            self._give("fork", wanted, _signed(client.fork, wanted, self._chance.randint(0, recorded)))

    def _retry_one(self) -> None:
        if wanted := self._one_of(Execution.objects.using("direct").filter(workflow=FAILING, status=Status.FAILED)):
            have_mercy(self._ledger, wanted)
            self._give("retry", wanted, _signed(client.retry, wanted))

    def _one_of(self, executions: QuerySet[Execution]) -> UUID | None:
        found = patiently("direct", lambda: list(executions.order_by("-pk").values_list("pk", flat=True)[:100]))
        return self._chance.choice(found) if found else None


def _open() -> QuerySet[Execution]:
    return Execution.objects.using("direct").open().exclude(workflow=UNTOUCHED)


def _signed(verb: Callable[..., object], *args: object, **options: object) -> Callable[[], object]:
    return partial(verb, *args, actor=NAME, **options)


def violations(ledger: Ledger) -> Iterator[str]:
    """Each order is one transaction with its audit entry; of two that come in each other's way one is refused."""
    chain_of = _chains(ledger)  # an order to one of a chain is an order to the last
    orders: Counter[tuple[str, str]] = Counter()
    answers: Counter[tuple[str, str, str]] = Counter()
    for line in ledger.lines("ordered", "answered"):
        about = chain_of.get(line["execution"], line["execution"]), line["order"]
        orders[about] += line["what"] == "ordered"
        if line["what"] == "answered":
            answers[(*about, line["answer"])] += 1
            if "deadlock" in line["why"].lower():
                yield f"{about[0]}: {about[1]} got {line['why']!r} from the database"
    entries = AuditEntry.objects.using("direct").filter(actor=NAME).values_list("execution_id", "kind")
    written = Counter((chain_of.get(str(pk), str(pk)), kind) for pk, kind in entries)
    for (pk, name), given in orders.items():
        found = written.pop((pk, VERBS[name].done), 0)
        done, lost = answers[pk, name, DONE], answers[pk, name, IS_LOST]
        if not done <= found <= done + lost:
            yield f"{pk}: {name} was ordered {given} times, done {done}, lost {lost}; the audit trail has {found}"
    if written:
        yield f"nobody has ordered {dict(written)}"


def _chains(ledger: Ledger) -> dict[str, str]:
    """The chains of executions by their ids, also of those that are pruned."""
    rows = Execution.objects.using("direct").filter(chain__isnull=False).values_list("pk", "chain")
    pruned = ((line["execution"], line["chain"]) for line in ledger.lines("pruned") if line["chain"])
    return {str(pk): str(chain) for pk, chain in (*rows, *pruned)}


def summary(ledger: Ledger) -> str:
    answers = Counter(line["answer"] for line in ledger.lines("answered"))
    return ", ".join(f"{answers[each]} {each}" for each in (DONE, REFUSED, IS_LOST))
