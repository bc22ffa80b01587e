"""Scopes: each branch of a parallel or chosen part has a history of its own, in its own order.

A checkpoint's name is a path, ``both/left/charge`` is the step "charge" of the branch "left" of the part "both". Calls
are matched within their scope, so that branches may come in any order; positions are the order of recording.
"""

from __future__ import annotations

import sys
import threading
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

from django_durable.definitions import StepDefinition
from django_durable.engine.changes import INHERITED, Change, changes_state
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.new_start import NewStart
from django_durable.engine.outcomes import Leave, Want
from django_durable.engine.policies import Policy
from django_durable.engine.progress import Progress
from django_durable.exceptions import DurableError, InvalidOptionError, SwallowedControlFlowError
from django_durable.models import Kind
from django_durable.running import running_step

Proof = Callable[[], DurableError | None]
_EARLIEST = datetime.min.replace(tzinfo=UTC)
STARTS = frozenset({Kind.CHILD, Kind.MAP})
LONGEST_PATH = 255 - len("rollback:")  # what undoes a step is recorded as that and its path; the column holds 255


@dataclass(frozen=True, slots=True)
class Compensation:
    """How to undo one completed step. result: of that step, as stored; the undoing body gets it, decoded afresh."""

    step_id: str
    undo: StepDefinition[..., Any]
    result: str
    completed: tuple[datetime, int]  # when, and its position: the order of completion


_NOBODY = object()


def scope_of(name: str) -> str:
    """The scope of a checkpoint, by its name."""
    return name.rpartition("/")[0]


@dataclass(slots=True)
class Course:
    """How far the outcomes of a function's coroutines were handed out, which are in the order of their completion.

    began_before: the position of the first checkpoint that is theirs, None if nothing is. recorded_until: the latest
    completion of an earlier pass.
    """

    began_before: int | None
    recorded_until: datetime
    until: datetime | None = None

    @property
    def is_behind(self) -> bool:
        """An earlier pass came further."""
        return (self.until or _EARLIEST) < self.recorded_until

    def seen(self, log: list[Change]) -> int | None:
        """What of the log the coroutines may see: what lies before that position, all of it for None."""
        if self.until is None:
            return self.began_before
        ahead = bisect_right(log, self.until, key=attrgetter("completed_at"))
        return log[ahead].position if ahead < len(log) else None


class Shared:
    """What all scopes of one pass share."""

    def __init__(
        self,
        journal: Journal,
        history: list[Checkpoint],
        *,
        short_wait_seconds: float,
        body_threads: int = 1,
        proof: Proof | None = None,
        depth: int = 0,
        is_of_map: bool = False,
        seed: UUID | None = None,
        runs: Counter[str] | None = None,
    ) -> None:
        """body_threads: how many step bodies of a part with branches may run at one time.

        seed: of the random numbers, if not the execution's id. runs: how often steps completed that will run again.

        proof: says why today's code does not fit this history, all of it, or None; runs nothing.
        """
        self.journal = journal
        self.progress = Progress(journal.claim)
        self._thread: int | None = threading.get_ident()  # of the pass; None once it is over
        self.runs = runs or Counter[str]()
        self.seed = seed or journal.claim.execution_id
        self.depth = depth  # how many parents the execution has above it
        self.is_of_map = is_of_map  # it is a child of a map over a workflow
        self.short_wait_seconds = short_wait_seconds
        self.body_threads = body_threads
        self._histories: defaultdict[str, list[Checkpoint]] = defaultdict(list)
        self.log = [Change(checkpoint) for checkpoint in history if changes_state(checkpoint)]
        self.updates: Counter[str] = Counter()  # how many were answered, by name
        for checkpoint in history:
            if checkpoint.kind == Kind.UPDATE:  # no call of the code
                self.updates[checkpoint.target] += 1
            elif checkpoint.name != INHERITED:
                self._histories[scope_of(checkpoint.name)].append(checkpoint)
        self.compensates = True  # as the workflow says
        self.workflow = ""  # its name
        self.on_change = "park"  # as the workflow says
        self._proof = proof if any(self._histories) else None  # without branches each call finds it out by itself
        self._begun: dict[UUID, int] = {}  # by the children started in this pass: the news known then
        self.seen: dict[UUID, tuple[Any, ...] | None] = {}  # rows of children, as of the news `seen_at`
        self.seen_at = -1
        self.slots: dict[str, UUID] = {}  # of limits, that bodies hold, by the names of their checkpoints
        self.has_queued = False  # a step has waited for a slot
        self.has_children = any(checkpoint.kind in STARTS for checkpoint in history)
        # A branch may be entered again, and so may the whole function: of each new call, when it was first entered;
        self.entered: dict[str, datetime] = {}
        self.reached: dict[str, int] = {}  # of each scope, how many calls were entered so far.
        self.rewind()

    def rewind(self) -> None:
        self.policies: dict[str, Policy] = {}  # by scope
        self.active: object = None  # the scope whose function is running
        self.leaving: Leave | None = None
        self.asked_about = sys.maxsize  # length of the log when the first condition that does not hold was asked
        self._recorded_until: datetime | None = None  # see ``keep_order``
        self.only_recorded = False  # hand out what is recorded, do nothing new
        self.only_first = False  # nothing but the first of it
        self.latest_seen: datetime | None = None  # the last of what was handed out meanwhile
        self.source = ""  # file and line of the awaited call that is being made
        self.compensations: list[Compensation] = []
        self.offered: dict[str, Compensation] = {}  # all that there ever were, by step
        self.successor: NewStart | None = None  # the function was left in order to go on as this
        self.undone: list[str] = []  # statuses of the compensations that are settled
        self.hands_over = False  # a new step body is wanted of the outermost part, and not run in place
        self.in_flight: dict[str, Want] = {}  # whose bodies are running, by the names of their checkpoints
        self.full: dict[str, int] = {}  # steps that wait for a slot of their limit, and the news known when they asked

    def is_replaying(self) -> bool:
        """Whether the function that runs now is being taken to where it has been before."""
        return bool(getattr(self.active, "is_replaying", False))

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Only inside, and in this thread, durable calls can be made."""
        self._thread = threading.get_ident()
        try:
            yield
        finally:
            self._thread = None

    @contextmanager
    def asking(self) -> Iterator[None]:
        """Around a condition of the user's: a replay does not ask it again, so it makes no calls."""
        self.active, active = _NOBODY, self.active
        try:
            yield
        finally:
            self.active = active

    def check_place(self, scope: object) -> None:
        """Refuse a durable call where none can be made. scope: whose context it is made with."""
        self.check_thread()
        self.refuse_while_leaving()
        if self.active not in (None, scope):
            raise InvalidOptionError(
                "A branch must use the context that it is given; a condition of switch, loop or wait_until has its "
                "argument and uses no context."
            )

    def check_thread(self) -> None:
        """Refuse it in a step's body, in another thread, and after the pass."""
        inside = running_step.get(None)
        if inside is not None and inside.execution_id == self.journal.claim.execution_id:
            raise InvalidOptionError(f"Durable calls cannot be made inside the body of step {inside.step_id!r}.")
        if self._thread != threading.get_ident():
            raise InvalidOptionError(
                "A context can be used only while its workflow function runs, and in the thread that runs it. Do not "
                "keep it, and give it to no other thread; for work side by side there is ctx.parallel."
            )

    def refuse_while_leaving(self) -> None:
        """Leave again, or raise SwallowedControlFlowError if the function was to be left and goes on."""
        self.go_on_leaving()
        if self.leaving is not None:
            raise SwallowedControlFlowError(f"Suspend ({self.leaving})")

    def go_on_leaving(self) -> None:
        """Leave again in a `finally` on the way out: its turn comes when the waiting is over."""
        if self.leaving is not None and _is_unwinding(self.leaving):
            raise self.leaving

    def keep_order(self) -> datetime:
        """From now on the recorded times of completion tell which call of all was completed before which.

        Returns the latest that was recorded when this run of the function came here first.
        """
        if self._recorded_until is None:
            changes = [change.completed_at for change in self.log]
            times = [each.finished_at for history in self._histories.values() for each in history]
            self._recorded_until = max((time for time in changes + times if time is not None), default=_EARLIEST)
            self.journal.latest = max(self.journal.latest or _EARLIEST, self._recorded_until)
        return self._recorded_until

    def begin(self, child_id: UUID) -> None:
        """A child has been started; for a map: its first one."""
        self.has_children = True
        self._begun[child_id] = self.journal.claim.wake_seq

    def has_just_begun(self, child_id: UUID) -> bool:
        """Nothing has been heard since it was started in this pass, so it has not ended: that would be news."""
        return self._begun.get(child_id) == self.journal.claim.wake_seq

    def awaited(self) -> set[UUID]:
        """The children for which an earlier pass waited, and whose end is not recorded."""
        recorded = [checkpoint for history in self._histories.values() for checkpoint in history]
        return {UUID(each.target) for each in recorded if each.kind == Kind.JOIN and not each.is_settled}

    def history(self, scope: str) -> list[Checkpoint]:
        """The checkpoints of one scope, in order; the caller keeps it in step with the table."""
        return self._histories[scope]

    def disproof(self) -> DurableError | None:
        """Why what this pass has not come to does not fit; asked once in a pass."""
        proof, self._proof = self._proof, None
        return proof() if proof is not None and self.unasked() else None

    def unasked(self) -> list[Checkpoint]:
        """What is recorded in any scope and was not asked for in this pass."""
        scopes = self._histories.items()
        return [
            checkpoint
            for scope, history in scopes
            for checkpoint in (self.policies[scope].unasked if scope in self.policies else history)
        ]

    def forget_compensations(self, scope: str) -> None:
        """A branch is run anew and will offer them again."""
        self.compensations = [each for each in self.compensations if not each.step_id.startswith(f"{scope}/")]


def _is_unwinding(leaving: Leave) -> bool:
    error = sys.exception()
    while error is not None and error is not leaving:
        error = error.__context__
    return error is not None
