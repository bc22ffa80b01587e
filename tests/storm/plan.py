"""Which faults happen when: drawn from the seed before anything runs. Pure.

What a fault hits is drawn by number from what lives at that moment, so a seed repeats the storm, not its victims'
last instruction.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

PER_SECOND = {"kill": 2.0, "stop": 0.4, "broker": 0.25, "database": 0.1, "sessions": 5.0, "beats": 0.3}
SHARES = {"cut": 0.10, "errors": 0.01}  # of the commits, of the calls
CUTS_PER_SECOND = 13  # at least, in the phase that only cuts: it goes on until it has them
CLOCKS = {"clock": (3600, -3600), "ahead": (3600, 3600), "mixed": (3600, -3600)}  # seconds, worker by worker
MIXED = 0.4  # of each kind's rate

KINDS = ("kill", "stop", "broker", "database", "sessions", "cut", "errors", "clock", "ahead", "beats", "mixed")
NO_SERVER = {"database", "sessions", "cut"}  # what SQLite has not got

SHORT = {"mixed": 30.0}
FULL = {
    "kill": 80.0,
    "stop": 60.0,
    "broker": 16.0,
    "database": 20.0,
    "sessions": 15.0,
    "cut": 25.0,
    "errors": 15.0,
    "clock": 10.0,
    "ahead": 10.0,
    "beats": 16.0,
    "mixed": 45.0,
}
LONG = {  # shares of the time
    "kill": 0.41,
    "stop": 0.10,
    "broker": 0.04,
    "database": 0.06,
    "sessions": 0.05,
    "cut": 0.12,
    "errors": 0.05,
    "clock": 0.02,
    "ahead": 0.02,
    "beats": 0.03,
    "mixed": 0.10,
}


@dataclass(frozen=True, order=True)
class Fault:
    """at: seconds from the phase's beginning. draw: what decides whom it hits and how."""

    at: float
    kind: str
    draw: str


@dataclass(frozen=True)
class Plan:
    name: str
    seconds: float
    faults: list[Fault]
    shares: dict[str, float] = field(default_factory=dict)
    clocks: tuple[int, int] = (0, 0)
    cuts: int = 0
    long_bodies: int = 0  # executions to keep in a body that takes about as long as a lease


def draw(seed: int, name: str, seconds: float, *, database: str) -> Plan:
    """The plan of one phase; ``name`` is a kind, or ``mixed`` for all of them at once."""
    kinds = possible(database) if name == "mixed" else [name]
    weight = MIXED if name == "mixed" else 1.0
    chance = random.Random(f"{seed} {name}")
    faults = []
    for kind in sorted(PER_SECOND.keys() & set(kinds)):
        count = max(1, round(PER_SECOND[kind] * weight * seconds))
        faults += [Fault(chance.random() * seconds, kind, f"{seed} {name} {kind} {number}") for number in range(count)]
    return Plan(
        name,
        seconds,
        sorted(faults),
        {kind: share * weight for kind, share in SHARES.items() if kind in kinds},
        CLOCKS.get(name, (0, 0)),
        round(CUTS_PER_SECOND * seconds) if name == "cut" else 0,
        1 if name == "stop" else 0,
    )


def possible(database: str) -> list[str]:
    return [kind for kind in KINDS if not (database == "sqlite" and kind in NO_SERVER)]


def long(minutes: float, *, database: str) -> dict[str, float]:
    """Seconds for each kind that a database knows; those of the others go to the rest."""
    shares = {kind: LONG[kind] for kind in possible(database)}
    return {kind: share / sum(shares.values()) * minutes * 60 for kind, share in shares.items()}
