"""Django signals, in the past tense, and the log lines that go with them.

Sent after the commit that made them true, with ``send_robust``. ``sender`` is the model class.

====================== ====================================================================
Django signal          keyword arguments
====================== ====================================================================
execution_started      execution_id, workflow, using
execution_parked       execution_id, workflow, status, waiting_for, using
execution_closed       execution_id, workflow, status, using
execution_stuck        execution_id, workflow, reason, detail, using
execution_unstuck      execution_id, workflow, reason, using
cancel_requested       execution_id, actor, reason, using
operator_acted         execution_id, verb, actor, reason, using
signal_received        execution_id, name, signal_id, using
step_completed         execution_id, step_id, attempt, using
step_failed            execution_id, step_id, attempt, type_name, will_retry, using
step_retried           execution_id, step_id, attempt, type_name, delay_seconds, using
step_timed_out         execution_id, step_id, attempt, will_retry, using
compensation_started   execution_id, using
compensation_completed execution_id, step_id, attempt, using
compensation_gave_up   execution_id, step_id, attempt, type_name, using
child_started          execution_id, step_id, child_id, using
child_ended            execution_id, step_id, child_id, status, using
event_emitted          execution_id, event_id, event, payload, using
delivery_failed        execution_id, event_id, event, receiver, attempt, type_name, will_retry, using
webhook_failed         execution_id, delivery_id, endpoint_id, kind, attempt, type_name, will_retry, using
lease_lost             execution_id, using
lease_recovered        execution_id, workflow, claims, using
history_long           execution_id, workflow, length, using
====================== ====================================================================
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
execution_unstuck = Signal(use_caching=True)
cancel_requested = Signal(use_caching=True)
operator_acted = Signal(use_caching=True)  # every verb of a person, beside what else it is told by
signal_received = Signal(use_caching=True)
step_completed = Signal(use_caching=True)
step_failed = Signal(use_caching=True)  # each attempt that failed; the next two tell the same of some of them
step_retried = Signal(use_caching=True)
step_timed_out = Signal(use_caching=True)
compensation_started = Signal(use_caching=True)
compensation_completed = Signal(use_caching=True)
compensation_gave_up = Signal(use_caching=True)
child_started = Signal(use_caching=True)
child_ended = Signal(use_caching=True)
event_emitted = Signal(use_caching=True)  # once for each emit, but not if the process dies in that moment
delivery_failed = Signal(use_caching=True)
webhook_failed = Signal(use_caching=True)
lease_lost = Signal(use_caching=True)
lease_recovered = Signal(use_caching=True)
history_long = Signal(use_caching=True)

logger = logging.getLogger("django_durable.execution")

_LOGGED = {
    execution_started: (logging.DEBUG, "started"),
    execution_parked: (logging.DEBUG, "parked"),
    execution_closed: (logging.INFO, "closed"),
    execution_stuck: (logging.ERROR, "stuck"),
    execution_unstuck: (logging.INFO, "unstuck"),
    cancel_requested: (logging.INFO, "cancel requested"),
    operator_acted: (logging.INFO, "operator acted"),
    signal_received: (logging.DEBUG, "signal received"),
    step_completed: (logging.DEBUG, "step completed"),
    step_failed: (logging.WARNING, "step failed"),
    step_retried: (logging.DEBUG, "step retried"),
    step_timed_out: (logging.DEBUG, "step timed out"),
    compensation_started: (logging.INFO, "compensation started"),
    compensation_completed: (logging.DEBUG, "compensation completed"),
    compensation_gave_up: (logging.DEBUG, "compensation gave up"),  # the execution is stuck, which is logged
    child_started: (logging.DEBUG, "child started"),
    child_ended: (logging.DEBUG, "child ended"),
    event_emitted: (logging.DEBUG, "event emitted"),
    delivery_failed: (logging.WARNING, "delivery failed"),
    webhook_failed: (logging.WARNING, "webhook failed"),
    lease_lost: (logging.WARNING, "lease lost"),
    lease_recovered: (logging.INFO, "lease recovered"),
    history_long: (logging.WARNING, "history long"),
}
_TOLD = {
    "reason", "detail", "status", "step_id", "event", "receiver", "type_name", "length", "verb", "actor", "child_id",
    "claims", "endpoint_id",
}  # fmt: skip
_SECRET = {"payload"}


def is_wanted(signal: Signal, sender: type) -> bool:
    """Whether anybody listens or the log wants it; ask first where the facts cost something."""
    is_heard = bool(signal.receivers) and signal.has_listeners(sender)  # mostly there are none at all
    return is_heard or logger.isEnabledFor(_LOGGED[signal][0])


def send_on_commit(signal: Signal, *, sender: type, using: str, **facts: Any) -> None:
    """Log and send after the surrounding transaction commits, or at once without one.

    Costs nothing when nobody listens and the log does not want it.
    """
    if not is_wanted(signal, sender):
        return
    level, text = _LOGGED[signal]

    def send() -> None:  # a plain function: robust=True needs __qualname__, which a partial has not
        _log(level, text, facts)
        signal.send_robust(sender, using=using, **facts)

    transaction.on_commit(send, using=using, robust=True)


def _log(level: int, text: str, facts: dict[str, Any]) -> None:
    if logger.isEnabledFor(level):
        hidden = _SECRET | {"reason"} if "actor" in facts else _SECRET  # what a person has written may be anything
        shown = {name: value for name, value in facts.items() if name not in hidden}
        told = " ".join(f"{name}={value!r}" for name, value in shown.items() if name in _TOLD)
        extra = {"durable": shown}
        logger.log(level, "%s %s %s", text, facts.get("execution_id"), told, extra=extra)
