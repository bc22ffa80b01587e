"""How calls are matched with the recorded history of their scope: in order, or by name.

``@workflow(on_change=)`` chooses. Either way a recorded outcome is handed out at most once in a pass, and only to a
call of its own kind and name; the two differ in what a call may find missing, and what may be left over.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from django_durable.engine.history import Checkpoint
from django_durable.models import Kind


class Policy(Protocol):
    """One pass's way through the history of one scope, which grows at its end as new calls are recorded."""

    def against(self, kind: Kind, name: str) -> Checkpoint | None:
        """The checkpoint that forbids this call here, or None."""

    def take(self, name: str) -> int:
        """The place in the history of a call that nothing is against; its end for a new one."""

    def offers(self, kind: Kind, name: str) -> bool:
        """Whether this call, made now, is recorded."""

    @property
    def unmet(self) -> Checkpoint | None:
        """A checkpoint of this scope that its function must not end before."""

    @property
    def left(self) -> Checkpoint | None:
        """A checkpoint, here or in an enclosing scope, before which nothing new may be done."""

    @property
    def unasked(self) -> Sequence[Checkpoint]:
        """What is recorded in this scope and was not asked for in this pass so far."""

    @property
    def has_unasked(self) -> bool:
        """The same, here or in an enclosing scope."""

    @property
    def is_behind(self) -> bool:
        """An earlier pass came further than this one."""


class InOrder:
    """Each call must be the one that was recorded next."""

    def __init__(self, history: list[Checkpoint], outer: Policy | None) -> None:
        self._history = history
        self._outer = outer
        self._next = 0

    def against(self, kind: Kind, name: str) -> Checkpoint | None:
        return None if self.offers(kind, name) else self.left

    def take(self, name: str) -> int:
        self._next += 1
        return self._next - 1

    def offers(self, kind: Kind, name: str) -> bool:
        following = self.unmet
        return following is not None and (following.kind, following.name) == (kind, name)

    @property
    def unmet(self) -> Checkpoint | None:
        return self._history[self._next] if self._next < len(self._history) else None

    @property
    def left(self) -> Checkpoint | None:
        """A branch is over once anything behind its part is recorded."""
        return self.unmet or (self._outer.left if self._outer is not None else None)

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

    The mark of a rollback keeps its place behind everything: once it is recorded, nothing new comes before it.
    """

    def __init__(self, history: list[Checkpoint], outer: Policy | None) -> None:
        self._history = history
        self._outer = outer
        self._places = {checkpoint.name: place for place, checkpoint in enumerate(history)}
        self._taken: set[int] = set()
        self._mark = next((checkpoint for checkpoint in history if checkpoint.kind == Kind.ROLLBACK), None)

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
        if self._mark is not None and self._mark.name == name:
            self._mark = None
        return place

    def offers(self, kind: Kind, name: str) -> bool:
        return name in self._places and self._history[self._places[name]].kind == kind

    @property
    def unmet(self) -> Checkpoint | None:
        return self._mark

    @property
    def left(self) -> Checkpoint | None:
        return self._mark or (self._outer.left if self._outer is not None else None)

    @property
    def unasked(self) -> Sequence[Checkpoint]:
        return [checkpoint for place, checkpoint in enumerate(self._history) if place not in self._taken]

    @property
    def has_unasked(self) -> bool:
        return len(self._taken) < len(self._history) or (self._outer is not None and self._outer.has_unasked)

    @property
    def is_behind(self) -> bool:
        """As far as positions tell; what was removed lies before them, and what was inserted may come after."""
        last = max(self._taken, default=-1)
        return last + 1 < len(self._history) or (self._outer is not None and self._outer.is_behind)


POLICIES: dict[str, Callable[[list[Checkpoint], Policy | None], Policy]] = {"park": InOrder, "tolerate": ByName}
