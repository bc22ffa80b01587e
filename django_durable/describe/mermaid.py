"""A shape as a Mermaid flowchart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from django_durable.describe.nodes import LEAVING, Node
from django_durable.describe.operations import ENDS

# Everything else becomes an entity code: no text can end a label or begin a directive.
_PLAIN = frozenset(" _.,:'()+-*/=!?")
_LONGEST_LABEL = 80
_SHAPES = {
    **dict.fromkeys(("if", "match", "switch", "for", "while", "loop"), ("{", "}")),
    **dict.fromkeys(("sleep", "waitForSignal", "waitForExecution", *LEAVING, *ENDS), ("([", "])")),
    **dict.fromkeys(("parallel", "race", "map"), ("{{", "}}")),
    **dict.fromkeys(("helper", "workflow"), ("[[", "]]")),
}
_LOOPS = frozenset({"for", "while", "loop", "map"})


@dataclass(frozen=True, slots=True)
class _Way:
    """An arrow that has begun at a box and has not come to another."""

    start: str
    label: str = ""
    is_dotted: bool = False


@dataclass(slots=True)
class _Loop:
    """Where ``continue`` goes, and the ways that ``break`` has left."""

    top: str
    left: list[_Way] = field(default_factory=list)


def flowchart(title: str, nodes: Iterable[Node]) -> str:
    """The whole chart, from the workflow's name to its ends."""
    chart = _Chart()
    start = chart.box(title, ("([", "])"), [])
    ends = chart.sequence(nodes, [_Way(start)])
    if ends:
        chart.box("end", ("([", "])"), ends)
    return "\n".join(["flowchart TD", *(f"    {line}" for line in chart.lines), ""])


class _Chart:
    """Draws boxes and arrows; every method takes the ways that lead in and returns those that lead on."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._boxes = 0
        self._loops: list[_Loop] = []
        self._returned: list[list[_Way]] = []  # of the helpers that are being drawn

    def box(self, text: str, shape: tuple[str, str], ways: Iterable[_Way]) -> str:
        self._boxes += 1
        box = f"n{self._boxes}"
        self.lines.append(f"{box}{shape[0]}{_quoted(text)}{shape[1]}")
        self.arrows(ways, box)
        return box

    def arrows(self, ways: Iterable[_Way], end: str) -> None:
        for way in ways:
            arrow = "-.->" if way.is_dotted else "-->"
            label = f"|{_quoted(way.label)}|" if way.label else ""
            self.lines.append(f"{way.start} {arrow}{label} {end}")

    def sequence(self, nodes: Iterable[Node], ways: list[_Way]) -> list[_Way]:
        for node in nodes:
            if not ways:  # nothing leads here
                break
            ways = self.node(node, ways)
        return ways

    def node(self, node: Node, ways: list[_Way]) -> list[_Way]:
        if node.kind == "break" and self._loops:
            self._loops[-1].left.extend(ways)
            return []
        if node.kind == "continue" and self._loops:
            self.arrows(ways, self._loops[-1].top)
            return []
        if node.kind == "return" and self._returned:
            self._returned[-1].extend(ways)
            return []
        box = self.box(node.title, _SHAPES.get(node.kind, ("[", "]")), ways)
        if node.kind in LEAVING or node.kind in ENDS:
            return []
        if not node.branches:
            return [_Way(box)]
        return self.branches(node, box)

    def branches(self, node: Node, box: str) -> list[_Way]:
        if node.kind in _LOOPS:
            return self.loop(node, box)
        if node.kind == "try":
            return self.attempt(node, box)
        if node.kind == "helper":
            return self.helper(node, box)
        is_doubtful = node.kind == "unknown"
        onward = [_Way(box)] if is_doubtful else []
        for branch in node.branches:
            onward += self.sequence(branch.nodes, [_Way(box, branch.label, is_doubtful)])
        is_passable = node.kind in ("if", "match") and node.branches[-1].label not in ("else", "case _")
        return [*onward, *([_Way(box, "else")] if is_passable else [])]

    def loop(self, node: Node, box: str) -> list[_Way]:
        is_call = node.kind in ("loop", "map")  # whose functions all belong to one turn
        turn = node.branches if is_call else node.branches[:1]
        self._loops.append(_Loop(box))
        ways = [_Way(box, turn[0].label)]
        for branch in turn:
            ways = self.sequence(branch.nodes, ways)
        self.arrows(ways, box)
        left = self._loops.pop().left
        done = [] if turn[0].label == "while True" else [_Way(box, "done")]
        for branch in node.branches[len(turn) :]:
            done = self.sequence(branch.nodes, done)
        return [*done, *left]

    def attempt(self, node: Node, box: str) -> list[_Way]:
        """The body goes on with ``else``, a handler does not; all go on with ``finally``."""
        tried = self.sequence(node.branches[0].nodes, [_Way(box)])
        handled: list[_Way] = []
        for branch in node.branches[1:]:
            if branch.label == "else":
                tried = self.sequence(branch.nodes, tried)
            elif branch.label == "finally":
                ways = [*tried, *handled] or [_Way(box, branch.label, is_dotted=True)]
                tried, handled = self.sequence(branch.nodes, ways), []
            else:
                handled += self.sequence(branch.nodes, [_Way(box, branch.label, is_dotted=True)])
        return [*tried, *handled]

    def helper(self, node: Node, box: str) -> list[_Way]:
        self._returned.append([])
        loops, self._loops = self._loops, []
        onward = self.sequence(node.branches[0].nodes, [_Way(box)])
        self._loops = loops
        return [*onward, *self._returned.pop()]


def _quoted(text: str) -> str:
    if len(text) > _LONGEST_LABEL:
        text = text[: _LONGEST_LABEL - 1] + "…"
    return '"' + "".join(char if char.isalnum() or char in _PLAIN else f"#{ord(char)};" for char in text) + '"'
