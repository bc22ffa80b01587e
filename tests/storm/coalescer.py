"""Starts that coalesce, all of one key from one client, and what must have come of them.

Each has a delay, so that there is something to join; until that is over there can be no other execution of its key.
"""

from __future__ import annotations

import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from typing import Any

from django_durable import Coalesce, client
from django_durable.engine import payloads
from django_durable.models import Execution
from tests.ledger_app.ledger import Ledger
from tests.storm.clients import Client, patiently

WORKFLOW = "storm.coalesced"
PER_SECOND = 5.0
DELAY = timedelta(seconds=1)
GRACE = timedelta(milliseconds=5)  # the clock of SQLite has milliseconds
POLICIES: dict[str, Callable[[str], dict[str, Any]]] = {
    "skip": lambda key: {"coalesce": Coalesce.skip(key=key), "delay": DELAY},
    "replace": lambda key: {"coalesce": Coalesce.replace(key=key), "delay": DELAY},
    "debounce": lambda key: {"coalesce": Coalesce.debounce(DELAY, key=key, max_wait=3 * DELAY)},
}


class Coalescer(Client):
    """A few starts of each policy in the time of one delay."""

    def __init__(self, seed: str, ledger: Ledger) -> None:
        super().__init__()
        self._chance = random.Random(f"{seed} coalescer")
        self._ledger = ledger
        self._number = 0
        self._next_at = time.monotonic()

    def take_turn(self) -> None:
        if time.monotonic() < self._next_at:
            return
        self._next_at = time.monotonic() + self._chance.expovariate(PER_SECOND)
        self._number += 1
        key = self._chance.choice(sorted(POLICIES))
        workflow = client.get_workflow(WORKFLOW).using(**POLICIES[key](key))

        def start() -> Execution:
            self._ledger.write("coalescing", None, key=key, number=self._number)
            return workflow.start(key, self._number)

        execution = patiently("default", start)
        about = {"key": key, "number": self._number, "disposition": execution.disposition}
        self._ledger.write("coalesced", execution.id, **about)


@dataclass
class Told:
    """What the ledger says of one execution. joined: number, place of the asking, disposition of each start."""

    joined: list[tuple[int, int, str]] = field(default_factory=list)
    begun_at: int | None = None  # a place in the ledger, like that of an asking
    number: int | None = None


def violations(ledger: Ledger) -> Iterator[str]:
    """Each start is one execution's, which has begun after it, with the input that its policy says; one at a time."""
    rows = list(Execution.objects.using("direct").filter(workflow=WORKFLOW).order_by("created_at"))
    keys = {str(row.pk): payloads.load(row.input)["args"][0] for row in rows}
    told, lost = told_of(ledger, keys.keys())
    for pk, about in told.items():
        yield from (f"{WORKFLOW} {pk}: {text}" for text in wrong(about, keys.get(pk)))
    if len(unknown := keys.keys() - {pk for pk, about in told.items() if about.joined}) > lost:
        yield f"{sorted(unknown)} were returned by no start, {lost} replies were lost"
    disturbed = {line["execution"] for line in ledger.lines("ordered")}
    for key in POLICIES:
        same = [row for row in rows if keys[str(row.pk)] == key]
        for one, other in pairwise(same):
            if other.created_at - one.created_at < DELAY - GRACE and str(one.pk) not in disturbed:
                yield f"{WORKFLOW} {other.pk}: was started while {one.pk} of the key {key!r} had not begun"


def told_of(ledger: Ledger, pending: Collection[str]) -> tuple[dict[str, Told], int]:
    """By execution; and how many starts had no reply."""
    told: defaultdict[str, Told] = defaultdict(Told)
    asked: dict[int, int] = {}
    lost = 0
    for place, line in enumerate(ledger.lines("coalescing", "coalesced", "seen")):
        if line["what"] == "coalescing":
            asked[line["number"]] = place
            lost += 1
        elif line["what"] == "coalesced":
            told[line["execution"]].joined.append((line["number"], asked[line["number"]], line["disposition"]))
            lost -= 1
        elif line["execution"] in pending and told[line["execution"]].begun_at is None:
            told[line["execution"]].begun_at = place
            told[line["execution"]].number = int(line["value"].removeprefix("int "))
    return told, lost


def wrong(about: Told, key: str | None) -> Iterator[str]:
    """A start whose reply was lost may have brought another number than those that are known."""
    if key is None:
        yield f"was returned by the starts {about.joined}, and is not there"
    if sum(disposition == "new" for _, _, disposition in about.joined) > 1:
        yield f"was new to several starts: {about.joined}"
    if about.begun_at is None or about.number is None or not about.joined:
        return
    numbers = [number for number, _, _ in about.joined]
    for number, asked_at, _ in about.joined:
        if asked_at > about.begun_at:
            yield f"was joined by the start {number}, which was made after it had begun"
    if about.number > min(numbers) if key == "skip" else about.number < max(numbers):
        yield f"ran for the start {about.number}, by {key!r} it had to choose among {numbers}"


def summary(ledger: Ledger) -> str:
    """How many starts, and how many executions they are."""
    lines = ledger.lines("coalesced")
    return f"{len(lines)} in {len({line['execution'] for line in lines})}"
