"""Facts that stay the same in every replay, and what is told to people."""

from __future__ import annotations

import random
import uuid
from datetime import datetime
from logging import Logger, LoggerAdapter

from django_durable.context.runtime import Calls
from django_durable.exceptions import InvalidOptionError
from django_durable.running import check_progress


class FactCalls(Calls):
    """``ctx.now``, ``ctx.random``, ``ctx.uuid4``, ``ctx.note``, ``ctx.log`` and ``ctx.progress``."""

    @property
    def execution_id(self) -> uuid.UUID:
        return self._runtime.execution_id

    @property
    def attempt(self) -> int:
        """1, or more when workers died in this pass before. For logs; not the same in every replay."""
        return self._runtime.attempt

    def note(self, text: str) -> None:
        """Record a line for people in the history; text: up to 2,000 characters."""
        if not isinstance(text, str) or len(text) > 2000:
            raise InvalidOptionError("ctx.note(text): give a string of at most 2,000 characters.")
        self._runtime.note(text)

    def now(self) -> datetime:
        """The database's time, recorded: every replay gets the same. Costs one checkpoint."""
        return self._runtime.now()

    def random(self) -> random.Random:
        """A generator seeded by the execution: the same numbers in every replay, at no cost."""
        return self._runtime.random()

    def uuid4(self) -> uuid.UUID:
        """A random UUID, the same in every replay. Unique, not secret: it is derived from the execution's id."""
        return uuid.UUID(int=self._runtime.random().getrandbits(128), version=4)

    @property
    def log(self) -> LoggerAdapter[Logger]:
        """A standard logger bound to this execution; quiet while recorded history is replayed."""
        return self._runtime.log()

    def progress(self, current: int, total: int | None = None, message: str = "") -> None:
        """Show how far this is, in lists and pages; not part of the history. Written at most once a second."""
        check_progress(current, total)
        self._runtime.progress(current, total, str(message)[:255])
