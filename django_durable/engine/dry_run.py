"""Replaying a recording without writing or running anything: does today's code still fit what was recorded?

The pass is the engine's own (``replay``). What is not recorded ends it, in each branch: from there the execution would
go on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NoReturn
from uuid import UUID

from django.db import Error

from django_durable import clock
from django_durable.conf import get_settings
from django_durable.definitions import WorkflowDefinition, registry
from django_durable.engine import causes, offloading, payloads
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.outcomes import (
    Abandon,
    Continuing,
    Ended,
    Frontier,
    Leave,
    Leaving,
    Mismatch,
    Outcome,
    Raised,
    Returned,
    TooLong,
)
from django_durable.engine.recorder import Call
from django_durable.engine.recordings import Recording
from django_durable.engine.replay import Replay
from django_durable.exceptions import CodecError, DurableError, LeaseLostError
from django_durable.models import Kind, Status

_ASKING = frozenset({Kind.SWITCH, Kind.PARALLEL, Kind.RACE, Kind.WON, Kind.JOIN})
_NOBODY = UUID(int=0)  # a token that no timer has: even what passed by the journal would meet the fence


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayReport:
    """What today's code does with a recorded history.

    mismatch: why it does not fit, or None. end: "returned", "raised", "continued" as new, or "open" where the execution
    would go on from.
    error: what the function raised; None too when its steps were undone, since then only the record of it is left.
    """

    mismatch: DurableError | None
    end: str
    value: Any = None
    error: BaseException | None = None

    @property
    def fits(self) -> bool:
        return self.mismatch is None


def replay(recording: Recording, *, using: str | None = None) -> ReplayReport:
    """Run today's workflow function against a recording; no step body, no statement. Raises UnknownWorkflowError."""
    definition = registry.find(recording.workflow, recording.version)
    match run(DryRun(recording, using=using), definition, recording):
        case Mismatch(difference):
            return ReplayReport(mismatch=difference, end="open")
        case _ if causes.order_in(recording.history) is not None:  # its end does not count any more
            return ReplayReport(mismatch=None, end="open")
        case Returned(value):
            return ReplayReport(mismatch=None, end="returned", value=value)
        case Raised(error):
            return ReplayReport(mismatch=None, end="raised", error=error)
        case Ended(status=Status.COMPLETED, result=result):
            return ReplayReport(mismatch=None, end="returned", value=payloads.load(result or ""))
        case Continuing(checkpoint=None):
            return ReplayReport(mismatch=None, end="continued")
        case Ended():
            return ReplayReport(mismatch=None, end="raised")
        case _:
            return ReplayReport(mismatch=None, end="open")


def difference(recording: Recording, *, using: str) -> DurableError | None:
    """Why today's code does not fit; None if it does. Raises the error of a database that fails: then nobody knows."""
    match run(DryRun(recording, using=using), registry.find(recording.workflow, recording.version), recording):
        case Mismatch(why):
            return why
        case Abandon(error):
            raise error
        case _:
            return None


def run(dry: DryRun, definition: WorkflowDefinition[..., Any], recording: Recording) -> Outcome:
    """How such a pass ends."""
    try:
        args, kwargs = _given(recording)
    except CodecError as unreadable:
        return Mismatch(unreadable)
    return dry.run(definition, args, kwargs)


def _given(recording: Recording) -> tuple[list[Any], dict[str, Any]]:
    """The arguments. Raises CodecError, whatever stands in the way."""
    try:
        given = payloads.load(recording.input)
        return given["args"], given["kwargs"]
    except CodecError:
        raise
    except Exception as error:  # the project's cipher's, or the file's, which holds something else
        raise CodecError(f"{type(error).__name__}: {error}", "input") from error


class DryRun(Replay):
    """A pass whose lease was lost before it began: by the engine's own rules nothing new may start or be recorded.

    Handing out what is recorded, comparing and parking need no lease.
    """

    def __init__(self, recording: Recording, *, using: str | None = None) -> None:
        """using: where results of maps are read, if it looks at them."""
        alias = using or get_settings().database
        claim = Claim(recording.id, alias, _NOBODY, "", 0, 1, 0, None, clock.now(), lost=True)
        order = causes.order_in(recording.history)  # no call of the code, and what comes behind it neither
        history = list(recording.history[: None if order is None else order.position])
        journal = ClosedJournal(claim, inbox=list(recording.inbox), cancel_requested_at=None, length=len(history))
        super().__init__(journal, history, short_wait_seconds=0, seed=recording.seed)
        self.asked: set[str] = set()  # names of calls that were made; shared with its branches, which are copies

    def run(self, definition: WorkflowDefinition[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Outcome:
        with offloading.all_in_rows():
            return super().run(definition, args, kwargs)

    def enter(self, kind: Kind, name: str, target: str = "") -> Call:
        """A new part is not entered, and no child is looked for."""
        call = super().enter(kind, name, target)
        self.asked.add(call.name)
        if kind in _ASKING and (call.recorded is None or not call.recorded.is_settled):
            raise self.leave(Frontier())
        return call

    def leave(self, why: Leaving) -> Leave:
        """Only what would be new ends at the frontier; where the database fails, nothing is learnt."""
        is_new = isinstance(why, TooLong) or (isinstance(why, Abandon) and not isinstance(why.error, Error))
        return super().leave(Frontier() if is_new else why)

    def tell_unasked(self) -> None:
        """The real pass does."""

    @property
    def is_replaying(self) -> bool:
        """To the end: what comes after the last checkpoint is for the real pass to log and to show."""
        return True


class ClosedJournal(Journal):
    """Finds the lease lost without asking the database."""

    def record_in_transaction(self, checkpoint: Checkpoint, *, is_new: bool) -> NoReturn:
        raise LeaseLostError

    def _durably(self, checkpoint: Checkpoint, write: Any) -> NoReturn:
        raise LeaseLostError
