"""The witness of limits: which executions were under way at once, by the order of the ledger's lines.

An execution is under way at least from the first line that a body of it writes to the last one. So is not, what a fault
has hit: a process that was stopped writes its line when the execution may have ended elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.ledger_app.ledger import Ledger


@dataclass
class _Stay:
    room: str
    capacity: int
    first: int
    last: int


def tell(ledger: Ledger, execution_id: object, *, room: str, capacity: int) -> None:
    """A body of it runs at this moment."""
    ledger.write("sits", execution_id, room=room, capacity=capacity)


def crowds(ledger: Ledger) -> Iterator[str]:
    """Where more executions were under way than the limit lets in."""
    rooms: defaultdict[tuple[str, int], dict[str, _Stay]] = defaultdict(dict)
    for pk, stay in _stays(ledger).items():
        rooms[stay.room, stay.capacity][pk] = stay
    for (room, capacity), stays in rooms.items():
        for stay in stays.values():  # where one begins there are most
            there = [pk for pk, other in stays.items() if other.first <= stay.first <= other.last]
            if len(there) > capacity:
                yield f"{room!r} is limited to {capacity}, and these were under way at once: {', '.join(there)}"


def _stays(ledger: Ledger) -> dict[str, _Stay]:
    interrupted = ledger.interruptions()
    stays: dict[str, _Stay] = {}
    for place, line in enumerate(ledger.lines("sits")):
        pk = line["execution"]
        if interrupted[pk]:
            continue
        stays.setdefault(pk, _Stay(line["room"], line["capacity"], place, place)).last = place
    return stays
