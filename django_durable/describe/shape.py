"""The shape of one workflow, and the forms it is given out in."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django_durable.describe.mermaid import flowchart
from django_durable.describe.nodes import Node
from django_durable.describe.outline import outline
from django_durable.describe.reader import read


class Declared(ABC):
    """A workflow function that was not written but declared, and says its nodes itself."""

    @abstractmethod
    def shape(self) -> tuple[Node, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What ``describe()`` returns. function: its module and name."""

    workflow: str
    version: int
    function: str
    nodes: tuple[Node, ...]

    @classmethod
    def of(cls, fn: Callable[..., Any], *, workflow: str, version: int) -> Shape:
        """The shape of a workflow's function. Raises SourceUnavailableError."""
        nodes = fn.shape() if isinstance(fn, Declared) else read(fn)
        return cls(workflow=workflow, version=version, function=f"{fn.__module__}.{fn.__qualname__}", nodes=nodes)

    def as_dict(self) -> dict[str, Any]:
        """Plain values that ``json.dumps`` takes; every node has ``kind, id, line, details, branches``."""
        return {
            "workflow": self.workflow,
            "version": self.version,
            "function": self.function,
            "nodes": [node.as_dict() for node in self.nodes],
        }

    def mermaid(self) -> str:
        """A Mermaid flowchart; its texts are escaped, so that nothing in the source can become part of the chart."""
        return flowchart(self.workflow, self.nodes)

    def outline(self) -> str:
        """Indented text for people."""
        return outline(self.nodes)
