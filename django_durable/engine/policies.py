"""How calls are matched with the recorded history of their scope: in order, or by name.

``@workflow(on_change=)`` chooses. Either way a recorded outcome is handed out at most once in a pass, and only to a
call of its own kind and name; the two differ in what a call may find missing, and what may be left over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from django_durable.engine.history import Checkpoint
from django_durable.models import Kind, StepStatus

_INTERRUPTED = (StepStatus.CANCELLED, StepStatus.TIMED_OUT)


class Outer(Protocol):
    """What a scope must know of the one around it."""

    @property
    def left(self) -> Checkpoint | None:
        """A checkpoint, here or in an enclosing scope, before which nothing new may be done."""

    @property
    def ahead(self) -> Checkpoint | None:
        """What an earlier pass recorded next, here or in an enclosing scope."""

    @property
    def has_unasked(self) -> bool:
        """Whether anything is recorded, here or in an enclosing scope, that was not asked for in this pass so far."""

    @property
    def is_behind(self) -> bool:
        """An earlier pass came further than this one."""


class Policy(Outer, Protocol):
    """One pass's way through the history of one scope, which grows at its end as new calls are recorded."""

    outer: Outer | None

    def against(self, kind: Kind, name: str) -> Checkpoint | None:
        """The checkpoint that forbids this call here, or None."""

    def take(self, name: str) -> int:
        """The place in the history of a call that nothing is against; its end for a new one."""

    def offered(self, kind: Kind, name: str) -> Checkpoint | None:
        """What is recorded of this call, if it were made now."""

    @property
    def unmet(self) -> Checkpoint | None:
        """A checkpoint of this scope that its function must not end before."""

    @property
    def unasked(self) -> Sequence[Checkpoint]:
        """What is recorded in this scope and was not asked for in this pass so far."""


class InOrder:
    """Each call must be the one that was recorded next."""

    def __init__(self, history: list[Checkpoint], outer: Outer | None) -> None:
        self._history = history
        self.outer = outer
        self._next = 0

    def against(self, kind: Kind, name: str) -> Checkpoint | None:
        return None if self.offered(kind, name) is not None else self.left

    def take(self, name: str) -> int:
        self._next += 1
        return self._next - 1

    def offered(self, kind: Kind, name: str) -> Checkpoint | None:
        following = self.unmet
        return following if following is not None and (following.kind, following.name) == (kind, name) else None

    @property
    def unmet(self) -> Checkpoint | None:
        return self._history[self._next] if self._next < len(self._history) else None

    @property
    def left(self) -> Checkpoint | None:
        """A branch is over once anything behind its part is recorded."""
        return self.unmet or (self.outer.left if self.outer is not None else None)

    @property
    def ahead(self) -> Checkpoint | None:
        return self.left

    @property
    def unasked(self) -> Sequence[Checkpoint]:
        return self._history[self._next :]

    @property
    def has_unasked(self) -> bool:
        return self.left is not None

    @property
    def is_behind(self) -> bool:
        return self.left is not None


class ByName:
    """A call that is not recorded is new, whatever follows; a checkpoint that no call asks for stays where it is.

    Marks keep their places: nothing new comes before an interruption that was delivered, or before a rollback. It would
    meet the interruption once more, and keep steps behind it from offering what undoes them.
    """

    def __init__(self, history: list[Checkpoint], outer: Outer | None) -> None:
        self._history = history
        self.outer = outer
        self._places = {checkpoint.name: place for place, checkpoint in enumerate(history)}
        self._taken: set[int] = set()
        self._marks = [each for each in history if each.kind == Kind.ROLLBACK or each.status in _INTERRUPTED]

    def against(self, kind: Kind, name: str) -> Checkpoint | None:
        """A name keeps its kind. Before a mark only settled outcomes are handed out."""
        place = self._places.get(name)
        if place is None:
            return self.left
        recorded = self._history[place]
        if recorded.kind != kind:
            return recorded
        return None if recorded.is_settled else self.left

    def take(self, name: str) -> int:
        place = self._places.setdefault(name, len(self._history))
        self._taken.add(place)
        self._marks = [mark for mark in self._marks if mark.name != name]
        return place

    def offered(self, kind: Kind, name: str) -> Checkpoint | None:
        place = self._places.get(name, len(self._history))
        recorded = self._history[place] if place < len(self._history) else None
        return recorded if recorded is not None and recorded.kind == kind else None

    @property
    def unmet(self) -> Checkpoint | None:
        return self._marks[0] if self._marks else None

    @property
    def left(self) -> Checkpoint | None:
        return self.unmet or (self.outer.left if self.outer is not None else None)

    @property
    def ahead(self) -> Checkpoint | None:
        """As far as positions tell, see ``is_behind``."""
        following = max(self._taken, default=-1) + 1
        if following < len(self._history):
            return self._history[following]
        return self.outer.ahead if self.outer is not None else None

    @property
    def unasked(self) -> Sequence[Checkpoint]:
        return [checkpoint for place, checkpoint in enumerate(self._history) if place not in self._taken]

    @property
    def has_unasked(self) -> bool:
        return len(self._taken) < len(self._history) or (self.outer is not None and self.outer.has_unasked)

    @property
    def is_behind(self) -> bool:
        """As far as positions tell; what was removed lies before them, and what was inserted may come after."""
        last = max(self._taken, default=-1)
        return last + 1 < len(self._history) or (self.outer is not None and self.outer.is_behind)


class Beside:
    """What the tasks of a function know of it: they run beside it, until its end is recorded."""

    def __init__(self, history: list[Checkpoint], policies: Mapping[str, Policy]) -> None:
        """history, policies: of the function's scope, and of all by their scopes."""
        self._has_ended = any(checkpoint.kind == Kind.ROLLBACK for checkpoint in history)
        self._policies = policies

    @property
    def left(self) -> Checkpoint | None:
        return self._policies[""].left if self._has_ended else None

    @property
    def ahead(self) -> Checkpoint | None:
        return self.left

    @property
    def has_unasked(self) -> bool:
        return self._has_ended

    @property
    def is_behind(self) -> bool:
        return self._has_ended


POLICIES: dict[str, Callable[[list[Checkpoint], Outer | None], Policy]] = {"park": InOrder, "tolerate": ByName}
