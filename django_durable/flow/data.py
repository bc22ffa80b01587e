"""What the functions of a flow are given."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID


class Results(ChainMap[str, Any]):
    """What the nodes so far have given, by name; those of an enclosing part are seen as well."""

    def __missing__(self, name: str) -> Any:
        known = ", ".join(map(repr, self)) or "none"
        raise KeyError(f"No node before this one is called {name!r}; there are {known}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowData:
    """input: what the flow was started with. results: of the nodes before this one, by name.

    iteration: from 0, inside a loop. Change nothing in here: every replay builds it anew from what is recorded.
    """

    execution_id: UUID
    input: Any
    results: Mapping[str, Any] = field(default_factory=Results)
    iteration: int | None = None

    def inside(self, own: dict[str, Any], *, iteration: int | None = None) -> FlowData:
        """The same, seen in a part whose results are kept in ``own``."""
        number = self.iteration if iteration is None else iteration
        return replace(self, results=Results(own, *getattr(self.results, "maps", [])), iteration=number)
