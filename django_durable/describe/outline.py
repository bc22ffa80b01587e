"""A shape as indented text: the function without what is not durable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django_durable.describe.nodes import Node

_INDENT = "    "
# Their branches say all.
_HEADLESS = frozenset({"if", "for", "while", "try", "with"})


def outline(nodes: Iterable[Node]) -> str:
    """One line for each node and each branch, and a line end after each; empty without nodes."""
    return "".join(f"{line}\n" for line in _lines(nodes))


def _lines(nodes: Iterable[Node]) -> Iterator[str]:
    for node in nodes:
        deeper = ""
        if node.kind not in _HEADLESS:
            yield node.title + (":" if node.branches else "")
            deeper = _INDENT
        if node.kind == "helper":  # has one branch, which needs no name
            yield from (deeper + line for branch in node.branches for line in _lines(branch.nodes))
            continue
        for number, branch in enumerate(node.branches):
            yield f"{deeper}{_heading(node, number, branch.label)}:"
            yield from (deeper + _INDENT + line for line in _lines(branch.nodes))
            if not branch.nodes:
                yield f"{deeper}{_INDENT}pass"


def _heading(node: Node, number: int, label: str) -> str:
    if node.kind != "if" or label == "else":
        return label
    return f"elif {label}" if number else f"if {label}"
