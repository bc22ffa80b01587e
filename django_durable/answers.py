"""What a workflow answers to people who ask while it runs: queries read its state, updates may change it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from django_durable import codec
from django_durable.exceptions import ConfigurationError, InvalidOptionError
from django_durable.names import check_name
from django_durable.registry import place_of

T = TypeVar("T")
R = TypeVar("R")
State = dict[str, Any]
Query = Callable[[State], R]
LONGEST_NAME = 190


@dataclass(frozen=True, slots=True)
class Update:
    """How an update is answered. fn: changes the state that it is given, and returns the reply."""

    fn: Callable[[State, Any], Any]
    validator: Callable[[Any], object] | None

    def check(self, name: str, payload: object) -> None:
        """Raise whatever the validator raises, InvalidOptionError if it returns False."""
        if self.validator is not None and self.validator(payload) is False:
            raise InvalidOptionError(f"Update {name!r} was refused by its validator.")


class Answering:
    """The decorators ``query`` and ``update`` of a workflow."""

    __slots__ = ()

    name: str
    version: int
    queries: dict[str, Query[Any]]
    updates: dict[str, Update]

    def query(self, name: str) -> Callable[[Query[R]], Query[R]]:
        """Register a pure function of the state, to be asked with ``client.query``; it runs where it is asked."""
        check_name(name, "Query name")

        def register(fn: Query[R]) -> Query[R]:
            self._check("query", name, fn, self.queries.get(name))
            self.queries[name] = fn
            codec.register_annotations(fn)
            return fn

        return register

    def update(
        self, name: str, *, validator: Callable[[Any], object] | None = None
    ) -> Callable[[Callable[[State, T], R]], Callable[[State, T], R]]:
        """Register a pure function of the state and a payload, for ``client.update``: it may change the state.

        It runs in a worker, when the workflow next waits; what it returns is the reply. An error it raises is the
        caller's, and the state stays as it was. It has no context: the workflow sees the state and goes on from there.
        validator: a pure function of the payload; runs at the call, which gets what it raises. False refuses too.
        """
        if len(check_name(name, "Update name")) > LONGEST_NAME:
            raise InvalidOptionError(f"Update name {name!r} is too long: give at most {LONGEST_NAME} characters.")
        if validator is not None and not callable(validator):
            raise InvalidOptionError(f"validator={validator!r}: give a function of the payload.")

        def register(fn: Callable[[State, T], R]) -> Callable[[State, T], R]:
            known = self.updates.get(name)
            self._check("update", name, fn, known and known.fn)
            self.updates[name] = Update(fn, validator)
            codec.register_annotations(fn)
            return fn

        return register

    def find_query(self, name: str) -> Query[Any]:
        """Raises InvalidOptionError with the names that there are."""
        return self._find("query", name, self.queries)

    def find_update(self, name: str) -> Update:
        """Raises InvalidOptionError with the names that there are."""
        return self._find("update", name, self.updates)

    def _find(self, what: str, name: str, known: Mapping[str, T]) -> T:
        found = known.get(name) if isinstance(name, str) else None
        if found is None:
            names = ", ".join(repr(each) for each in sorted(known)) or "none"
            raise InvalidOptionError(
                f"Workflow {self.name!r} version {self.version} has no {what} {name!r}; it has: {names}."
            )
        return found

    def _check(self, what: str, name: str, fn: Any, other: Any) -> None:
        if not callable(fn) or inspect.iscoroutinefunction(fn):
            raise ConfigurationError(f"{what.capitalize()} {name!r} of {self.name!r} must be a plain function.")
        if other is not None and place_of(other) != place_of(fn):
            raise ConfigurationError(
                f"Workflow {self.name!r} version {self.version} has two functions for its {what} {name!r}: "
                f"{place_of(other)} and {place_of(fn)}. Rename one."
            )
