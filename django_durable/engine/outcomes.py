"""How a pass can end. A workflow function is left by a return, an error, or a Suspend that carries one of these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from django_durable.engine.history import Checkpoint
from django_durable.engine.new_start import NewStart
from django_durable.exceptions import DurableError, Suspend
from django_durable.models import Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Park:
    """Wait for a time, for news, or for both.

    opens: what is recorded with it: open checkpoints, and whether each is new. until None: only news can end it.
    wake_seq: the news that were known when it was decided to wait; another branch may have learnt of more since.
    """

    opens: tuple[tuple[Checkpoint, bool], ...]
    status: Status
    until: datetime | None
    waiting_for: str
    wake_seq: int
    cancels_children: bool = False  # it has been stopped, and waits for nothing but them


@dataclass(frozen=True, slots=True, kw_only=True)
class Want:
    """A step attempt that a branch would make now. Its body may run in any thread, all else is the pass's own.

    name: of its checkpoint. not_before: the end of a back-off. in_place: once that is over the branch is to be entered
    again and runs the body itself. is_interrupted: whether a cancellation or the deadline
    has come since, so that the branch must be entered again instead. begin: record what must stand before the body
    runs; False: the step's limit is full. record: write down what came of it, given what returns the body's value or
    raises its error.
    """

    name: str
    not_before: datetime | None
    in_place: bool
    is_interrupted: Callable[[], bool]
    begin: Callable[[], bool]
    body: Callable[[], Any]
    record: Callable[[Callable[[], Any]], None]


@dataclass(frozen=True, slots=True)
class Wants:
    """Step bodies are to run before this branch can go on: beside those of the other branches."""

    wants: tuple[Want, ...]


@dataclass(frozen=True, slots=True)
class HandBack:
    """This worker is stopping, or somebody has paused the execution."""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """The code does not fit the history, or swallowed its control flow: new code is needed."""

    error: DurableError


@dataclass(frozen=True, slots=True)
class Unrecorded:
    """Something new was asked for while only what is recorded was to be handed out; see ``coroutines``."""


@dataclass(frozen=True, slots=True)
class RollingBack:
    """The history says that the end was decided here: leave the function and go on undoing."""


@dataclass(frozen=True, slots=True)
class WentBack:
    """What somebody has ordered to be undone is: it may be set aside."""


@dataclass(frozen=True, slots=True)
class CompensationFailed:
    """A compensation has used its attempts: a person must help. error: encoded."""

    detail: str
    error: str
    error_type: str


@dataclass(frozen=True, slots=True)
class Abandon:
    """The lease is lost or the database stays away: write nothing more."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Returned:
    value: Any


@dataclass(frozen=True, slots=True)
class Raised:
    error: BaseException


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What is to be kept of the end. result, error: encoded."""

    status: Status
    result: str | None = None
    error: str | None = None
    error_type: str = ""


@dataclass(frozen=True, slots=True)
class Frontier:
    """Of a pass that only compares: where the execution would go on from. What is beside it is compared yet."""


@dataclass(frozen=True, slots=True)
class Continuing:
    """It ends here and goes on as another execution. checkpoint: that says so; None if it is recorded."""

    start: NewStart
    checkpoint: Checkpoint | None


@dataclass(frozen=True, slots=True)
class TooLong:
    """The history is as long as it may get."""

    error: DurableError


def _together(parks: Sequence[Park]) -> Park:
    """Wait for whichever of several comes first; at least one."""
    times = [park.until for park in parks if park.until is not None]
    first = parks[0]
    return replace(
        first,
        opens=tuple(each for park in parks for each in park.opens),
        until=min(times) if times else None,
        status=first.status if all(park.status == first.status for park in parks) else Status.WAITING,
        waiting_for="; ".join(dict.fromkeys(park.waiting_for for park in parks))[:255],
        wake_seq=min(park.wake_seq for park in parks),
    )


def waiting(outcomes: Iterable[object]) -> Park | Wants | Frontier | None:
    """What several that go on beside each other wait for, if any does: together they leave with that."""
    waits = [each for each in outcomes if isinstance(each, Park | Wants | Frontier)]
    if any(isinstance(each, Frontier) for each in waits):
        return Frontier()
    wants = [want for each in waits if isinstance(each, Wants) for want in each.wants]
    if wants:
        return Wants(tuple(wants))
    parks = [each for each in waits if isinstance(each, Park)]
    return _together(parks) if parks else None


Leaving = (
    Park | Wants | Frontier | HandBack | Mismatch | RollingBack | CompensationFailed | Abandon | TooLong | Unrecorded
)
Outcome = Leaving | Returned | Raised | Ended | Continuing | WentBack


class Leave(Suspend):
    """The engine's Suspend: unwinds the workflow function; ``why`` says what to do then."""

    def __init__(self, why: Leaving) -> None:
        super().__init__(type(why).__name__)
        self.why = why
