"""What is running in this thread: the execution, and the step whose body it is, as that body may ask for it.

Context variables, so threads that the engine begins for bodies and coroutines inherit them; a thread that a body begins
by itself does not, unless it is given a copy of the context.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from django_durable.exceptions import InvalidOptionError, NotInWorkflowError


class Link(Protocol):
    """What the body of a step may tell and ask the pass that runs it."""

    def progress(self, current: int, total: int | None, message: str) -> None: ...

    def is_abandoned(self) -> bool: ...


class _NoPass:
    """Of a step that is called by hand, as a unit test does."""

    def progress(self, current: int, total: int | None, message: str) -> None:
        return None

    def is_abandoned(self) -> bool:
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepInfo:
    """What a running step body may know about itself."""

    execution_id: uuid.UUID
    step_id: str
    attempt: int  # from 1
    link: Link = field(default_factory=_NoPass, repr=False, compare=False)
    run: int = 1  # more: it had completed and runs again, since somebody has retried the execution from before it

    @property
    def idempotency_key(self) -> str:
        """The same for every attempt of this step in this execution, and for no other; give it to the outside world.

        A step that had completed, and runs again after a retry, has another one: its effect is wanted once more.
        """
        name = self.step_id if self.run == 1 else f"{self.step_id}\n{self.run}"  # no step id has a second line
        return str(uuid.uuid5(self.execution_id, name))

    @property
    def is_abandoned(self) -> bool:
        """Nothing that this body returns will count: its time is up, or its worker has lost the execution.

        No statement: ask as often as you like, and stop as soon as it is true.
        """
        return self.link.is_abandoned()

    def progress(self, current: int, total: int | None = None, message: str = "") -> None:
        """As ``Context.progress``, from inside a body; nothing once that is abandoned."""
        check_progress(current, total)
        self.link.progress(current, total, str(message)[:255])


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionInfo:
    """The execution whose function, or one of whose bodies, this thread runs.

    is_replaying: whether the function is being taken to where it has been before.
    """

    execution_id: uuid.UUID
    workflow: str
    attempt: int  # how often it was claimed without being given back
    is_replaying: Callable[[], bool] = field(repr=False, compare=False)


running_step: ContextVar[StepInfo] = ContextVar("django_durable_step")
running_execution: ContextVar[ExecutionInfo] = ContextVar("django_durable_execution")


def check_progress(current: int, total: int | None) -> None:
    numbers = (current, total if total is not None else 0)
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n < 2**63 for n in numbers):
        raise InvalidOptionError("progress(current, total): give whole numbers >= 0.")


def current_step() -> StepInfo:
    """The step whose body is running. Raises NotInWorkflowError elsewhere."""
    try:
        return running_step.get()
    except LookupError:
        raise NotInWorkflowError("current_step() works only while a step's body runs inside a workflow.") from None
