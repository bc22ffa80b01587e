"""ctx.progress: how far an execution is, for people. Not part of the history; the last word of a pass counts."""

from __future__ import annotations

import logging

from django.db import Error
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
        self._unwritten: dict[str, object] = {}
        self._written_at = float("-inf")

    def show(self, current: int, total: int | None, message: str) -> None:
        self._unwritten = {"progress_current": current, "progress_total": total, "progress_message": message}
        if clock.monotonic() - self._written_at >= EVERY_SECONDS:
            self.flush()

    def flush(self) -> None:
        """One fenced UPDATE, or none when there is no news. Never raises: it must not decide how an execution ends."""
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
