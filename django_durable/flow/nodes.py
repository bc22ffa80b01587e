"""The nodes of a flow: what each asks of the context, and how it is described.

A node's name is its id in the history, so that a flow matched by name takes nodes in and out under live executions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

from django_durable.context import Context
from django_durable.definitions import BoundWorkflow, StepDefinition, WorkflowDefinition, define_step
from django_durable.describe.nodes import Branch, Node
from django_durable.describe.scope import stored_name
from django_durable.events import EventType, event_name
from django_durable.flow.data import FlowData
from django_durable.signal_types import SignalType, signal_name

Handler = Callable[[FlowData], Any]
Duration = timedelta | float


class FlowNode(Protocol):
    """One entry of a flow."""

    @property
    def name(self) -> str: ...

    def run(self, ctx: Context, data: FlowData) -> Any:
        """Its result, from the context's durable calls only."""

    def node(self) -> Node:
        """Its place in the shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a branch or a loop runs: a sequence of nodes."""

    nodes: tuple[FlowNode, ...]

    def run(self, ctx: Context, data: FlowData) -> dict[str, Any]:
        """The results of its own nodes, by name."""
        own: dict[str, Any] = {}
        data = data.inside(own)
        for node in self.nodes:
            own[node.name] = node.run(ctx, data)
        return own

    def shape(self) -> tuple[Node, ...]:
        return tuple(node.node() for node in self.nodes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """What a branch or a loop runs: one function, as a step of that name."""

    step: StepNode

    def run(self, ctx: Context, data: FlowData) -> Any:
        return self.step.run(ctx, data)

    def shape(self) -> tuple[Node, ...]:
        return (self.step.node(),)


Inner = Body | Single


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNode:
    name: str
    line: int
    handler: StepDefinition[..., Any]
    given: Callable[[FlowData], Sequence[Any]] | None = None
    compensate: Callable[..., Any] | None = None

    def run(self, ctx: Context, data: FlowData) -> Any:
        args = (data,) if self.given is None else tuple(self.given(data))
        if self.compensate is None:
            return ctx.step(self.name, self.handler, *args)
        return ctx.step(self.name, self.handler, *args, compensate=self.compensate)

    def node(self) -> Node:
        return _node("step", self, body=self.handler.fn, compensate=self.compensate)


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepNode:
    name: str
    line: int
    duration: Duration | Callable[[FlowData], Duration]

    def run(self, ctx: Context, data: FlowData) -> None:
        ctx.sleep(self.duration(data) if callable(self.duration) else self.duration, id=self.name)

    def node(self) -> Node:
        return _node("sleep", self, duration=self.duration)


@dataclass(frozen=True, slots=True, kw_only=True)
class SleepUntilNode:
    name: str
    line: int
    at: Callable[[FlowData], datetime]

    def run(self, ctx: Context, data: FlowData) -> None:
        ctx.sleep_until(self.at(data), id=self.name)

    def node(self) -> Node:
        return _node("sleep", self, at=self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalNode:
    name: str
    line: int
    signal: SignalType[Any] | str
    timeout: Duration | None = None
    default: Any = None

    def run(self, ctx: Context, data: FlowData) -> Any:
        if self.timeout is None:
            return ctx.wait_for_signal(self.signal, id=self.name)
        return ctx.wait_for_signal(self.signal, timeout=self.timeout, default=self.default, id=self.name)

    def node(self) -> Node:
        return _node("waitForSignal", self, signal=signal_name(self.signal), timeout=self.timeout)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParallelNode:
    name: str
    line: int
    branches: Mapping[str, Inner]
    settle: bool = False

    def run(self, ctx: Context, data: FlowData) -> dict[str, Any]:
        branches = {name: partial(_run, inner, data) for name, inner in self.branches.items()}
        if self.settle:
            return dict(ctx.parallel(self.name, branches, settle=True))
        return ctx.parallel(self.name, branches)

    def node(self) -> Node:
        return _node("parallel", self, self.branches)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteNode:
    name: str
    line: int
    select: Callable[[FlowData], str]
    branches: Mapping[str, Inner]
    default: Inner | None = None

    def run(self, ctx: Context, data: FlowData) -> Any:
        branches = {name: partial(_run, inner, data) for name, inner in self.branches.items()}
        default = None if self.default is None else partial(_run, self.default, data)
        return ctx.switch(self.name, self.select(data), branches, default=default)

    def node(self) -> Node:
        branches = dict(self.branches) | ({} if self.default is None else {"default": self.default})
        return _node("switch", self, branches, value=self.select)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopNode:
    name: str
    line: int
    condition: Callable[[FlowData], bool]
    body: Inner
    max_iterations: int

    def run(self, ctx: Context, data: FlowData) -> list[Any]:
        """The results of all iterations; the condition finds those so far under the node's own name."""

        def goes_on(so_far: list[Any]) -> bool:
            return self.condition(data.inside({self.name: so_far}, iteration=len(so_far)))

        def once_more(ctx: Context, so_far: list[Any]) -> list[Any]:
            so_far.append(self.body.run(ctx, data.inside({self.name: so_far}, iteration=len(so_far))))
            return so_far

        none: list[Any] = []
        return ctx.loop(self.name, goes_on, once_more, initial=none, max_iterations=self.max_iterations)

    def node(self) -> Node:
        return _node("loop", self, {_text(self.condition): self.body}, condition=self.condition)


@dataclass(frozen=True, slots=True, kw_only=True)
class EmitNode:
    name: str
    line: int
    event: EventType[Any] | str
    payload: Callable[[FlowData], Any] | None = None

    def run(self, ctx: Context, data: FlowData) -> None:
        event: Any = self.event
        ctx.emit(event, None if self.payload is None else self.payload(data), id=self.name)

    def node(self) -> Node:
        return _node("emit", self, event=event_name(self.event), payload=self.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildNode:
    name: str
    line: int
    workflow: WorkflowDefinition[..., Any] | BoundWorkflow[..., Any]
    given: Callable[[FlowData], Sequence[Any]] | None = None

    def run(self, ctx: Context, data: FlowData) -> Any:
        return ctx.call(self.name, self.workflow, *((data.input,) if self.given is None else self.given(data)))

    def node(self) -> Node:
        target = self.workflow.definition if isinstance(self.workflow, BoundWorkflow) else self.workflow
        return _node("workflow", self, target=target)


def as_step(name: str, handler: Callable[..., Any]) -> StepDefinition[..., Any]:
    """A function as a step; a lambda takes the node's name."""
    step: StepDefinition[..., Any] = handler if isinstance(handler, StepDefinition) else define_step(handler, name=name)
    return step


def _run(inner: Inner, data: FlowData, ctx: Context) -> Any:
    return inner.run(ctx, data)


def _node(kind: str, node: Any, branches: Mapping[str, Inner] | None = None, /, **details: Any) -> Node:
    told = {key: _text(value) for key, value in details.items() if value is not None}
    inside = tuple(Branch(label=label, nodes=inner.shape()) for label, inner in (branches or {}).items())
    return Node(kind=kind, line=node.line, id=node.name, details=told, branches=inside)


def _text(value: object) -> str:
    name = stored_name(value)
    return name if name is not None else "<lambda>" if callable(value) else str(value)
