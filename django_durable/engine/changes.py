"""The log of what changes the state of an execution, and what each scope sees of it.

Whatever changes the state is a checkpoint, and positions are the order of recording. The state at a place in the code
is made of all changes before the position of the next recorded call there; at the end of what is recorded, of all. That
is the same set in the first run and in every replay: updates are recorded behind the calls that wait (``updates``), so
none gets between two calls that the code has made one after the other.

Branches of parallel and race run in turns, so what one records is nothing that another could see in every replay: a
branch sees what its outer scope saw on entering the part, and what is changed inside of itself.
"""

from __future__ import annotations

from bisect import bisect_left
from operator import attrgetter
from typing import Any

from django_durable.engine import payloads
from django_durable.engine.history import Checkpoint
from django_durable.models import Kind, StepStatus

State = dict[str, Any]
INHERITED = "__state"  # what an execution that was continued as new begins with; no call of its code


class Change:
    """One recorded change, decoded when it is first needed. ``apply`` raises CodecError."""

    __slots__ = ("_text", "_what", "completed_at", "name", "position")

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.position, self.name = checkpoint.position, checkpoint.name
        self.completed_at = checkpoint.finished_at
        self._text = checkpoint.result or ""
        self._what: dict[str, Any] | None = None

    def apply(self, state: State) -> None:
        if self._what is None:
            self._what = payloads.load(self._text)
        if self._what.get("replaces"):
            state.clear()
        for name in self._what.get("removed", ()):
            state.pop(name, None)
        state.update(self._what["set"])


def changes_state(checkpoint: Checkpoint) -> bool:
    return checkpoint.kind in (Kind.STATE, Kind.UPDATE) and checkpoint.status == StepStatus.COMPLETED


class View:
    """What one scope sees. The values are shared between views: whoever hands one out hands out a copy."""

    def __init__(self, log: list[Change], scope: str = "", outer: View | None = None, since: int = 0) -> None:
        """scope: whose changes count. outer, since: what it begins with is what that one saw at that position."""
        self._log, self._scope, self._outer, self._since = log, scope, outer, since
        self._seen: State | None = None
        self._next = self._until = 0

    def at(self, position: int | None) -> State:
        """The state before a position; None: with everything in the log. Raises CodecError."""
        if self._seen is None or (position is not None and position < self._until):
            self._seen = {} if self._outer is None else dict(self._outer.at(self._since))
            self._next = bisect_left(self._log, self._since, key=attrgetter("position"))
            self._until = self._since
        while self._next < len(self._log):
            change = self._log[self._next]
            if position is not None and change.position >= position:
                break
            if change.name.startswith(f"{self._scope}/" if self._scope else ""):
                change.apply(self._seen)
            self._next += 1
            self._until = change.position + 1
        return self._seen

    def caught_up(self, position: int) -> View:
        """The same scope, once it was shown all that there was before a position."""
        return View(self._log, self._scope, View(self._log), position)
