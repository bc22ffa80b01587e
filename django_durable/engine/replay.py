"""The Runtime behind Context: runs the workflow function from the top and says how that ended.

The durable operations live in one file each; matching them with the history is ``matching``'s.
"""

from __future__ import annotations

import inspect
import logging
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, NoReturn
from uuid import UUID

from django_durable.context import Context
from django_durable.context.joining import TimedBranch
from django_durable.definitions import WorkflowDefinition
from django_durable.engine import (
    branches,
    children,
    continuing,
    coroutines,
    fanout,
    inbox,
    loops,
    notes,
    outbox,
    patches,
    sagas,
    state,
    steps,
    timers,
    tokens,
)
from django_durable.engine.awaitables import discard, is_async
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.logs import ExecutionLogger
from django_durable.engine.matching import Matcher, describe
from django_durable.engine.outcomes import (
    Leave,
    Leaving,
    Mismatch,
    Outcome,
    Park,
    Raised,
    Returned,
    RollingBack,
    Wants,
    WentBack,
)
from django_durable.engine.scopes import Compensation, Proof, Shared
from django_durable.exceptions import (
    ContinueAsNew,
    ControlFlow,
    DurableError,
    InvalidOptionError,
    NondeterminismError,
    SwallowedControlFlowError,
)
from django_durable.models import Kind
from django_durable.parts import Case, Child
from django_durable.running import ExecutionInfo, running_execution

logger = logging.getLogger("django_durable.execution")


class Replay(Matcher):
    """One pass over one execution; implements ``context.Runtime``."""

    def __init__(
        self,
        journal: Journal,
        history: list[Checkpoint],
        *,
        short_wait_seconds: float,
        body_threads: int = 1,
        proof: Proof | None = None,
        depth: int = 0,
        is_of_map: bool = False,
        seed: UUID | None = None,
        runs: Counter[str] | None = None,
    ) -> None:
        super().__init__(
            Shared(
                journal,
                history,
                short_wait_seconds=short_wait_seconds,
                body_threads=body_threads,
                proof=proof,
                depth=depth,
                is_of_map=is_of_map,
                seed=seed,
                runs=runs,
            )
        )

    # -- one run of the function -------------------------------------------------------------------

    def run(self, definition: WorkflowDefinition[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Outcome:
        """Run the workflow function from the top, and undo what an unsuccessful end leaves behind; never raises."""
        with self._under_way(definition):
            return self._run(definition, args, kwargs)

    def undo(self, definition: WorkflowDefinition[..., Any], compensations: Iterable[Compensation]) -> Outcome:
        """Undo these in this order, without running the function; the history is of nothing else. Never raises."""
        with self._under_way(definition):
            try:
                for compensation in compensations:
                    sagas.undo(self, compensation)
            except Leave as leave:
                return leave.why
            return WentBack()

    @contextmanager
    def _under_way(self, definition: WorkflowDefinition[..., Any]) -> Iterator[None]:
        told = ExecutionInfo(
            execution_id=self.execution_id,
            workflow=definition.name,
            attempt=self.attempt,
            is_replaying=self.shared.is_replaying,
        )
        self.shared.on_change = definition.on_change
        self.shared.compensates = definition.on_failure == "compensate"
        self.shared.workflow = definition.name
        self.rewind()
        marker = running_execution.set(told)
        try:
            with self.shared.under_way():
                yield
        finally:
            running_execution.reset(marker)

    def _run(self, definition: WorkflowDefinition[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Outcome:
        try:
            definition.check_arguments(tuple(args), kwargs)
        except TypeError as error:
            return _unfit(definition, error)
        outcome = continuing.conclude(self, self.call(definition.fn, *args, **kwargs))
        if isinstance(outcome, Returned | Raised):
            self.tell_unasked()
        return sagas.conclude(self, outcome)

    def call(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Returned | Raised | Leaving:
        """Run a function with the context of this scope, to its end or until it leaves; never raises."""
        outer, self.shared.active = self.shared.active, self
        try:
            value = self._value_of(fn, *args, **kwargs)
        except Leave as leave:
            if leave is self.shared.leaving:
                return leave.why
            return self._swallowed(leave)
        except (Exception, ControlFlow) as error:
            return self.ended(Raised(error))
        finally:
            self.shared.active = outer
        return self.ended(Returned(value))

    def _value_of(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        runs_async = is_async(fn, within=self.is_async)
        if not isinstance(fn, TimedBranch):  # ours; the lambdas that it enters are those of who gave them
            self.is_async = runs_async
        if runs_async:
            return coroutines.drive(self, fn, *args, **kwargs)
        value = fn(self.context(), *args, **kwargs)
        if inspect.isawaitable(value):
            discard(value)
            raise InvalidOptionError(f"{fn!r} gave {value!r} and is not async: write it with `async def`.")
        return value

    def context(self) -> Context:
        return Context(self)

    def ended(self, outcome: Returned | Raised) -> Returned | Raised | Leaving:
        leaving = self.shared.leaving
        if leaving is not None:
            return self._swallowed(leaving) if isinstance(leaving.why, Park | Wants) else leaving.why
        unmet = self.policy.unmet
        if unmet is None:
            return outcome
        if unmet.kind == Kind.ROLLBACK:
            return RollingBack()
        if unmet.kind == Kind.CONTINUE and isinstance(getattr(outcome, "error", None), ContinueAsNew):
            return outcome
        found = "the end of the function" if isinstance(outcome, Returned) else f"{outcome.error!r}"
        return Mismatch(NondeterminismError(unmet.position, describe(unmet.kind, unmet.name), found))

    def tell_unasked(self) -> None:
        """Only tolerant matching leaves anything over: what was removed from the code."""
        names = ", ".join(describe(checkpoint.kind, checkpoint.name) for checkpoint in self.shared.unasked())
        if names:
            logger.warning("Execution %s ended without asking for what is recorded: %s.", self.execution_id, names)

    def _swallowed(self, leave: Leave) -> Mismatch:
        return Mismatch(SwallowedControlFlowError(f"Suspend ({leave})"))

    # -- the durable operations, one file each -----------------------------------------------------

    def step(
        self,
        step_id: str | None,
        body: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        compensate: Callable[..., Any] | None,
    ) -> Any:
        value, call = steps.run(self, step_id, body, args, kwargs)
        if compensate is not None and call.has_done_its_work:
            sagas.offer(self, call, compensate)
        return value

    def rollback(self) -> None:
        sagas.rollback(self)

    def start_child(self, step_id: str | None, workflow: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Child:
        return children.start(self, step_id, workflow, args, kwargs)

    def wait_for_execution(self, child: Child, timeout_seconds: float | None) -> Any:
        return children.wait(self, child, timeout_seconds)

    def fan_out(self, part: str, workflow: Any, items: Iterable[Any], settle: bool, limit: int | None) -> Sequence[Any]:
        return fanout.run(self, part, workflow, items, settle=settle, limit=limit)

    def switch(self, part: str, value: Any, cases: Sequence[Case], default: Callable[[Context], Any] | None) -> Any:
        return branches.switch(self, part, value, cases, default)

    def parallel(
        self, part: str, each: Mapping[str, Callable[[Context], Any]], settle: bool, limit: int | None
    ) -> dict[str, Any]:
        return branches.parallel(self, part, each, settle=settle, limit=limit)

    def race(self, part: str, each: Mapping[str, Callable[[Context], Any]]) -> tuple[str, Any]:
        return branches.race(self, part, each)

    def loop(
        self,
        part: str,
        condition: Callable[[Any], bool],
        body: Callable[[Context, Any], Any],
        initial: Any,
        max_iterations: int,
    ) -> Any:
        return loops.loop(self, part, condition, body, initial, max_iterations)

    def continue_as_new(
        self, state: Mapping[str, Any] | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> NoReturn:
        continuing.leave(self, state, args, kwargs)

    def should_continue_as_new(self) -> bool:
        return continuing.is_advised(self)

    def sleep(self, step_id: str | None, seconds: float) -> None:
        timers.sleep(self, step_id, seconds)

    def sleep_until(self, step_id: str | None, at: datetime) -> None:
        timers.sleep_until(self, step_id, at)

    def wait_for_signal(self, step_id: str | None, name: str, timeout_seconds: float | None, default: Any) -> Any:
        return inbox.wait(self, step_id, name, timeout_seconds, default)

    def signal_token(self, name: str, lifetime_seconds: float) -> str:
        return tokens.issue(self, name, lifetime_seconds)

    def state_values(self) -> Mapping[str, Any]:
        return state.values(self)

    def change_state(self, values: Mapping[str, Any], replaces: bool) -> None:
        state.change(self, values, replaces=replaces)

    def wait_until(
        self,
        step_id: str | None,
        condition: Callable[[Mapping[str, Any]], object],
        timeout_seconds: float | None,
    ) -> bool:
        return state.wait_until(self, step_id, condition, timeout_seconds)

    def emit(self, step_id: str | None, event: str, payload: object) -> None:
        outbox.emit(self, step_id, event, payload)

    def patched(self, patch_id: str) -> bool:
        return patches.patched(self, patch_id)

    def deprecate_patch(self, patch_id: str) -> None:
        patches.deprecate(self, patch_id)

    def note(self, text: str) -> None:
        notes.note(self, text)

    def now(self) -> datetime:
        return notes.now(self)

    def random(self) -> random.Random:
        self.check_place()  # drawn anywhere else, the replay's numbers would be others
        return self.random_numbers

    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        return ExecutionLogger(self)

    def progress(self, current: int, total: int | None, message: str) -> None:
        if not self.is_replaying:
            self.shared.progress.show(current, total, message)


def _unfit(definition: WorkflowDefinition[..., Any], error: TypeError) -> Mismatch:
    return Mismatch(
        DurableError(
            f"The arguments it was started with do not fit {definition.name} version {definition.version} any more: "
            f"{error}. Give new parameters defaults and keep old ones, or put the new code under a higher version."
        )
    )
