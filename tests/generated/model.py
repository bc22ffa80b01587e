"""What may come of a program, without the engine.

What chance decided is taken from the observation: which waits got a signal, where an interruption was delivered, how a
person settled a compensation. Everything else, the checkpoints, their order, the end and the result, must follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tests.generated.interpreter import ATTEMPTS
from tests.generated.programs import Block, Node


class Wrong(AssertionError):
    """The observation cannot come of the program."""


class _Failure(Exception):
    """An error of the program's own; the text is the name of its class."""


class _Interruption(Exception):
    """Cancelled or past the deadline."""


@dataclass(frozen=True)
class Recorded:
    status: str
    attempts: int
    value: Any  # of a wait


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Checkpoints by name, the bodies in the order in which they ran, and how it ended."""

    checkpoints: Mapping[str, Recorded]
    bodies: list[str]
    status: str
    result: Any
    error_type: str
    died: int  # how often a worker did
    compensates: bool  # what the workflow is registered with
    is_cancelled: bool  # it was asked for
    has_deadline: bool


@dataclass
class _Scope:
    name: str = ""  # with a slash at its end, unless it is the first
    interrupted: str | None = None
    inherited: bool = False  # that was of the scope around it: a branch beside it may still call it off
    names: Counter[str] = field(default_factory=Counter)
    bodies: list[str] = field(default_factory=list)  # in the order of the program


_KEPT_AS = {"StepFailed": "Broken"}  # the class in the step's body that it stands for


def judge(program: Block, observed: Observed) -> None:
    """Raises Wrong with the first thing that does not follow."""
    _Model(observed).judge(program)


class _Model:
    def __init__(self, observed: Observed) -> None:
        self.observed = observed
        self.visited: set[str] = set()
        self.offered: list[str] = []
        self.settled: list[str] = []  # statuses of compensations
        self.unexplained: set[str] = set()  # cancellations that neither a caller nor a failure beside them explains
        self.first = {name: at for at, name in reversed(list(enumerate(observed.bodies)))}
        self.last = {name: at for at, name in enumerate(observed.bodies)}

    def judge(self, program: Block) -> None:
        seen = self.observed
        if not seen.checkpoints and seen.status in {"cancelled", "timed_out"}:  # before it began
            self._require(seen.is_cancelled or seen.has_deadline, "was interrupted by nobody")
            return
        scope = _Scope()
        result, error = None, ""
        try:
            result = self.block(scope, program)
            status = scope.interrupted or "completed"
        except _Failure as failure:
            status, error = "failed", _KEPT_AS.get(str(failure), str(failure))
        except _Interruption:
            status = scope.interrupted or "?"
        if status != "completed" and self.offered and seen.compensates:
            self.visited.add("__rollback")
            self.rollback(scope, "")
        if status != "completed" and "skipped" in self.settled:
            status = "compensation_failed"
        self._sequence(scope)
        self._require(not self.unexplained or seen.is_cancelled, f"nobody cancelled {sorted(self.unexplained)}")
        extra = sorted(seen.checkpoints.keys() - self.visited)
        self._require(not extra, f"recorded {extra}, which the program does not come to")
        found = (seen.status, seen.error_type.rpartition(".")[2], seen.result)
        self._require(found == (status, error, result), f"ended as {found}, not as {(status, error, result)}")

    def _require(self, is_so: bool, otherwise: str) -> None:
        if not is_so:
            raise Wrong(otherwise)

    # -- calls -----------------------------------------------------------------------------------------

    def call(self, scope: _Scope, name: str) -> tuple[str, Recorded]:
        """Its checkpoint's name and the checkpoint. Raises what was delivered there."""
        scope.names[name] += 1
        path = scope.name + (name if scope.names[name] == 1 else f"{name}#{scope.names[name]}")
        found = self.observed.checkpoints.get(path)
        if found is None:
            raise Wrong(f"{path!r} is not recorded")
        self.visited.add(path)
        if found.status in {"cancelled", "timed_out"}:
            self._require(
                scope.interrupted is None or scope.inherited, f"{path!r} was interrupted, which had been already"
            )
            self._require(found.status == "cancelled" or self.observed.has_deadline, f"{path!r} had no deadline")
            if found.status == "cancelled":
                self.unexplained.add(path)
            scope.interrupted, scope.inherited = found.status, False
            raise _Interruption
        return path, found

    def expect(self, path: str, found: Recorded, status: str, attempts: int = 0) -> None:
        expected = (status, attempts)
        self._require((found.status, found.attempts) == expected, f"{path!r} is {found}, not {expected}")

    def block(self, scope: _Scope, nodes: Block) -> list[Any]:
        return [getattr(self, f"do_{node['do']}")(scope, node) for node in nodes]

    def do_step(self, scope: _Scope, node: Node) -> Any:
        path, found = self.call(scope, node["id"])
        fails, undo = node["fails"], node.get("undo")
        scope.bodies.append(path)
        if fails >= ATTEMPTS:
            self.expect(path, found, "failed", ATTEMPTS)
            raise _Failure("StepFailed")
        self.expect(path, found, "completed", fails + 1)
        if undo is not None:
            self.offered.append(path)
        return [node["n"], undo["fails"] if undo else 0]

    def do_refuse(self, scope: _Scope, node: Node) -> None:
        path, found = self.call(scope, node["id"])
        scope.bodies.append(path)
        self.expect(path, found, "failed", 1)
        raise _Failure("Refused")

    def do_once(self, scope: _Scope, node: Node) -> int:
        path, found = self.call(scope, node["id"])
        scope.bodies.append(path)
        if found.status == "failed":
            self._require(self.observed.died > 0, f"{path!r} failed and no worker died")
            raise _Failure("StepInterrupted")
        self.expect(path, found, "completed", 1)
        return int(node["n"])

    def do_sleep(self, scope: _Scope, node: Node) -> str:
        self.expect(*self.call(scope, "sleep"), "completed")
        return "sleep"

    def do_wait(self, scope: _Scope, node: Node) -> Any:
        path, found = self.call(scope, f"signal:{node['name']}")
        self.expect(path, found, "completed")
        if found.value is None:
            self._require(node["timeout"] is not None, f"{path!r} timed out and has no time-out")
            return "late"
        return found.value

    def do_note(self, scope: _Scope, node: Node) -> str:
        self.expect(*self.call(scope, node["do"]), "completed")
        return str(node["do"])

    do_now = do_note

    def do_random(self, scope: _Scope, node: Node) -> str:
        return str(node["do"])

    do_uuid = do_random

    def do_raise(self, scope: _Scope, node: Node) -> None:
        raise _Failure("Boom")

    # -- undoing ---------------------------------------------------------------------------------------

    def do_rollback(self, scope: _Scope, node: Node) -> str:
        self.rollback(scope, scope.name)
        return "rollback"

    def rollback(self, scope: _Scope, below: str) -> None:
        """Undo what is below, the latest completion first."""
        mine = sorted((path for path in self.offered if path.startswith(below)), key=lambda path: self.last[path])
        for path in reversed(mine):
            self.offered.remove(path)
            undone, found = self.call(scope, "rollback:" + path.removeprefix(scope.name).replace("/", ">"))
            self._require(found.status in {"completed", "skipped"}, f"{undone!r} is {found.status}")
            self.settled.append(found.status)
            scope.bodies.append(undone)

    def _sequence(self, scope: _Scope) -> None:
        """Within one scope a body runs after the one before it has run for the last time."""
        ran = [path for path in scope.bodies if path in self.first]
        for before, after in pairwise(ran):
            self._require(self.last[before] < self.first[after], f"{after!r} ran before {before!r} was done")

    # -- parts -----------------------------------------------------------------------------------------

    def do_try(self, scope: _Scope, node: Node) -> Any:
        try:
            return self.block(scope, node["body"])
        except _Failure as failure:
            return [str(failure), *self.block(scope, node["handler"])]
        except _Interruption:
            if node["cancelled"] == "pass":
                raise
            cleaned = self.block(scope, node["handler"])
            if node["cancelled"] == "clean":
                raise
            return ["Cancelled", *cleaned]

    def do_switch(self, scope: _Scope, node: Node) -> Any:
        path, found = self.call(scope, "way")
        self.expect(path, found, "completed")
        chosen, block = node["value"], node["cases"].get(node["value"])
        if block is None:
            chosen, block = "__default", node["default"]
        if block is None:
            raise _Failure("InvalidOptionError")
        inner = _Scope(f"{path}/{chosen}/", scope.interrupted, scope.inherited)
        try:
            return self.block(inner, block)
        finally:
            scope.interrupted, scope.inherited = inner.interrupted, inner.inherited
            self._sequence(inner)

    def do_parallel(self, scope: _Scope, node: Node) -> dict[str, Any]:
        return self.branches(scope, "parallel", node["branches"], settle=node["settle"])

    def do_gather(self, scope: _Scope, node: Node) -> list[Any]:
        return list(self.branches(scope, "gather", _numbered(node["branches"])).values())

    def do_map(self, scope: _Scope, node: Node) -> list[Any]:
        return list(self.branches(scope, "map", _numbered([node["body"]] * node["items"])).values())

    def branches(
        self, scope: _Scope, part: str, blocks: Mapping[str, Block], *, settle: bool = False
    ) -> dict[str, Any]:
        path, found = self.call(scope, part)
        self.expect(path, found, "completed")
        inherited = scope.inherited or (scope.interrupted is not None and not settle)
        inner = {name: _Scope(f"{path}/{name}/", scope.interrupted, inherited) for name in blocks}
        begun = [
            name for name in blocks if any(each.startswith(inner[name].name) for each in self.observed.checkpoints)
        ]
        ends = {name: _end(lambda name=name: self.block(inner[name], blocks[name])) for name in begun}
        for each in inner.values():
            self._sequence(each)
        failures = [name for name, end in ends.items() if isinstance(end, _Failure)]
        if failures and not settle:
            self.unexplained = {each for each in self.unexplained if not each.startswith(f"{path}/")}
            if self.observed.compensates:
                self.rollback(scope, f"{path}/")
            raise ends[min(failures, key=lambda name: inner[name].interrupted is not None)]  # not that of a clean-up
        self._require(begun == list(blocks), f"{path!r} has ended without having begun all but {begun}")
        for each in inner.values():
            scope.interrupted = scope.interrupted or each.interrupted
        for end in ends.values():
            if isinstance(end, _Interruption):
                raise end
        return {name: str(end) if isinstance(end, _Failure) else end for name, end in ends.items()}


def _end(run: Callable[[], Any]) -> Any:
    """The value, or the error instead."""
    try:
        return run()
    except (_Failure, _Interruption) as error:
        return error


def _numbered(blocks: list[Block]) -> dict[str, Block]:
    return {str(number): block for number, block in enumerate(blocks)}
