"""How far an execution is, for people: ``ctx.progress``, and the same from the bodies of its steps.

Not part of the history; the last word of a pass counts. Bodies may run side by side: one thread at a time writes, the
others leave their word to it, or to the end of the pass.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.db import Error, connections
from django.db.models import Exists, OuterRef

from django_durable import clock
from django_durable.engine.claims import Claim
from django_durable.models import Execution, Timer

logger = logging.getLogger("django_durable.execution")

EVERY_SECONDS = 1.0


class Progress:
    """Writes at most once a second, and what is left over at the end of the pass."""

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._unwritten: dict[str, int | str | None] = {}
        self._written_at = float("-inf")
        self._depth = len(connections[claim.using].atomic_blocks)  # a test's transactions
        self._writing = threading.Lock()  # by one thread at a time, so that none writes an older word over a newer
        self._changing = threading.Lock()
        self._later: asyncio.Task[None] | None = None  # kept, so that it is not collected

    def show(self, current: int, total: int | None, message: str) -> None:
        """The latest word; written now if the last was long enough ago and nothing stands in the way."""
        word = {"progress_current": current, "progress_total": total, "progress_message": message}
        with self._changing:
            self._unwritten = word
        if clock.monotonic() - self._written_at < EVERY_SECONDS:
            return
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self._write_unless_busy()
        else:  # where Django allows no query: the thread that waits for the loop makes it
            self._later = loop.create_task(sync_to_async(self._write_unless_busy)())

    def flush(self) -> None:
        """One fenced UPDATE, or none when there is no news. Never raises: it must not decide how an execution ends."""
        with self._writing:
            self._write()

    def _write_unless_busy(self) -> None:
        """Not from inside a body's own transaction: it would lock the execution before the timer, and for long."""
        is_inside = len(connections[self._claim.using].atomic_blocks) > self._depth
        if is_inside or not self._writing.acquire(blocking=False):
            return
        try:
            self._write()
        finally:
            self._writing.release()

    def _write(self) -> None:
        with self._changing:  # else a word that comes between the two could be lost
            values, self._unwritten = self._unwritten, {}
        if not values:
            return
        claim = self._claim
        lease = Timer.objects.filter(execution_id=OuterRef("pk"), token=claim.token)
        executions = Execution.objects.using(claim.using).filter(pk=claim.execution_id)
        try:
            executions.filter(Exists(lease)).update(**values)
        except (Error, ValueError):
            logger.warning("Progress of %s was not written.", claim.execution_id, exc_info=True)
        self._written_at = clock.monotonic()


@dataclass(frozen=True, slots=True)
class BodyLink:
    """What one attempt of a step may tell and ask; see ``running.Link``. ends_at: of its time, monotonic."""

    claim: Claim
    shown: Progress
    ends_at: float | None

    def progress(self, current: int, total: int | None, message: str) -> None:
        if not self.is_abandoned():
            self.shown.show(current, total, message)

    def is_abandoned(self) -> bool:
        return self.claim.lost or (self.ends_at is not None and clock.monotonic() >= self.ends_at)
