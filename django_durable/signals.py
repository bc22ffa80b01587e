"""Django signals, in the past tense, and the log lines that go with them.

Sent after the commit that made them true, with ``send_robust``. ``sender`` is the model class.

===================== =====================================================================
Django signal         keyword arguments
===================== =====================================================================
execution_started     execution_id, workflow, using
execution_parked      execution_id, workflow, status, waiting_for, using
execution_closed      execution_id, workflow, status, using
execution_stuck       execution_id, workflow, reason, detail, using
step_failed           execution_id, step_id, attempt, type_name, will_retry, using
event_emitted         execution_id, event_id, event, payload, using
delivery_failed       execution_id, event_id, event, receiver, attempt, type_name, will_retry, using
lease_lost            execution_id, using
===================== =====================================================================
"""

from __future__ import annotations

import logging
from typing import Any

from django.db import transaction
from django.dispatch import Signal

execution_started = Signal(use_caching=True)
execution_parked = Signal(use_caching=True)
execution_closed = Signal(use_caching=True)
execution_stuck = Signal(use_caching=True)
step_failed = Signal(use_caching=True)
event_emitted = Signal(use_caching=True)  # once for each emit, but not if the process dies in that moment
delivery_failed = Signal(use_caching=True)
lease_lost = Signal(use_caching=True)

logger = logging.getLogger("django_durable.execution")

_LOGGED = {
    execution_started: (logging.DEBUG, "started"),
    execution_parked: (logging.DEBUG, "parked"),
    execution_closed: (logging.INFO, "closed"),
    execution_stuck: (logging.ERROR, "stuck"),
    step_failed: (logging.WARNING, "step failed"),
    event_emitted: (logging.DEBUG, "event emitted"),
    delivery_failed: (logging.WARNING, "delivery failed"),
    lease_lost: (logging.WARNING, "lease lost"),
}
_TOLD = {"reason", "detail", "status", "step_id", "event", "receiver", "type_name"}
_SECRET = {"payload"}


def send_on_commit(signal: Signal, *, sender: type, using: str, **facts: Any) -> None:
    """Log and send after the surrounding transaction commits, or at once without one.

    Costs nothing when nobody listens and the log does not want it.
    """
    level, text = _LOGGED[signal]
    if not (logger.isEnabledFor(level) or signal.has_listeners(sender)):
        return

    def send() -> None:  # a plain function: robust=True needs __qualname__, which a partial has not
        _log(level, text, facts)
        signal.send_robust(sender, using=using, **facts)

    transaction.on_commit(send, using=using, robust=True)


def _log(level: int, text: str, facts: dict[str, Any]) -> None:
    if logger.isEnabledFor(level):
        told = " ".join(f"{name}={value!r}" for name, value in facts.items() if name in _TOLD)
        extra = {"durable": {name: value for name, value in facts.items() if name not in _SECRET}}
        logger.log(level, "%s %s %s", text, facts.get("execution_id"), told, extra=extra)
