"""The table of the context's methods: which node a call of each becomes. A new method is a new line here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method. What it is given is told in the node's details, under the names used here.

    arguments: those that may be given without a name, in order. keywords: those that are given by name only.
    default_id: of the checkpoint, made of the details. takes_id: a text before the other arguments is the id instead.
    has_branches: functions that are written down in the call, alone or in a literal dict or list, are its branches.
    """

    kind: str
    arguments: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    default_id: str = ""
    takes_id: bool = False
    has_branches: bool = False


# What is told by its stored name if that can be seen, instead of by its source.
NAMED = frozenset({"body", "compensate", "event", "id", "signal", "target"})

# Calls after which the function does not go on.
ENDS = frozenset({"continueAsNew"})

# Not waited for, and no choice of the reader's.
QUIET = frozenset(
    {"attempt", "execution_id", "log", "progress", "random", "should_continue_as_new", "state", "uuid4"}
    | {f"state.{name}" for name in ("get", "items", "keys", "values")}
)

OPERATIONS = {
    "step": Operation(kind="step", arguments=("body",), keywords=("compensate",), default_id="{body}", takes_id=True),
    "sleep": Operation(kind="sleep", arguments=("duration",), default_id="sleep"),
    "sleep_until": Operation(kind="sleep", arguments=("at",), default_id="sleep_until"),
    "wait_for_signal": Operation(
        kind="waitForSignal", arguments=("signal",), keywords=("timeout", "default"), default_id="signal:{signal}"
    ),
    "note": Operation(kind="note", arguments=("text",), default_id="note"),
    "now": Operation(kind="now", default_id="now"),
    "state.set": Operation(kind="state", default_id="state"),
    "state.replace": Operation(kind="state", arguments=("values",), default_id="state"),
    "wait_until": Operation(kind="waitUntil", arguments=("condition",), keywords=("timeout",), default_id="until"),
    "emit": Operation(kind="emit", arguments=("event", "payload"), default_id="emit:{event}"),
    "rollback": Operation(kind="rollback"),
    "switch": Operation(kind="switch", arguments=("id", "value", "branches"), keywords=("default",), has_branches=True),
    "parallel": Operation(
        kind="parallel",
        arguments=("branches",),
        keywords=("settle",),
        default_id="parallel",
        takes_id=True,
        has_branches=True,
    ),
    "gather": Operation(kind="parallel", default_id="gather", takes_id=True, has_branches=True),
    "race": Operation(kind="race", arguments=("branches",), default_id="race", takes_id=True, has_branches=True),
    "map": Operation(
        kind="map", keywords=("concurrency", "settle"), default_id="map", takes_id=True, has_branches=True
    ),
    "start_child": Operation(kind="workflow", arguments=("target",), default_id="child:{target}", takes_id=True),
    "call": Operation(kind="workflow", arguments=("target",), default_id="child:{target}", takes_id=True),
    "wait_for_execution": Operation(kind="waitForExecution", arguments=("execution",), keywords=("timeout",)),
    "wait_all": Operation(
        kind="parallel", arguments=("awaited",), keywords=("timeout",), default_id="wait_all", has_branches=True
    ),
    "wait_any": Operation(
        kind="race", arguments=("awaited",), keywords=("timeout",), default_id="wait_any", has_branches=True
    ),
    "loop": Operation(kind="loop", keywords=("initial", "max_iterations"), takes_id=True, has_branches=True),
    "continue_as_new": Operation(kind="continueAsNew"),
    "patched": Operation(kind="patched", arguments=("id",)),
    "deprecate_patch": Operation(kind="deprecatePatch", arguments=("id",)),
    "signal_token": Operation(kind="signalToken", arguments=("signal",), keywords=("expires",)),
}
