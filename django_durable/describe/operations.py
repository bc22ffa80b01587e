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

# Neither recorded nor waited for.
QUIET = frozenset({"attempt", "execution_id", "log", "progress", "random", "uuid4"})

OPERATIONS = {
    "step": Operation(kind="step", arguments=("body",), keywords=("compensate",), default_id="{body}", takes_id=True),
    "sleep": Operation(kind="sleep", arguments=("duration",), default_id="sleep"),
    "sleep_until": Operation(kind="sleep", arguments=("at",), default_id="sleep_until"),
    "wait_for_signal": Operation(
        kind="waitForSignal", arguments=("signal",), keywords=("timeout", "default"), default_id="signal:{signal}"
    ),
    "note": Operation(kind="note", arguments=("text",), default_id="note"),
    "now": Operation(kind="now", default_id="now"),
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
    "map": Operation(kind="map", keywords=("concurrency",), default_id="map", takes_id=True, has_branches=True),
    "patched": Operation(kind="patched", arguments=("id",)),
    "deprecate_patch": Operation(kind="deprecatePatch", arguments=("id",)),
    # Not yet in Context: read by syntax alone, so that the first code that uses them has a shape.
    "emit": Operation(kind="emit", arguments=("event", "payload")),
    "signal_token": Operation(kind="signalToken", arguments=("signal",), keywords=("expires",)),
    "start_child": Operation(kind="workflow", arguments=("target",), takes_id=True),
    "call": Operation(kind="workflow", arguments=("target",), keywords=("timeout",), takes_id=True),
    "wait_for_execution": Operation(kind="waitForExecution", arguments=("execution",), keywords=("timeout",)),
    "continue_as_new": Operation(kind="continueAsNew"),
    "wait_all": Operation(kind="parallel", takes_id=True, has_branches=True),
    "race": Operation(kind="race", arguments=("branches",), keywords=("timeout",), takes_id=True, has_branches=True),
    "wait_any": Operation(kind="race", keywords=("timeout",), takes_id=True, has_branches=True),
    "loop": Operation(kind="loop", takes_id=True, has_branches=True),
}
