"""Scopes: each branch of a parallel or chosen part has a history of its own, in its own order.

A checkpoint's name is a path, ``both/left/charge`` is the step "charge" of the branch "left" of the part "both". Calls
are matched within their scope, so that branches may come in any order; positions are the order of recording.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django_durable.definitions import StepDefinition
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.outcomes import Leave
from django_durable.engine.policies import Policy

LONGEST_NAME = 255  # of the column


@dataclass(frozen=True, slots=True)
class Compensation:
    """How to undo one completed step. result: of that step, as stored; the undoing body gets it, decoded afresh."""

    step_id: str
    undo: StepDefinition[..., Any]
    result: str
    completed: tuple[datetime, int]  # when, and its position: the order of completion


class Shared:
    """What all scopes of one pass share."""

    def __init__(
        self,
        journal: Journal,
        history: list[Checkpoint],
        *,
        deadline_at: datetime | None,
        short_wait_seconds: float,
    ) -> None:
        self.journal = journal
        self.deadline_at = deadline_at
        self.short_wait_seconds = short_wait_seconds
        self._histories: defaultdict[str, list[Checkpoint]] = defaultdict(list)
        for checkpoint in history:
            self._histories[checkpoint.name.rpartition("/")[0]].append(checkpoint)
        self.compensates = True  # as the workflow says
        self.on_change = "park"  # as the workflow says
        self.rewind()

    def rewind(self) -> None:
        self.policies: dict[str, Policy] = {}  # by scope
        self.active: object = None  # the scope whose function is running
        self.leaving: Leave | None = None
        self.compensations: list[Compensation] = []
        self.undone: list[str] = []  # statuses of the compensations that are settled

    def history(self, scope: str) -> list[Checkpoint]:
        """The checkpoints of one scope, in order; the caller keeps it in step with the table."""
        return self._histories[scope]

    def unasked(self) -> list[Checkpoint]:
        """What is recorded in any scope and was not asked for in this pass."""
        scopes = self._histories.items()
        return [
            checkpoint
            for scope, history in scopes
            for checkpoint in (self.policies[scope].unasked if scope in self.policies else history)
        ]

    def forget_compensations(self, scope: str) -> None:
        """A branch is run anew and will offer them again."""
        self.compensations = [each for each in self.compensations if not each.step_id.startswith(f"{scope}/")]
