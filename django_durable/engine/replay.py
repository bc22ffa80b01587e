"""The Runtime behind Context: runs the workflow function from the top and says how that ended.

The durable operations live in one file each; matching them with the history is ``matching``'s.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django_durable.context import Case, Context
from django_durable.definitions import WorkflowDefinition
from django_durable.engine import branches, inbox, notes, patches, sagas, steps, timers, tokens
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.logs import ExecutionLogger
from django_durable.engine.matching import Matcher, describe
from django_durable.engine.outcomes import Leave, Leaving, Mismatch, Outcome, Park, Raised, Returned, RollingBack
from django_durable.engine.progress import Progress
from django_durable.engine.scopes import Shared
from django_durable.exceptions import ControlFlow, DurableError, NondeterminismError, SwallowedControlFlowError
from django_durable.models import Kind

logger = logging.getLogger("django_durable.execution")


class Replay(Matcher):
    """One pass over one execution; implements ``context.Runtime``."""

    def __init__(
        self,
        journal: Journal,
        history: list[Checkpoint],
        *,
        deadline_at: datetime | None,
        short_wait_seconds: float,
    ) -> None:
        super().__init__(Shared(journal, history, deadline_at=deadline_at, short_wait_seconds=short_wait_seconds))
        self.progress_shown = Progress(self.claim)

    # -- one run of the function -------------------------------------------------------------------

    def run(self, definition: WorkflowDefinition[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Outcome:
        """Run the workflow function from the top, and undo what an unsuccessful end leaves behind; never raises."""
        self.shared.on_change = definition.on_change
        self.shared.compensates = definition.on_failure == "compensate"
        self.rewind()
        try:
            definition.check_arguments(tuple(args), kwargs)
        except TypeError as error:
            return _unfit(definition, error)
        outcome = self.call(definition.fn, *args, **kwargs)
        if isinstance(outcome, Returned | Raised):
            self._tell_unasked()
        return sagas.conclude(self, outcome)

    def call(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Returned | Raised | Leaving:
        """Run a function with the context of this scope, to its end or until it leaves; never raises."""
        outer, self.shared.active = self.shared.active, self
        try:
            value = fn(Context(self), *args, **kwargs)
        except Leave as leave:
            if leave is self.shared.leaving:
                return leave.why
            return self._swallowed(leave)
        except (Exception, ControlFlow) as error:
            return self._ended(Raised(error))
        finally:
            self.shared.active = outer
        return self._ended(Returned(value))

    def _ended(self, outcome: Returned | Raised) -> Returned | Raised | Leaving:
        leaving = self.shared.leaving
        if leaving is not None:
            return self._swallowed(leaving) if isinstance(leaving.why, Park) else leaving.why
        unmet = self.policy.unmet
        if unmet is None:
            return outcome
        if unmet.kind == Kind.ROLLBACK:
            return RollingBack()
        found = "the end of the function" if isinstance(outcome, Returned) else f"{outcome.error!r}"
        return Mismatch(NondeterminismError(unmet.position, describe(unmet.kind, unmet.name), found))

    def _tell_unasked(self) -> None:
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
        if compensate is not None:
            sagas.offer(self, call, compensate)
        return value

    def rollback(self) -> None:
        sagas.rollback(self)

    def switch(self, part: str, value: Any, cases: Sequence[Case], default: Callable[[Context], Any] | None) -> Any:
        return branches.switch(self, part, value, cases, default)

    def parallel(
        self, part: str, each: Mapping[str, Callable[[Context], Any]], settle: bool, limit: int | None
    ) -> dict[str, Any]:
        return branches.parallel(self, part, each, settle=settle, limit=limit)

    def sleep(self, seconds: float) -> None:
        timers.sleep(self, seconds)

    def sleep_until(self, at: datetime) -> None:
        timers.sleep_until(self, at)

    def wait_for_signal(self, name: str, timeout_seconds: float | None, default: Any) -> Any:
        return inbox.wait(self, name, timeout_seconds, default)

    def signal_token(self, name: str, lifetime_seconds: float) -> str:
        return tokens.issue(self, name, lifetime_seconds)

    def patched(self, patch_id: str) -> bool:
        return patches.patched(self, patch_id)

    def deprecate_patch(self, patch_id: str) -> None:
        patches.deprecate(self, patch_id)

    def note(self, text: str) -> None:
        notes.note(self, text)

    def now(self) -> datetime:
        return notes.now(self)

    def random(self) -> random.Random:
        return self.random_numbers

    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        return ExecutionLogger(self)

    def progress(self, current: int, total: int | None, message: str) -> None:
        if not self.is_replaying:
            self.progress_shown.show(current, total, message)


def _unfit(definition: WorkflowDefinition[..., Any], error: TypeError) -> Mismatch:
    return Mismatch(
        DurableError(
            f"The arguments it was started with do not fit {definition.name} version {definition.version} any more: "
            f"{error}. Give new parameters defaults and keep old ones, or put the new code under a higher version."
        )
    )
