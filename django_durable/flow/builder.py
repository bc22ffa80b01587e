"""Part and Flow: a workflow as a declared list of nodes, for those who prefer that to a function.

Nothing here runs anything: a flow becomes an ordinary workflow function over the ordinary context, matched by name
(``on_change="tolerate"``), so a node may be put in or taken out while executions are under way.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from django_durable.cadence import Cadence
from django_durable.clock import to_seconds
from django_durable.context import Context
from django_durable.context.looping import MOST_ITERATIONS
from django_durable.definitions import BoundWorkflow, WorkflowDefinition, workflow
from django_durable.describe.nodes import Node
from django_durable.describe.shape import Declared
from django_durable.events import EventType, event_name
from django_durable.exceptions import InvalidOptionError
from django_durable.flow.data import FlowData
from django_durable.flow.nodes import (
    Body,
    ChildNode,
    Duration,
    EmitNode,
    FlowNode,
    Handler,
    Inner,
    LoopNode,
    ParallelNode,
    RouteNode,
    SignalNode,
    Single,
    SleepNode,
    SleepUntilNode,
    StepNode,
    as_step,
)
from django_durable.limits import Limit, Rate
from django_durable.names import check_step_id
from django_durable.options import PriorityName
from django_durable.retention import Retention
from django_durable.schedule_spec import ScheduleSpec
from django_durable.signal_types import SignalType, signal_name

Given = Callable[[FlowData], Sequence[Any]]


@dataclass(frozen=True)
class Part:
    """A sequence of nodes: a flow, or what one branch or one iteration of it does.

    Every call returns a new one with one node more. Functions of a flow take a ``FlowData``. Names are wire format:
    they are stored, and how a live execution finds its place.
    """

    nodes: tuple[FlowNode, ...] = field(default=(), kw_only=True)

    def step(
        self,
        name: str,
        handler: Callable[..., Any],
        *,
        given: Given | None = None,
        compensate: Callable[[Any], Any] | None = None,
    ) -> Self:
        """Run a function as a step; a ``@step`` keeps its retries, time-out and errors.

        given: the function's arguments, made of the flow's data; default is that data itself. compensate: as in
        ``ctx.step``, called with the result.
        """
        _check_callable(name, "handler", handler, is_needed=True)
        _check_callable(name, "given", given)
        _check_callable(name, "compensate", compensate)
        step = as_step(check_step_id(name), handler)
        return self._with(StepNode(name=name, line=_line(), handler=step, given=given, compensate=compensate))

    def sleep(self, name: str, duration: Duration | Callable[[FlowData], Duration]) -> Self:
        """Wait; duration: a timedelta or seconds, or a function that says which."""
        if not callable(duration):
            to_seconds(duration, f"duration of {name!r}")
        return self._with(SleepNode(name=name, line=_line(), duration=duration))

    def sleep_until(self, name: str, at: Callable[[FlowData], datetime]) -> Self:
        """Wait until an aware point in time, which a function says."""
        _check_callable(name, "at", at, is_needed=True)
        return self._with(SleepUntilNode(name=name, line=_line(), at=at))

    def wait_for_signal(
        self, name: str, signal: SignalType[Any] | str, *, timeout: timedelta | float | None = None, default: Any = None
    ) -> Self:
        """Wait for a signal; its payload is the result, or ``default`` once ``timeout`` has passed."""
        signal_name(signal)
        if timeout is not None:
            to_seconds(timeout, f"timeout of {name!r}")
        return self._with(SignalNode(name=name, line=_line(), signal=signal, timeout=timeout, default=default))

    def parallel(self, name: str, branches: Mapping[str, Part | Handler], *, settle: bool = False) -> Self:
        """Run several branches side by side, as ``ctx.parallel``; the result is theirs by name."""
        return self._with(ParallelNode(name=name, line=_line(), branches=_inner(name, branches), settle=settle))

    def route(
        self,
        name: str,
        select: Callable[[FlowData], str],
        branches: Mapping[str, Part | Handler],
        *,
        default: Part | Handler | None = None,
    ) -> Self:
        """Take the branch whose name ``select`` returns; the result is that branch's. It is chosen once."""
        _check_callable(name, "select", select, is_needed=True)
        otherwise = None if default is None else _inner(name, {"default": default})["default"]
        inner = _inner(name, branches)
        return self._with(RouteNode(name=name, line=_line(), select=select, branches=inner, default=otherwise))

    def loop(
        self,
        name: str,
        condition: Callable[[FlowData], bool],
        body: Part | Handler,
        *,
        max_iterations: int = MOST_ITERATIONS,
    ) -> Self:
        """Repeat ``body`` while ``condition`` holds, which is asked before each time; the result is a list of theirs.

        Both see how often it has run, ``data.iteration``, and with what results so far, ``data.results[name]``.
        """
        _check_callable(name, "condition", condition, is_needed=True)
        inner = _inner(name, {"body": body})["body"]
        return self._with(
            LoopNode(name=name, line=_line(), condition=condition, body=inner, max_iterations=max_iterations)
        )

    def emit(self, name: str, event: EventType[Any] | str, payload: Callable[[FlowData], Any] | None = None) -> Self:
        """Tell the receivers of ``@on_event`` that something has happened. payload: made of the flow's data."""
        event_name(event)
        _check_callable(name, "payload", payload)
        return self._with(EmitNode(name=name, line=_line(), event=event, payload=payload))

    def child(
        self,
        name: str,
        workflow: WorkflowDefinition[..., Any] | BoundWorkflow[..., Any],
        *,
        given: Given | None = None,
    ) -> Self:
        """Start another workflow and wait for its result. given: its arguments; default is the flow's input alone."""
        if not isinstance(workflow, WorkflowDefinition | BoundWorkflow):
            raise InvalidOptionError(f"Node {name!r}: {workflow!r} is no workflow.")
        _check_callable(name, "given", given)
        return self._with(ChildNode(name=name, line=_line(), workflow=workflow, given=given))

    def _with(self, node: FlowNode) -> Self:
        check_step_id(node.name)
        if any(other.name == node.name for other in self.nodes):
            raise InvalidOptionError(f"Two nodes are called {node.name!r}; give each a name of its own.")
        return replace(self, nodes=(*self.nodes, node))

    @property
    def body(self) -> Body:
        return Body(nodes=self.nodes)


@dataclass(frozen=True)
class Flow(Part):
    """A workflow as a list of nodes; ``register()`` makes a workflow of it that is started like any other.

    Its one argument is ``input``; its result is a dict of its nodes' results by name, unless ``returns`` says
    otherwise. Options are those of ``@workflow``; a limit's ``key=`` is called with ``input``.
    """

    name: str
    version: int = 1
    category: str | None = field(default=None, kw_only=True)
    queue: str = field(default="default", kw_only=True)
    priority: PriorityName = field(default="normal", kw_only=True)
    timeout: timedelta | float | None = field(default=None, kw_only=True)
    key_scope: str | None = field(default=None, kw_only=True)
    key_retention: timedelta | float | None = field(default=None, kw_only=True)
    on_failure: Literal["compensate", "leave"] = field(default="compensate", kw_only=True)
    retention: Retention | timedelta | None = field(default=None, kw_only=True)
    concurrency: Limit | Iterable[Limit] | None = field(default=None, kw_only=True)
    rate: Rate | None = field(default=None, kw_only=True)
    schedule: Cadence | ScheduleSpec | Sequence[Cadence | ScheduleSpec] | None = field(default=None, kw_only=True)
    result: Callable[[FlowData], Any] | None = field(default=None, kw_only=True)

    def returns(self, result: Callable[[FlowData], Any]) -> Self:
        """Make the flow's result of its data."""
        _check_callable(self.name, "result", result, is_needed=True)
        return replace(self, result=result)

    def register(self) -> WorkflowDefinition[[Any], Any]:
        """Register it as a workflow. Raises InvalidOptionError for a flow without nodes, as ``@workflow`` otherwise."""
        if not self.nodes:
            raise InvalidOptionError(f"Flow {self.name!r} has no nodes.")
        caller = sys._getframe(1)
        return workflow(
            self.name,
            version=self.version,
            category=self.category,
            queue=self.queue,
            priority=self.priority,
            timeout=self.timeout,
            key_scope=self.key_scope,
            key_retention=self.key_retention,
            on_failure=self.on_failure,
            on_change="tolerate",
            retention=self.retention,
            concurrency=self.concurrency,
            rate=self.rate,
            schedule=self.schedule,
        )(_Compiled(self, caller.f_globals.get("__name__", ""), caller.f_lineno))


class _Compiled(Declared):
    """The workflow function of a flow, which says its shape by itself."""

    def __init__(self, flow: Flow, module: str, line: int) -> None:
        self.__doc__ = f"The flow {flow.name} of {len(flow.nodes)} nodes."
        self.__module__ = module
        self.__qualname__ = f"Flow({flow.name!r})@{line}"
        self._flow = flow

    def __call__(self, ctx: Context, input: Any = None) -> Any:
        data = FlowData(execution_id=ctx.execution_id, input=input)
        results = self._flow.body.run(ctx, data)
        return results if self._flow.result is None else self._flow.result(data.inside(results))

    def shape(self) -> tuple[Node, ...]:
        return self._flow.body.shape()


def _inner(name: str, branches: Mapping[str, Part | Handler]) -> dict[str, Inner]:
    """Branches as they are run; a function becomes a step that is named after its branch."""
    if not isinstance(branches, Mapping) or not branches:
        raise InvalidOptionError(f"Node {name!r}: {branches!r} are no branches; give a dict of parts or functions.")
    return {check_step_id(branch): _inner_of(name, branch, given) for branch, given in branches.items()}


def _inner_of(name: str, branch: str, given: Part | Handler) -> Inner:
    if isinstance(given, Part):
        if not given.nodes:
            raise InvalidOptionError(f"Node {name!r}: branch {branch!r} has no nodes.")
        return given.body
    _check_callable(name, branch, given, is_needed=True)
    return Single(step=StepNode(name=branch, line=_line(), handler=as_step(branch, given)))


def _check_callable(name: str, what: str, given: object, *, is_needed: bool = False) -> None:
    if (is_needed or given is not None) and not callable(given):
        raise InvalidOptionError(f"Node {name!r}: {what}={given!r} is no function.")


def _line() -> int:
    """Of the code that builds the flow."""
    frame = sys._getframe(1)
    while frame.f_back is not None and frame.f_globals.get("__name__") == __name__:
        frame = frame.f_back
    return frame.f_lineno
