"""Matching calls with the history: what every durable operation is built on. What is recorded of them: ``recorder``.

Nothing new runs before the call was matched. Whatever ends a pass leaves the workflow function as one ``Leave``
(a BaseException), so that ``except Exception`` in a workflow cannot catch it.
"""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from django_durable.context import Context
from django_durable.engine import limits
from django_durable.engine.changes import View
from django_durable.engine.history import Checkpoint
from django_durable.engine.new_start import NewStart
from django_durable.engine.outcomes import Leaving, Mismatch, Raised, Returned, RollingBack, TooLong, Unrecorded
from django_durable.engine.policies import POLICIES, Beside, Outer, Policy
from django_durable.engine.recorder import UNDOING, Call, Recorder
from django_durable.engine.scopes import LONGEST_PATH, Compensation, Course, Shared
from django_durable.exceptions import Cancelled, DeadlineExceeded, InvalidOptionError, NondeterminismError
from django_durable.models import Kind, StepStatus

_EARLIEST = datetime.min.replace(tzinfo=UTC)
# A patch is only a question, and a task is interrupted at its own calls. The winner is known when its branch has ended;
# the others' waits must be withdrawn yet.
UNINTERRUPTED = UNDOING | {Kind.PATCH, Kind.WON, Kind.TASK}
UNLIMITED = UNDOING | {Kind.CONTINUE, Kind.LONG}
INTERRUPTIONS: dict[str, type[Cancelled]] = {
    StepStatus.CANCELLED: Cancelled,
    StepStatus.TIMED_OUT: DeadlineExceeded,
}


@dataclass(frozen=True, slots=True)
class Bookmark:
    """A place in the code of one scope, and what the calls up to there have told of the whole function."""

    policy: Policy
    calls: int
    patches: dict[str, bool]
    view: View
    interrupted: StepStatus | None
    reached_at: datetime
    compensations: list[Compensation]
    undone: list[str]
    successor: NewStart | None


class Matcher(Recorder):
    """One pass's view of one scope of an execution: its history, the place in it, and what may be recorded next."""

    is_async = False  # the function that runs in this scope, by which its lambdas are judged too

    def __init__(self, shared: Shared) -> None:
        self.shared = shared
        self.journal = shared.journal
        self.claim = shared.journal.claim
        self.execution_id = self.claim.execution_id
        self.attempt = max(self.claim.claims, 1)
        self.course: Course | None = None  # of the coroutines that make the calls of this scope
        self._place("", outer=None)

    def rewind(self) -> None:
        """Begin the whole function anew."""
        self.shared.rewind()
        self._place("", outer=None)

    def branch(self, call: Call, name: str, *, is_inline: bool = False) -> Self:
        """The scope of one branch of a part, at its beginning. What has interrupted us does not interrupt it again.

        is_inline: it is the only one, and sees of the state what the code outside would see in its place; not beside
        other tasks, which may change it meanwhile.
        """
        assert call.recorded is not None
        branch = self._inner(f"{call.name}/{name}", outer=self.policy)
        branch.course = None
        if is_inline and not self.is_async:
            branch.view = self.view
        else:
            branch.view = View(self.shared.log, branch.scope, self.view, call.recorded.position)
        branch.is_beside_others = self.is_beside_others or call.kind in (Kind.PARALLEL, Kind.RACE)
        return branch

    def task(self, call: Call) -> Self:
        """The scope of a task that this call creates. It runs beside us, and sees the state that all tasks share."""
        task = self._inner(call.name, outer=self.policy.outer or Beside(self.history, self.shared.policies))
        task.view = self.view
        task.is_beside_others = True
        return task

    def _inner(self, scope: str, *, outer: Outer | None) -> Self:
        inner = copy(self)
        inner._place(scope, outer=outer)
        inner.patches = {**self.patches}
        inner.interrupted = self.interrupted
        inner.is_called_off = self.is_called_off
        inner.reached_at = self.reached_at
        return inner

    def call(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Returned | Raised | Leaving:
        """Run a function with the context of this scope, to its end or until it leaves; never raises."""
        raise NotImplementedError  # ``Replay`` knows the context

    def ended(self, outcome: Returned | Raised) -> Returned | Raised | Leaving:
        """What the end of this scope's function means: with calls that are recorded and were not made it is none."""
        raise NotImplementedError

    def context(self) -> Context:
        """For the calls of this scope."""
        raise NotImplementedError

    def _place(self, scope: str, *, outer: Outer | None) -> None:
        self.scope = scope
        self.history = self.shared.history(scope)
        self.policy = self.shared.policies[scope] = POLICIES[self.shared.on_change](self.history, outer)
        self.patches: dict[str, bool] = {}  # the answers that were given
        self._names: Counter[str] = Counter()
        self._entered: list[str] = []  # the same, in the order of the calls
        # A number gives other numbers than its text; the first scope's seed was here before there were others.
        self.random_numbers = random.Random(f"{self.shared.seed}/{scope}" if scope else self.shared.seed.int)
        self.interrupted: StepStatus | None = None
        self.is_beside_others = False  # inside a branch of a part with several
        self.is_called_off = False  # a branch beside this one has failed
        self.view = View(self.shared.log)
        self.reached_at = _EARLIEST  # the latest completion of what can be undone, up to this place in the code

    def bookmark(self) -> Bookmark:
        """This place in the code, for ``go_back``, once."""
        shared = self.shared
        return Bookmark(
            policy=copy(self.policy),
            calls=len(self._entered),
            patches={**self.patches},
            view=self.view,
            interrupted=self.interrupted,
            reached_at=self.reached_at,
            compensations=shared.compensations[:],
            undone=shared.undone[:],
            successor=shared.successor,
        )

    def go_back(self, place: Bookmark) -> None:
        """Forget the calls since then: they will be made again."""
        self._names.subtract(self._entered[place.calls :])
        del self._entered[place.calls :]
        self.policy = self.shared.policies[self.scope] = place.policy
        self.patches, self.view = place.patches, place.view
        self.interrupted, self.reached_at = place.interrupted, place.reached_at
        self.shared.compensations, self.shared.undone = place.compensations, place.undone
        self.shared.successor = place.successor

    # -- matching ----------------------------------------------------------------------------------

    def enter(self, kind: Kind, name: str, target: str = "") -> Call:
        """Match one call with the history before anything runs; settle interruptions that are due.

        name: without its number; repeats are numbered here, in the order of the calls.
        """
        self.check_place()
        self._names[name] += 1
        self._entered.append(name)
        numbered = self._numbered(kind, name)
        against = self.policy.against(kind, numbered)
        difference = None if against is None else self._difference(against, kind, numbered)
        if self.shared.only_recorded and not isinstance(difference, Mismatch):
            self._look_up(self.policy.offered(kind, numbered))
        if difference is not None:
            raise self.leave(difference)
        index = self.policy.take(numbered)
        recorded = self.history[index] if index < len(self.history) else None
        entered_at = self.claim.now()
        if recorded is None:
            entered_at = self.shared.entered.setdefault(numbered, entered_at)
            self.shared.reached[self.scope] = self._names.total()
        call = Call(index, numbered, kind, target, recorded, entered_at, self.journal)
        if recorded is not None and recorded.is_settled:
            self._raise_if_interrupted(recorded)
        elif not (numbered in self.shared.in_flight or _has_started(recorded)):
            self.interrupt_if_due(call)
        if recorded is None:
            self._watch_length(call)
        return call

    def _look_up(self, recorded: Checkpoint | None) -> None:
        """Leave at whatever is not yet completed; see ``coroutines``."""
        if recorded is None or recorded.finished_at is None:
            raise self.leave(Unrecorded())
        self.shared.latest_seen = max(self.shared.latest_seen or _EARLIEST, recorded.finished_at)
        if self.shared.only_first:
            raise self.leave(Unrecorded())

    def _difference(self, recorded: Checkpoint, kind: Kind, name: str) -> RollingBack | Mismatch:
        """Why a call cannot be made here: the function's end was decided before, or the code has changed."""
        if recorded.kind == Kind.ROLLBACK:
            return RollingBack()
        expected, found = describe(recorded.kind, recorded.name), describe(kind, name)
        return Mismatch(NondeterminismError(recorded.position, expected, found, _caller(self.shared.source)))

    def _watch_length(self, call: Call) -> None:
        """Leave instead of recording a call beyond the limit, but for those by which the execution comes to its end."""
        length = self.journal.next_position
        limits.tell(self.journal, self.shared.workflow, length)
        too_long = limits.reached(length)
        if too_long is not None and call.kind not in UNLIMITED and self.interrupted is None:
            raise self.leave(TooLong(too_long))

    def check_place(self) -> None:
        """Refuse a durable call where none can be made."""
        self.shared.check_place(self)

    def _numbered(self, kind: Kind, name: str) -> str:
        """The name in the history of the latest call of that name, with the scope's before it."""
        if self._names[name] > 1:
            name = f"{name}#{self._names[name]}"
        if not self.scope:
            return name
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
        status = None if call.kind in UNINTERRUPTED else self.due_interruption()
        if status is not None:
            elsewhere = self._told_elsewhere()
            if elsewhere is not None:
                raise self.leave(self._difference(elsewhere, call.kind, call.name))
            self.settle(call, call.checkpoint(status=status, finished_at=self.claim.now(), due_at=None))
            self.interrupted = status
            raise INTERRUPTIONS[status]

    def _told_elsewhere(self) -> Checkpoint | None:
        """By name: the place of an interruption in a part that this pass has not come to. It is told once, there."""
        if self.shared.on_change == "park":
            return None
        inside = f"{self.scope}/" if self.scope else ""
        ahead = (each for each in self.shared.unasked() if each.name.startswith(inside))
        return next((each for each in ahead if each.status in INTERRUPTIONS), None)

    def due_interruption(self) -> StepStatus | None:
        """The cancellation or the deadline that the next new call would tell."""
        if self.interrupted is not None:
            return None
        if self.is_called_off:
            return StepStatus.CANCELLED
        if self.journal.cancel_requested_at is not None:
            return StepStatus.CANCELLED
        if self.journal.deadline_at is not None and self.journal.deadline_at <= self.claim.now():
            return StepStatus.TIMED_OUT
        return None

    def publish(self, call: Call) -> None:
        """Before a body: record what was emitted, since a body may take long, or its worker along."""
        if self.publish_deferred():
            self.interrupt_if_due(call)  # as after any other write: it may have met news

    def peek(self, kind: Kind, name: str) -> Checkpoint | None:
        """What is recorded of this call, if it were made now."""
        self._names[name] += 1
        recorded = self.policy.offered(kind, self._numbered(kind, name))
        self._names[name] -= 1
        return recorded

    def pass_mark(self) -> Checkpoint:
        """Go on behind the recorded mark of a rollback, at which the function was left or has ended."""
        mark = self.policy.unmet
        assert mark is not None
        self.policy.take(mark.name)
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
    def next_recorded(self) -> int | None:
        """Position of the next recorded call of this place; None: what comes is new."""
        ahead = self.policy.ahead
        return None if ahead is None else ahead.position

    @property
    def is_replaying(self) -> bool:
        """Whether the next durable call is already recorded, be it open, or was made: somebody came this far before."""
        if self.shared.only_recorded or (self.course is not None and self.course.is_behind):
            return True
        return self.policy.is_behind or self._names.total() < self.shared.reached.get(self.scope, 0)


def describe(kind: str, name: str) -> str:
    return f"{kind} {name!r}"


def _has_started(recorded: Checkpoint | None) -> bool:
    """Its outcome must be told before any interruption."""
    return recorded is not None and recorded.status == StepStatus.STARTED


def _caller(awaited: str) -> str:
    """File and line of the workflow code that made the call: the innermost frame outside the package.

    awaited: those of the call that is being awaited, if any: nothing of its workflow is on the stack.
    """
    package = __name__.rpartition(".engine")[0].replace(".", "/")
    for frame in reversed(traceback.extract_stack()):
        file = frame.filename.replace("\\", "/")
        if awaited and file.endswith(f"/{package}/engine/coroutines.py"):
            return awaited
        if f"/{package}/" not in file and "/asyncio/" not in file:
            return f"{frame.filename}:{frame.lineno}"
    return ""
