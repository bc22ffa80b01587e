"""One durable call, and what a pass may record of it: every write of a scope, and every way to leave its function.

A database or a lease that fails here leaves the function: the workflow must not take it for an error of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, TypeVar

from django.db import Error

from django_durable.engine import shutdown
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.outcomes import Abandon, HandBack, Leave, Leaving, Mismatch, Park
from django_durable.engine.reconnect import TRANSIENT
from django_durable.engine.scopes import Shared
from django_durable.exceptions import CodecError, LeaseLostError
from django_durable.models import Kind, Status, StepStatus

T = TypeVar("T")
UNDOING = frozenset({Kind.ROLLBACK, Kind.COMPENSATION})


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
    def has_done_its_work(self) -> bool:
        """As opposed to a step that an operator went on without."""
        return self.recorded is not None and self.recorded.status == StepStatus.COMPLETED

    @property
    def is_undoing(self) -> bool:
        """Neither a cancellation nor the deadline interrupts it."""
        return self.kind in UNDOING

    def checkpoint(self, **values: Any) -> Checkpoint:
        """The recorded checkpoint with changes, or a new one."""
        if values.get("finished_at") is not None:
            values["finished_at"] = self.journal.completion_at(values["finished_at"])
        if self.recorded is not None:
            return replace(self.recorded, **values)
        return Checkpoint(
            position=self.journal.next_position,
            name=self.name,
            kind=self.kind,
            target=self.target,
            **{"started_at": self.entered_at, **values},
        )


class Recorder:
    """What one scope of a pass records, and keeps in memory in step with the table."""

    shared: Shared
    journal: Journal
    claim: Claim
    history: list[Checkpoint]
    interrupted: StepStatus | None  # what has interrupted the function, once that is recorded

    def before_new_work(self) -> None:
        """Leave instead of starting a step body when the lease is lost, somebody has paused it or this worker stops."""
        self._prove()
        if self.claim.lost:
            raise self.leave(Abandon(LeaseLostError()))
        if self.is_to_hand_back:
            raise self.leave(HandBack())

    @property
    def is_to_hand_back(self) -> bool:
        """No further body may begin in this pass, though the lease is good."""
        return shutdown.is_stopping() or self.journal.paused_at is not None

    def _prove(self) -> None:
        """Before the first thing of a pass that is new: what is recorded in branches yet to be entered must fit too."""
        with self.reading():
            disproof = self.shared.disproof()
        if disproof is not None:
            raise self.leave(Mismatch(disproof))

    def settle(self, call: Call, checkpoint: Checkpoint, *, consuming: Any = None) -> Checkpoint:
        """Record the state of a call."""
        self._prove()
        try:
            recorded = self.journal.settle(checkpoint, is_new=call.is_new, consuming=consuming)
        except (LeaseLostError, Error) as error:
            raise self.leave(Abandon(error)) from error
        self.remember(call, recorded)
        return recorded

    def record(self, call: Call, checkpoint: Checkpoint, write: Callable[..., bool]) -> None:
        """Record a new call by a write of the caller's own; see ``Journal.record``."""
        self._prove()
        try:
            recorded = self.journal.record(checkpoint, write)
        except (LeaseLostError, Error) as error:
            raise self.leave(Abandon(error)) from error
        self.remember(call, recorded)

    def publish_deferred(self) -> bool:
        """Record what was emitted, since a body may take long, or its worker along; False: nothing was written."""
        try:
            return self.journal.publish()
        except (LeaseLostError, Error) as error:
            raise self.leave(Abandon(error)) from error

    def remember(self, call: Call, recorded: Checkpoint) -> None:
        self.history[call.index : call.index + 1] = [recorded]
        call.recorded = recorded

    def defer(self, call: Call, checkpoint: Checkpoint) -> None:
        """Record a call together with whatever is recorded next: nothing outside depends on it before that."""
        self.journal.defer(checkpoint)
        self.remember(call, checkpoint)

    def recording(self, write: Callable[[], T]) -> T:
        """Run a write that may have user code in it: only what is certainly no failure of that leaves the function."""
        try:
            return write()
        except (LeaseLostError, *TRANSIENT) as error:
            raise self.leave(Abandon(error)) from error

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Around the engine's own statements in the midst of the function, which must not see a database that fails."""
        try:
            yield
        except Error as error:
            raise self.leave(Abandon(error)) from error

    def stored(self, load: Callable[[str], T], text: str | None) -> T:
        """Decode what is recorded. Text that this process cannot read wants other code; it is no workflow's error."""
        try:
            return load(text or "")
        except CodecError as error:
            raise self.leave(Mismatch(error)) from error

    def park(self, call: Call, checkpoint: Checkpoint | None, **park: Any) -> Leave:
        """To be raised: wait as described by ``outcomes.Park``; wakes for the deadline too.

        checkpoint: what is recorded of the call; None: nothing, it will be made anew.
        """
        until = park.pop("until")
        if call.is_undoing:
            park["status"] = Status.COMPENSATING
        elif self.journal.deadline_at is not None and self.interrupted is None:
            until = min(until, self.journal.deadline_at) if until else self.journal.deadline_at
        opens = () if checkpoint is None else ((checkpoint, call.is_new),)
        return self.leave(Park(**{"opens": opens, "until": until, "wake_seq": self.claim.wake_seq, **park}))

    def leave(self, why: Leaving) -> Leave:
        self.shared.leaving = Leave(why)
        return self.shared.leaving
