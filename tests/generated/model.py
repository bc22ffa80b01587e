"""What may come of a program, without the engine.

What chance decided is taken from the observation: which waits got a signal, which branch has won, where an interruption
was delivered, how a person settled a compensation. Everything else, the checkpoints, their order, the end and the
result, must follow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any
from uuid import UUID

from tests.generated.interpreter import ATTEMPTS
from tests.generated.observed import Change, Circumstances, Observed, Recorded
from tests.generated.programs import Block, Node

HISTORY_WARNING = 12  # the setting
_INTERRUPTIONS = {"cancelled", "timed_out"}


STOPPED = frozenset({"cancelled", "timed_out", "compensation_failed", "stuck", "waiting", "cancelling"})  # or is being


class Wrong(AssertionError):
    """The observation cannot come of the program."""


class _Failure(Exception):
    """An error of the program's own: the name of its class, and that of its cause, where that is what is kept."""

    def __init__(self, name: str, cause: str = "") -> None:
        super().__init__(name)
        self.cause = cause or name

    def __str__(self) -> str:
        return str(self.args[0])


class _Interruption(Exception):
    """Cancelled or past the deadline."""


class _Continued(Exception):
    """As a new execution with the program given."""


@dataclass(frozen=True)
class _View:
    """Which changes of the state one place sees."""

    prefix: str = ""
    since: int = 0  # from this position on those below its prefix, before it what the outer one saw
    outer: _View | None = None

    def sees(self, change: Change) -> bool:
        if change.position >= self.since:
            return change.path.startswith(self.prefix)
        return self.outer is None or self.outer.sees(change)


@dataclass
class _Scope:
    name: str = ""  # with a slash at its end, unless it is the first
    interrupted: str | None = None
    inherited: bool = False  # that was of the scope around it: a branch beside it may still call it off
    view: _View = field(default_factory=_View)
    names: Counter[str] = field(default_factory=Counter)
    bodies: list[str] = field(default_factory=list)  # in the order of the program


@dataclass(frozen=True)
class _Asked:
    """A patch: where, before what, and which way was taken."""

    path: str
    scope: str
    index: int
    is_new: bool


_Branches = Mapping[str, Callable[[_Scope], Any]]


def judge(first: UUID, program: Block, family: Mapping[UUID, Observed], around: Circumstances) -> None:
    """Raises Wrong with the first thing that does not follow."""
    if family[first].program != program:
        raise Wrong("was started with another program")
    for observed in family.values():
        _Model(observed, family, around).judge()


class _Model:
    """Of one execution."""

    def __init__(self, observed: Observed, family: Mapping[UUID, Observed], around: Circumstances) -> None:
        self.observed = observed
        self.family = family
        self.around = around
        self.order: list[str] = []  # of the checkpoints, by the program
        self.patches: list[_Asked] = []
        self.offered: list[str] = []
        self.settled: list[str] = []  # statuses of compensations
        self.unexplained: set[str] = set()  # cancellations that neither a caller nor a failure beside them explains
        self.first = {name: at for at, name in reversed(list(enumerate(observed.bodies)))}
        self.last = {name: at for at, name in enumerate(observed.bodies)}

    def judge(self) -> None:
        seen = self.observed
        self._relations()
        if seen.status == "terminated":  # anywhere
            return
        if not seen.checkpoints and seen.status in _INTERRUPTIONS:  # before it began
            self._require(seen.is_cancelled or seen.has_deadline, "was interrupted by nobody")
            return
        scope = _Scope()
        self._carry_over()
        status, result, error = self._end(scope)
        if status not in {"completed", "continued"} and self.offered and seen.compensates:
            self.order.append("__rollback")
            self.rollback(scope, "")
        if status not in {"completed", "continued"} and "skipped" in self.settled:
            status = "compensation_failed"
        self._sequence(scope)
        self._require(not self.unexplained or seen.is_cancelled, f"nobody cancelled {sorted(self.unexplained)}")
        extra = sorted(seen.checkpoints.keys() - set(self.order))
        self._require(not extra, f"recorded {extra}, which the program does not come to")
        for asked in self.patches:
            self._judge_patch(asked)
        found = (seen.status, seen.error_type, seen.result)
        self._require(found == (status, error, result), f"ended as {found}, not as {(status, error, result)}")

    def _end(self, scope: _Scope) -> tuple[str, Any, str]:
        """Status, result and error."""
        seen = self.observed
        try:
            result = self.block(scope, seen.program)
        except _Failure as failure:
            self._require(seen.error_class == str(failure), f"failed with {seen.error_class}, not {failure}")
            return "failed", None, failure.cause
        except _Interruption:
            return scope.interrupted or "?", None, ""
        except _Continued as continued:
            path, found = self.call(scope, "continue_as_new")
            self.expect(path, found, "completed")
            successor = self.family.get(found.value)
            self._require(successor is not None and successor.program == continued.args[0], f"went on as {successor}")
            return "continued", None, ""
        return scope.interrupted or "completed", result, ""

    def _require(self, is_so: bool, otherwise: str) -> None:
        if not is_so:
            raise Wrong(f"{self.observed.id}: {otherwise}")

    # -- beside the others of its family ---------------------------------------------------------------

    def _relations(self) -> None:
        """Who asked it to stop, and whether it was asked when its parent has ended."""
        seen = self.observed
        chain = {each.id for each in self.family.values() if each.chain == seen.chain}
        by_hand = bool(chain & self.around.cancelled)
        parent = None if seen.parent is None else self.family[seen.parent]
        asks = parent is not None and (
            seen.policy == "cancel" or (seen.policy == "wait" and parent.status == "terminated")
        )
        mine = self.around.ends.get(seen.id)
        theirs = None if parent is None else self.around.ends.get(parent.id)
        is_known = mine is not None and theirs is not None
        outlives = is_known and theirs < mine
        may_outlive = parent is not None and (not is_known or theirs <= mine)
        called_off = seen.is_of_map and seen.policy == "cancel" and any(map(self._failed_beside, self.family.values()))
        # It waits for them to the end, but asks them to be quick about it.
        is_hurried = parent is not None and seen.policy == "wait" and parent.status in STOPPED
        is_explained = by_hand or (asks and may_outlive) or called_off or is_hurried
        self._require(not seen.is_cancelled or is_explained, "was cancelled by nobody")
        was_told = seen.is_cancelled or seen.status == "continued"
        self._require(not (asks and outlives) or was_told, "outlives its parent and was not cancelled")
        self._require(not outlives or asks or seen.policy == "abandon", "was to be waited for by its parent")

    def _carry_over(self) -> None:
        """What was continued hands its state on."""
        carried = [change for change in self.observed.changes if change.path == "__state"]
        self.order += [change.path for change in carried]
        before: dict[str, Any] = {}
        for other in self.family.values():
            said = other.checkpoints.get("continue_as_new")
            if said is not None and said.value == self.observed.id:
                before = _folded(other.changes)
        found = [change.what["set"] for change in carried]
        self._require(found == ([before] if before else []), f"took over {found} of {before}")

    def _failed_beside(self, other: Observed) -> bool:
        """Whether it is of the same parent's maps, and calls off the others of its own."""
        is_beside = other.is_of_map and other.parent == self.observed.parent
        return is_beside and other.status not in {"completed", "continued"}

    def _last(self, first: UUID) -> Observed:
        """The execution, or what it was continued as."""
        return next(each for each in self.family.values() if each.chain == first and each.status != "continued")

    # -- calls -----------------------------------------------------------------------------------------

    def path(self, scope: _Scope, name: str) -> str:
        """That of the next call of that name."""
        number = scope.names[name] + 1
        return scope.name + (name if number == 1 else f"{name}#{number}")

    def call(self, scope: _Scope, name: str) -> tuple[str, Recorded]:
        """Its checkpoint's name and the checkpoint. Raises what was delivered there."""
        path = self.path(scope, name)
        scope.names[name] += 1
        found = self.observed.checkpoints.get(path)
        if found is None:
            raise Wrong(f"{self.observed.id}: {path!r} is not recorded")
        self.order.append(path)
        if found.status in _INTERRUPTIONS:
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
            raise _Failure("StepFailed", "Broken")
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
            self._require(self.around.died > 0, f"{path!r} failed and no worker died")
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

    def do_emit(self, scope: _Scope, node: Node) -> str:
        self.expect(*self.call(scope, "emit:generated.told"), "completed")
        return "emit"

    def do_random(self, scope: _Scope, node: Node) -> str:
        return str(node["do"])

    do_uuid = do_random

    def do_token(self, scope: _Scope, node: Node) -> str:
        self.expect(*self.call(scope, f"token:{node['name']}"), "completed")
        return "token"

    def do_raise(self, scope: _Scope, node: Node) -> None:
        raise _Failure("Boom")

    # -- the state and the length of the history -------------------------------------------------------

    def do_change(self, scope: _Scope, node: Node) -> list[Any]:
        path, found = self.call(scope, "state")
        self.expect(path, found, "completed")
        return [self._state(found.position, scope.view).get("k"), node["value"]]

    def do_until(self, scope: _Scope, node: Node) -> bool:
        path, found = self.call(scope, "until")
        self.expect(path, found, "completed")
        holds, asked_at = found.value
        self._require(holds or node["timeout"] is not None, f"{path!r} timed out and has no time-out")
        state = self._state(asked_at, _View())
        self._require(holds == (state.get("k", 0) >= node["least"]), f"{path!r} says {holds} of {state}")
        scope.view = _View(scope.view.prefix, asked_at, _View())
        return bool(holds)

    def _state(self, position: int, view: _View) -> dict[str, Any]:
        """What a view sees before a position."""
        return _folded(each for each in self.observed.changes if each.position < position and view.sees(each))

    def do_long(self, scope: _Scope, node: Node) -> bool:
        """A yes is recorded; beside other branches a no is, too."""
        name = "should_continue_as_new"
        if self.path(scope, name) not in self.observed.checkpoints and not scope.view.prefix:
            return False
        path, found = self.call(scope, name)
        is_long = found.position >= HISTORY_WARNING
        self._require(is_long == (found.value is None), f"{path!r} came at {found.position}")
        return is_long

    # -- undoing ---------------------------------------------------------------------------------------

    def do_rollback(self, scope: _Scope, node: Node) -> str:
        self.rollback(scope, scope.name)
        return "rollback"

    def rollback(self, scope: _Scope, *below: str) -> None:
        """Undo what is below any of these, the latest completion first."""
        mine = sorted((path for path in self.offered if path.startswith(below)), key=self._completion)
        for path in reversed(mine):
            self.offered.remove(path)
            undone, found = self.call(scope, "rollback:" + path.removeprefix(scope.name).replace("/", ">"))
            self._require(found.status in {"completed", "skipped"}, f"{undone!r} is {found.status}")
            self.settled.append(found.status)
            scope.bodies.append(undone)

    def _completion(self, path: str) -> Any:
        """Bodies beside others complete in the order in which they end, which only the record tells."""
        recorded = self.observed.checkpoints[path]
        return self.last[path] if self.around.is_serial else (recorded.finished_at, recorded.position)

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
        return self.inline(scope, f"{path}/{chosen}/", block)

    def inline(self, scope: _Scope, name: str, block: Block) -> Any:
        """A scope of its own for the names, in the place of the code outside."""
        inner = _Scope(name, scope.interrupted, scope.inherited, scope.view)
        try:
            return self.block(inner, block)
        finally:
            scope.interrupted, scope.inherited, scope.view = inner.interrupted, inner.inherited, inner.view
            self._sequence(inner)

    def do_loop(self, scope: _Scope, node: Node) -> list[Any] | None:
        done: list[Any] = []
        first, found = self.call(scope, "loop")
        self.expect(first, found, "completed")
        while len(done) < node["rounds"]:
            if len(done) >= node["most"]:
                raise _Failure("LoopLimitError")
            done.append(self.inline(scope, f"{first}/{len(done)}/", node["body"]))
            self.expect(*self.call(scope, "loop"), "completed")
        return done or None

    def do_patched(self, scope: _Scope, node: Node) -> Any:
        path = f"{scope.name}__patch:p{node['n']}"
        found = self.observed.checkpoints.get(path)
        index = len(self.order)
        if found is not None:
            self.call(scope, f"__patch:p{node['n']}")
        is_new = found is not None and found.value
        self.patches.append(_Asked(path, scope.name, index, is_new))
        return self.block(scope, node["new" if is_new else "old"])

    def _judge_patch(self, asked: _Asked) -> None:
        """The new way exactly where nothing had gone on from before the deploy."""
        around, seen = self.around, self.observed
        is_recorded = asked.path in seen.checkpoints
        ended_before = around.deployed_at is not None and seen.finished_at <= around.deployed_at
        if not around.is_deployed or ended_before:
            self._require(not is_recorded, f"{asked.path!r} is answered and was not deployed")
            return
        then = around.before_deploy.get(seen.id, set())
        behind = {path for path in self.order[asked.index :] if asked.scope.startswith(_scope_of(path))}
        has_gone_on = bool(behind & then)
        self._require(
            asked.is_new != has_gone_on, f"{asked.path!r} is {asked.is_new}, {sorted(behind & then)} were there"
        )

    def do_continue(self, scope: _Scope, node: Node) -> None:
        if self.observed.is_of_map:  # whose results are those of its own children
            raise _Failure("InvalidOptionError")
        if scope.interrupted is not None:
            raise _Interruption
        asked = self.observed.checkpoints.get(self.path(scope, "continue_as_new"))
        if asked is not None and asked.status in _INTERRUPTIONS:
            self.call(scope, "continue_as_new")
        raise _Continued(node["body"])

    # -- children --------------------------------------------------------------------------------------

    def do_child(self, scope: _Scope, node: Node) -> Any:
        path, child = self.start(scope, node)
        between = self.block(scope, node["between"])
        return [between, self.join(scope, path, child, node["timeout"])] if node["waits"] else between

    def start(self, scope: _Scope, node: Node) -> tuple[str, UUID]:
        path, found = self.call(scope, node["id"])
        self.expect(path, found, "completed")
        child = self.family[found.value]
        wanted = (self.observed.id, node["body"], node["policy"], node["workflow"] != "leaving")
        is_so = (child.parent, child.program, child.policy, child.compensates) == wanted
        self._require(is_so and child.has_deadline == (node["deadline"] is not None), f"{path!r} is another child")
        return path, found.value

    def do_fan(self, scope: _Scope, node: Node) -> list[Any]:
        path, found = self.call(scope, "map")
        self.expect(path, found, "completed")
        ids = [UUID(int=found.value["first"].int + index) for index in range(found.value["count"])]
        self._require(len(ids) == len(node["items"]), f"{path!r} has {len(ids)} children")
        for child_id, body in zip(ids, node["items"], strict=True):
            child = self.family[child_id]
            wanted = (self.observed.id, body, node["policy"], node["workflow"] != "leaving")
            self._require((child.parent, child.program, child.policy, child.compensates) == wanted, f"{path!r}: others")
        if not ids:
            return []
        joined, end = self.call(scope, f"join:{path.rpartition('/')[2]}")
        last = [self._last(child_id) for child_id in ids]
        if end.status == "failed":
            index, status = end.value
            self._require(not node["settle"] and status != "completed", f"{joined!r} is {end}")
            self._require(status == last[index].status, f"{joined!r} is {end}, not {last[index].status}")
            raise _Failure("ChildFailed", last[index].error_class)
        self.expect(joined, end, "completed")
        failed = [each.status for each in last if each.status != "completed"]
        self._require(node["settle"] or not failed, f"{joined!r} is {end}, there are {failed}")
        return [each.result if each.status == "completed" else "ChildFailed" for each in last]

    def join(self, scope: _Scope, started: str, child: UUID, timeout: float | None) -> Any:
        path, found = self.call(scope, "join:" + started.replace("/", ">"))
        last = self._last(child)
        if found.status == "failed" and found.value is None:
            self._require(timeout is not None, f"{path!r} gave up and has no time-out")
            raise _Failure("ChildNotEndedError")
        if last.status == "completed":
            self.expect(path, found, "completed")
            self._require(found.value == last.result, f"{path!r} is {found.value}, not {last.result}")
            return found.value
        self.expect(path, found, "failed")
        self._require(found.value == last.status, f"{path!r} is {found.value}, not {last.status}")
        raise _Failure("ChildFailed", last.error_class)

    # -- branches beside each other --------------------------------------------------------------------

    def do_parallel(self, scope: _Scope, node: Node) -> dict[str, Any]:
        return self.branches(scope, "parallel", self.blocks(node["branches"]), settle=node["settle"])

    def do_gather(self, scope: _Scope, node: Node) -> list[Any]:
        return list(self.branches(scope, "gather", self.blocks(_numbered(node["branches"]))).values())

    def do_map(self, scope: _Scope, node: Node) -> list[Any]:
        return list(self.branches(scope, "map", self.blocks(_numbered([node["body"]] * node["items"]))).values())

    def do_race(self, scope: _Scope, node: Node) -> list[Any]:
        return list(self.race(scope, "race", self.blocks(node["branches"])))

    def do_wait_any(self, scope: _Scope, node: Node) -> list[Any] | None:
        branches = dict(self.awaited(scope, node))
        if node["timeout"] is not None:
            branches["__timeout"] = self._slept
        name, value = self.race(scope, "wait_any", branches)
        return None if name == "__timeout" else [name, value]

    def do_wait_all(self, scope: _Scope, node: Node) -> dict[str, Any]:
        branches = dict(self.awaited(scope, node))
        if node["timeout"] is None:
            return self.branches(scope, "wait_all", branches)
        within = {name: partial(self._within, name, branch) for name, branch in branches.items()}
        came = self.branches(scope, "wait_all", within)
        return {name: value[0] for name, value in came.items() if value}

    def _within(self, name: str, branch: Callable[[_Scope], Any], scope: _Scope) -> list[Any]:
        winner, value = self.race(scope, "within", {name: branch, "__timeout": self._slept})
        return [] if winner == "__timeout" else [value]

    def awaited(self, scope: _Scope, node: Node) -> _Branches:
        branches = self.blocks(node["awaited"])
        if "s" in branches:
            branches["s"] = lambda scope: self.do_wait(scope, node["awaited"]["s"][0])
        if "t" in branches:
            branches["t"] = self._slept
        if node["child"] is not None:
            path, child = self.start(scope, node["child"])
            branches["c"] = lambda scope: self.join(scope, path, child, None)
        return branches

    def _slept(self, scope: _Scope) -> None:
        self.do_sleep(scope, {})

    def blocks(self, blocks: Mapping[str, Block]) -> dict[str, Callable[[_Scope], Any]]:
        return {name: partial(self._block_of, block) for name, block in blocks.items()}

    def _block_of(self, block: Block, scope: _Scope) -> list[Any]:
        return self.block(scope, block)

    def _enter(self, scope: _Scope, part: str, branches: _Branches, *, inherits: bool) -> tuple[str, dict[str, _Scope]]:
        """The scopes of the branches that have begun."""
        path, found = self.call(scope, part)
        self.expect(path, found, "completed")
        inherited = scope.inherited or (scope.interrupted is not None and inherits)
        inner = {
            name: _Scope(
                f"{path}/{name}/",
                scope.interrupted,
                inherited,
                _View(f"{path}/{name}/", found.position, scope.view),
            )
            for name in branches
        }
        return path, {name: each for name, each in inner.items() if self._has_begun(each)}

    def _has_begun(self, scope: _Scope) -> bool:
        return any(each.startswith(scope.name) for each in self.observed.checkpoints)

    def _run(self, scope: _Scope, branch: Callable[[_Scope], Any]) -> Any:
        """The value, or the error instead."""
        try:
            return branch(scope)
        except (_Failure, _Interruption) as error:
            return error
        finally:
            self._sequence(scope)

    def branches(self, scope: _Scope, part: str, branches: _Branches, *, settle: bool = False) -> dict[str, Any]:
        path, inner = self._enter(scope, part, branches, inherits=not settle)
        ends = {name: self._run(each, branches[name]) for name, each in inner.items()}
        failures = [name for name, end in ends.items() if isinstance(end, _Failure)]
        if failures and not settle:
            failed = min(failures, key=lambda name: inner[name].interrupted is not None)  # not that of a clean-up
            scope.interrupted = scope.interrupted or inner[failed].interrupted
            self._explain(f"{path}/")
            if self.observed.compensates:
                self.rollback(scope, f"{path}/")
            raise ends[failed]
        self._require(inner.keys() == branches.keys(), f"{path!r} has ended without having begun all but {list(inner)}")
        for each in inner.values():
            scope.interrupted = scope.interrupted or each.interrupted
        for end in ends.values():
            if isinstance(end, _Interruption):
                raise end
        return {name: str(end) if isinstance(end, _Failure) else end for name, end in ends.items()}

    def _explain(self, below: str) -> None:
        """Those were called off by a branch beside them."""
        self.unexplained = {each for each in self.unexplained if not each.startswith(below)}

    def race(self, scope: _Scope, part: str, branches: _Branches) -> tuple[str, Any]:
        path, inner = self._enter(scope, part, branches, inherits=True)
        decided = self.observed.checkpoints.get(self.path(scope, f"{part}:won"))
        winner = "" if decided is None else decided.value
        self._require(winner in inner, f"{path!r} is won by {winner!r} of {list(inner)}")
        end = self._run(inner[winner], branches[winner])
        self.call(scope, f"{part}:won")
        losers = {name: each for name, each in inner.items() if name != winner}
        for name, each in losers.items():
            self._run(each, branches[name])
            self._judge_loser(each)
            self._explain(each.name)
        scope.interrupted = scope.interrupted or inner[winner].interrupted
        if losers and self.observed.compensates:
            self.rollback(scope, *(each.name for each in losers.values()))
        if isinstance(end, _Failure | _Interruption):
            raise end
        return winner, end

    def _judge_loser(self, scope: _Scope) -> None:
        """It waited when the winner ended, so that it was told; or it has ended by itself, where that may be."""
        below = {name: each for name, each in self.observed.checkpoints.items() if name.startswith(scope.name)}
        is_told = any(each.status in _INTERRUPTIONS for each in below.values())
        has_undone = any(each.kind == "compensation" for each in below.values())
        may_end = has_undone or self.around.died or not self.around.is_serial
        self._require(is_told or bool(may_end), f"{scope.name!r} has lost and was not withdrawn")


def _folded(changes: Iterable[Change]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for change in changes:
        state = ({} if change.what.get("replaces") else state) | change.what["set"]
    return state


def _scope_of(path: str) -> str:
    return path[: path.rfind("/") + 1]


def _numbered(blocks: list[Block]) -> dict[str, Block]:
    return {str(number): block for number, block in enumerate(blocks)}
