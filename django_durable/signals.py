"""Django signals, in the past tense, and the receivers that log.

Sent after the commit that made them true, with ``send_robust``. ``sender`` is the model class.

===================== =====================================================================
Django signal         keyword arguments
===================== =====================================================================
execution_started     execution_id, workflow, using
execution_parked      execution_id, workflow, status, waiting_for, using
execution_closed      execution_id, workflow, status, using
execution_stuck       execution_id, workflow, reason, detail, using
step_failed           execution_id, step_id, attempt, type_name, will_retry, using
lease_lost            execution_id, using
===================== =====================================================================
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from django.db import transaction
from django.dispatch import Signal

execution_started = Signal()
execution_parked = Signal()
execution_closed = Signal()
execution_stuck = Signal()
step_failed = Signal()
lease_lost = Signal()

logger = logging.getLogger("django_durable.execution")


def send_on_commit(signal: Signal, *, sender: type, using: str, **facts: Any) -> None:
    """Send after the surrounding transaction commits, or at once without one; costs nothing without receivers."""
    if not signal.has_listeners(sender):
        return

    def send() -> None:  # a plain function: robust=True needs __qualname__, which a partial has not
        signal.send_robust(sender, using=using, **facts)

    transaction.on_commit(send, using=using, robust=True)


def _log(level: int, text: str, *, sender: type, signal: Signal, **facts: Any) -> None:
    if logger.isEnabledFor(level):
        names = {"reason", "detail", "status", "step_id", "type_name"}
        told = " ".join(f"{name}={value!r}" for name, value in facts.items() if name in names)
        logger.log(level, "%s %s %s", text, facts.get("execution_id"), told, extra={"durable": facts})


_RECEIVERS = [
    (execution_started, partial(_log, logging.DEBUG, "started")),
    (execution_parked, partial(_log, logging.DEBUG, "parked")),
    (execution_closed, partial(_log, logging.INFO, "closed")),
    (execution_stuck, partial(_log, logging.ERROR, "stuck")),
    (step_failed, partial(_log, logging.WARNING, "step failed")),
    (lease_lost, partial(_log, logging.WARNING, "lease lost")),
]
for _signal, _receiver in _RECEIVERS:
    _signal.connect(_receiver, weak=False, dispatch_uid=f"django_durable.log.{id(_signal)}")
