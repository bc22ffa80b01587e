"""What a shape is made of: nodes, and branches that hold nodes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# Where the function goes, as opposed to what it asks of the engine.
LEAVING = frozenset({"return", "raise"})
JUMPS = frozenset({"break", "continue"})
CONTROL = frozenset({"if", "match", "for", "while", "try", "with", "helper", "gather"}) | LEAVING | JUMPS

# Their first detail is the source itself.
_AS_WRITTEN = LEAVING | {"match", "helper", "unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One way through a node; ``label``: its condition, its key, or its own words, like ``except KeyError``."""

    label: str
    nodes: tuple[Node, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return {"label": self.label, "nodes": [node.as_dict() for node in self.nodes]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One durable call, or one piece of control flow around such calls.

    id: as the engine names the checkpoint, without the number of a repeat; None if only a run can tell.
    line: in the file of the workflow. details: what was given to the call, names where they can be told, else source.
    """

    kind: str
    line: int
    id: str | None = None
    details: Mapping[str, str] = field(default_factory=dict)
    branches: tuple[Branch, ...] = ()

    @property
    def title(self) -> str:
        """One line for people: ``step charge compensate=refund``."""
        if self.kind in _AS_WRITTEN:
            return " ".join([self.kind, *list(self.details.values())[:1]])
        name = self.id or ""
        told = [f"{key}={text}" for key, text in self.details.items() if text not in (name, name.partition(":")[2])]
        return " ".join([self.kind, *([name] if name not in ("", self.kind) else []), *told])

    def as_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "id": self.id,
            "line": self.line,
            "details": dict(self.details),
            "branches": [branch.as_dict() for branch in self.branches],
        }


def walk(nodes: Iterable[Node]) -> Iterator[Node]:
    """All of them and all inside them, in the order of the source."""
    for node in nodes:
        yield node
        for branch in node.branches:
            yield from walk(branch.nodes)


def is_durable(nodes: Iterable[Node]) -> bool:
    """Whether any of them is a call, not only a way to go."""
    return any(node.kind not in CONTROL for node in walk(nodes))
