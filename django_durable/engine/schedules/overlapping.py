"""What becomes of a tick while an execution of its schedule is open: the overlap policies. Pure.

=============== =====================================================================================================
skip            skipped while one is open
buffer_one      waits while one is open, if none waits; else skipped
buffer_all      waits while one is open, behind those that wait, up to 1,000 of them; else skipped
cancel_other    the open one is asked to cancel; the tick waits for that end, in place of one that waits for it already
terminate_other the open one is terminated, and this one starts
allow           starts
=============== =====================================================================================================

What waits has its turn before what comes, unless that would stop it again. Of several ticks that come at once, those
who would be stopped by the next are not begun: only the last is, and the others are skipped.

One that has ended and is retried by a person is open again.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from django_durable.models import Overlap

MOST_BUFFERED = 1000


class Place(Enum):
    START = "start"
    BUFFER = "buffer"
    SKIP = "skip"


@dataclass(frozen=True, slots=True)
class Decision:
    """stops: the open ones first. replaces: what waits is skipped for it."""

    place: Place
    reason: str = ""
    stops: bool = False
    replaces: bool = False


START = Decision(Place.START)
STOPPING = frozenset({Overlap.CANCEL_OTHER, Overlap.TERMINATE_OTHER})


def decide(policy: str, *, is_running: bool, buffered: int, is_last: bool) -> Decision:
    """is_running: an execution of the schedule is open. is_last: of the ticks that come at once."""
    if policy in STOPPING and not is_last:
        return Decision(Place.SKIP, "a later tick came at once with it, and would have stopped it")
    if policy == Overlap.ALLOW or not (is_running or buffered):
        return START
    if policy == Overlap.TERMINATE_OTHER or (policy == Overlap.CANCEL_OTHER and not is_running):
        return Decision(Place.START, stops=is_running, replaces=buffered > 0)
    if policy == Overlap.CANCEL_OTHER:
        return Decision(Place.BUFFER, "waits for the end of the one before", stops=is_running, replaces=buffered > 0)
    most = {Overlap.BUFFER_ONE: 1, Overlap.BUFFER_ALL: MOST_BUFFERED}.get(Overlap(policy), 0)
    if buffered < most:
        return Decision(Place.BUFFER, "waits for the end of the one before")
    return Decision(Place.SKIP, f"one is running and {buffered} wait" if buffered else "the one before is running")
