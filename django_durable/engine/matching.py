"""Matching calls with the history: what every durable operation is built on.

Nothing new runs before the call was matched. Whatever ends a pass leaves the workflow function as one ``Leave``
(a BaseException), so that ``except Exception`` in a workflow cannot catch it.
"""

from __future__ import annotations

import random
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Self, TypeVar

from django.db import Error

from django_durable.engine import shutdown
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.outcomes import (
    Abandon,
    HandBack,
    Leave,
    Leaving,
    Mismatch,
    Park,
    Raised,
    Returned,
    RollingBack,
)
from django_durable.engine.reconnect import TRANSIENT
from django_durable.engine.scopes import LONGEST_PATH, Shared
from django_durable.exceptions import (
    Cancelled,
    CodecError,
    DeadlineExceeded,
    InvalidOptionError,
    LeaseLostError,
    NondeterminismError,
    SwallowedControlFlowError,
)
from django_durable.models import Kind, Status, StepStatus
from django_durable.running import running_step

T = TypeVar("T")
_EARLIEST = datetime.min.replace(tzinfo=UTC)
UNDOING = frozenset({Kind.ROLLBACK, Kind.COMPENSATION})
INTERRUPTIONS: dict[str, type[Cancelled]] = {
    StepStatus.CANCELLED: Cancelled,
    StepStatus.TIMED_OUT: DeadlineExceeded,
}


@dataclass(slots=True)
class Call:
    """One durable call of the workflow, matched: recorded is its checkpoint, or None if it is new."""

    index: int  # within its scope
    name: str  # with its scope
    kind: Kind
    target: str
    recorded: Checkpoint | None
    entered_at: datetime
    journal: Journal

    @property
    def is_new(self) -> bool:
        return self.recorded is None

    @property
    def is_undoing(self) -> bool:
        """Neither a cancellation nor the deadline interrupts it."""
        return self.kind in UNDOING

    def checkpoint(self, **values: Any) -> Checkpoint:
        """The recorded checkpoint with changes, or a new one."""
        if self.recorded is not None:
            return replace(self.recorded, **values)
        return Checkpoint(
            position=self.journal.next_position,
            name=self.name,
            kind=self.kind,
            target=self.target,
            **{"started_at": self.entered_at, **values},
        )


class Matcher:
    """One pass's view of one scope of an execution: its history, the place in it, and what may be recorded next."""

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.journal = shared.journal
        self.claim = shared.journal.claim
        self.execution_id = self.claim.execution_id
        self.attempt = max(self.claim.claims, 1)
        self._place("")

    def rewind(self) -> None:
        """Begin the whole function anew."""
        self.shared.rewind()
        self._place("")

    def branch(self, call: Call, name: str) -> Self:
        """The scope of one branch of a part, at its beginning. What has interrupted us does not interrupt it again."""
        branch = copy(self)
        branch._place(f"{call.name}/{name}")
        branch.interrupted = self.interrupted
        branch.is_called_off = self.is_called_off
        branch.reached_at = self.reached_at
        return branch

    def call(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Returned | Raised | Leaving:
        """Run a function with the context of this scope, to its end or until it leaves; never raises."""
        raise NotImplementedError  # ``Replay`` knows the context

    def _place(self, scope: str) -> None:
        self.scope = scope
        self.history = self.shared.history(scope)
        self.cursor = 0
        self._names: Counter[str] = Counter()
        # A number gives other numbers than its text; the first scope's seed was here before there were others.
        self.random_numbers = random.Random(f"{self.execution_id}/{scope}" if scope else self.execution_id.int)
        self.interrupted: StepStatus | None = None
        self.is_called_off = False  # a branch beside this one has failed
        self.reached_at = _EARLIEST  # the latest completion of what can be undone, up to this place in the code

    # -- matching ----------------------------------------------------------------------------------

    def enter(self, kind: Kind, name: str, target: str = "") -> Call:
        """Match one call with the history before anything runs; settle interruptions that are due.

        name: without its number; repeats are numbered here, in the order of the calls.
        """
        leaving = self.shared.leaving
        if leaving is not None:
            if _is_unwinding(leaving):  # a `finally` on the way out: its turn comes when the waiting is over
                raise leaving
            raise SwallowedControlFlowError(f"Suspend ({leaving})")
        if self.shared.active not in (None, self):
            raise InvalidOptionError("A branch of switch or parallel must use the context that it is given.")
        inside = running_step.get(None)
        if inside is not None and inside.execution_id == self.execution_id:
            raise InvalidOptionError(f"Durable calls cannot be made inside the body of step {inside.step_id!r}.")
        self._names[name] += 1
        numbered = name if self._names[name] == 1 else f"{name}#{self._names[name]}"
        if self.scope:
            numbered = self._path(kind, numbered)
        index, recorded = self.cursor, None
        if index < len(self.history):
            recorded = self.history[index]
            if recorded.kind == Kind.ROLLBACK and kind != Kind.ROLLBACK:
                raise self.leave(RollingBack())
            if (recorded.kind, recorded.name) != (kind, numbered):
                expected, found = describe(recorded.kind, recorded.name), describe(kind, numbered)
                raise self.leave(Mismatch(NondeterminismError(recorded.position, expected, found, _caller())))
        elif self.shared.has_ended and self.scope:
            raise self.leave(RollingBack())
        self.cursor += 1
        call = Call(index, numbered, kind, target, recorded, self.claim.now(), self.journal)
        if recorded is not None and recorded.is_settled:
            self._raise_if_interrupted(recorded)
        elif recorded is None or recorded.status != StepStatus.STARTED:  # that one's outcome must be told first
            self.interrupt_if_due(call)
        return call

    def _path(self, kind: Kind, name: str) -> str:
        path = f"{self.scope}/{name}"
        if len(path) > LONGEST_PATH and kind not in UNDOING:
            told = f"{path!r} is nested too deep: with the names of its branches it must fit {LONGEST_PATH}."
            raise InvalidOptionError(told)
        return path

    def _raise_if_interrupted(self, recorded: Checkpoint) -> None:
        interruption = INTERRUPTIONS.get(recorded.status)
        if interruption is not None:
            self.interrupted = StepStatus(recorded.status)
            raise interruption

    def interrupt_if_due(self, call: Call) -> None:
        """Deliver a cancellation or the deadline, once, at a call that would do something new."""
        status = None if call.is_undoing else self._due_interruption()
        if status is not None:
            self.settle(call, call.checkpoint(status=status, finished_at=self.claim.now(), due_at=None))
            self.interrupted = status
            raise INTERRUPTIONS[status]

    def _due_interruption(self) -> StepStatus | None:
        if self.interrupted is not None:
            return None
        if self.is_called_off:
            return StepStatus.CANCELLED
        if self.journal.cancel_requested_at is not None:
            return StepStatus.CANCELLED
        if self.shared.deadline_at is not None and self.shared.deadline_at <= self.claim.now():
            return StepStatus.TIMED_OUT
        return None

    def before_new_work(self) -> None:
        """Leave instead of starting a step body when the lease is lost or this worker is stopping."""
        if self.claim.lost:
            raise self.leave(Abandon(LeaseLostError()))
        if shutdown.is_stopping():
            raise self.leave(HandBack())

    # -- recording ---------------------------------------------------------------------------------

    def settle(self, call: Call, checkpoint: Checkpoint, *, consuming: Any = None) -> Checkpoint:
        """Record the state of a call, and keep the history in memory in step with the table.

        A database that fails here leaves the function: the workflow must not take it for an error of its own.
        """
        try:
            recorded = self.journal.settle(checkpoint, is_new=call.is_new, consuming=consuming)
        except (LeaseLostError, Error) as error:
            raise self.leave(Abandon(error)) from error
        self.remember(call, recorded)
        return recorded

    def record(self, call: Call, checkpoint: Checkpoint, write: Callable[..., bool]) -> None:
        """Record a new call by a write of the caller's own; see ``Journal.record``."""
        try:
            recorded = self.journal.record(checkpoint, write)
        except (LeaseLostError, Error) as error:
            raise self.leave(Abandon(error)) from error
        self.remember(call, recorded)

    def remember(self, call: Call, recorded: Checkpoint) -> None:
        self.history[call.index : call.index + 1] = [recorded]
        call.recorded = recorded

    def defer(self, call: Call, checkpoint: Checkpoint) -> None:
        """Record a call together with whatever is recorded next: nothing outside depends on it before that."""
        self.journal.defer(checkpoint)
        self.remember(call, checkpoint)

    def recording(self, write: Callable[[], Checkpoint]) -> Checkpoint:
        """Run a write that has user code in it: only what is certainly not that code's failure leaves the function."""
        try:
            return write()
        except (LeaseLostError, *TRANSIENT) as error:
            raise self.leave(Abandon(error)) from error

    def stored(self, load: Callable[[str], T], text: str | None) -> T:
        """Decode what is recorded. Text that this process cannot read wants other code; it is no workflow's error."""
        try:
            return load(text or "")
        except CodecError as error:
            raise self.leave(Mismatch(error)) from error

    def park(self, call: Call, checkpoint: Checkpoint, **park: Any) -> Leave:
        """To be raised: wait as described by ``outcomes.Park``; wakes for the deadline too."""
        until = park.pop("until")
        if call.is_undoing:
            park["status"] = Status.COMPENSATING
        elif self.shared.deadline_at is not None and self.interrupted is None:
            until = min(until, self.shared.deadline_at) if until else self.shared.deadline_at
        return self.leave(Park(opens=((checkpoint, call.is_new),), until=until, wake_seq=self.claim.wake_seq, **park))

    def leave(self, why: Leaving) -> Leave:
        self.shared.leaving = Leave(why)
        return self.shared.leaving

    def peek(self, kind: Kind) -> Checkpoint | None:
        """The next recorded checkpoint of this scope, if it is of that kind."""
        recorded = self.history[self.cursor] if self.cursor < len(self.history) else None
        return recorded if recorded is not None and recorded.kind == kind else None

    def pass_mark(self) -> Checkpoint:
        """Go on behind the recorded mark of a rollback, at which the function was left or has ended."""
        mark = self.history[self.cursor]
        self.cursor += 1
        self.shared.leaving = None
        return mark

    @property
    def is_compensated(self) -> bool:
        """Something was undone, and nothing that was to be undone has been skipped."""
        return bool(self.shared.undone) and not self.has_skipped

    @property
    def has_skipped(self) -> bool:
        """Something that was to be undone has been left as it is, by a person's decision."""
        return StepStatus.SKIPPED in self.shared.undone

    @property
    def is_replaying(self) -> bool:
        """Whether the next durable call is already recorded, be it open: an earlier pass came this far."""
        return self.cursor < len(self.history)


def describe(kind: str, name: str) -> str:
    return f"{kind} {name!r}"


def _is_unwinding(leaving: Leave) -> bool:
    error = sys.exception()
    while error is not None and error is not leaving:
        error = error.__context__
    return error is not None


def _caller() -> str:
    """File and line of the workflow code that made the call: the innermost frame outside the package."""
    package = __name__.rpartition(".engine")[0].replace(".", "/")
    for frame in reversed(traceback.extract_stack()):
        if f"/{package}/" not in frame.filename.replace("\\", "/"):
            return f"{frame.filename}:{frame.lineno}"
    return ""
