"""AuditEntry: one thing that happened to an execution or that a person did. Append-only."""

from __future__ import annotations

from typing import ClassVar, Self

from django.db import models

from django_durable.clock import now
from django_durable.models.feed import Fed, FedQuerySet
from django_durable.models.identity import new_id


class AuditKind(models.TextChoices):
    """What an entry tells; the label says it in the docs. A verb may write a kind of its own, in the past tense."""

    COMPLETED = "completed", "it ended with a result"
    FAILED = "failed", "it ended with an error"
    CANCELLED = "cancelled", "it ended because it was asked to"
    TIMED_OUT = "timed_out", "it ended at its deadline"
    COMPENSATION_FAILED = "compensation_failed", "it ended without a compensation that a person has skipped"
    CONTINUED = "continued", "it ended and goes on as another execution"

    CANCEL_REQUESTED = "cancel_requested", "somebody, or its parent's end, asked it to stop"
    TERMINATED = "terminated", "a person ended it"
    COMPENSATION_RETRIED = "compensation_retried", "a person has a compensation that gave up tried once more"
    COMPENSATION_RESOLVED = "compensation_resolved", "a person has undone by hand what a compensation could not"
    COMPENSATION_SKIPPED = "compensation_skipped", "a person lets it go on without a compensation"
    DELIVERY_RETRIED = "delivery_retried", "a person has an event delivered anew"

    STUCK_NONDETERMINISM = "stuck_nondeterminism", "its code does not fit its history"
    STUCK_NO_WORKER_FOR = "stuck_no_worker_for", "no worker has its code"
    STUCK_POISON = "stuck_poison", "it has lost too many workers"
    STUCK_COMPENSATION = "stuck_compensation", "a compensation has used its attempts"
    STUCK_HISTORY_LIMIT = "stuck_history_limit", "its history is as long as it may get"
    UNSTUCK = "unstuck", "it goes on after it was stuck"
    SCHEDULE_FAILED = "schedule_failed", "failures in a row have paused a schedule"

    STARTED = "started", "it was started"
    PARKED = "parked", "it waits"
    WENT_BACK = "went_back", "what lay behind a step is undone and set aside, and it goes on from there"
    COMPENSATING = "compensating", "its end without success is decided, its steps are being undone"
    LEASE_LOST = "lease_lost", "a worker found out that its lease was not its own any more"
    LEASE_RECOVERED = "lease_recovered", "a worker took over what another one had begun and not given back"

    STEP_STARTED = "step_started", "an at-most-once step was begun"
    STEP_COMPLETED = "step_completed", "a step has its result"
    STEP_FAILED = "step_failed", "the last attempt of a step failed"
    STEP_RETRIED = "step_retried", "an attempt of a step failed, another one is due"
    STEP_TIMED_OUT = "step_timed_out", "an attempt of a step took too long, the last or not"
    COMPENSATION_STARTED = "compensation_started", "what is to be undone is decided"
    COMPENSATION_COMPLETED = "compensation_completed", "a step was undone"
    COMPENSATION_ATTEMPT_FAILED = "compensation_attempt_failed", "an attempt to undo failed, another one is due"
    COMPENSATION_GAVE_UP = "compensation_gave_up", "the last attempt to undo failed"
    CALL_INTERRUPTED = "call_interrupted", "a cancellation or the deadline was delivered to the code at this call"
    SLEEP_SCHEDULED = "sleep_scheduled", "a sleep has begun"
    SLEEP_COMPLETED = "sleep_completed", "a sleep is over"
    SIGNAL_RECEIVED = "signal_received", "a signal, or an update, was accepted"
    SIGNAL_AWAITED = "signal_awaited", "a wait for a signal has begun"
    SIGNAL_CONSUMED = "signal_consumed", "a wait took its signal"
    SIGNAL_TIMED_OUT = "signal_timed_out", "a wait for a signal ended without one"
    CONDITION_AWAITED = "condition_awaited", "a wait for a condition over the state has begun"
    CONDITION_SETTLED = "condition_settled", "the condition holds, or the time for it is up"
    UPDATE_ANSWERED = "update_answered", "an update got its reply"
    STATE_CHANGED = "state_changed", "the code changed the state"
    CHILD_STARTED = "child_started", "a child, or all those of a map, were started"
    CHILD_REFUSED = "child_refused", "a child could not be started"
    CHILD_AWAITED = "child_awaited", "a wait for a child, or for those of a map, has begun"
    CHILD_ENDED = "child_ended", "a child, or those of a map, have ended, or the time for that is up"
    EVENT_EMITTED = "event_emitted", "an event was emitted"
    BRANCH_CHOSEN = "branch_chosen", "a switch has chosen"
    RACE_WON = "race_won", "the first branch of a race has ended"
    NOTED = "noted", "a note was taken"


TRANSITIONS = frozenset(
    {
        AuditKind.COMPLETED,
        AuditKind.CONTINUED,
        AuditKind.UNSTUCK,
        AuditKind.STARTED,
        AuditKind.PARKED,
        AuditKind.WENT_BACK,
        AuditKind.COMPENSATING,
        AuditKind.LEASE_LOST,
        AuditKind.LEASE_RECOVERED,
    }
)
STEPS = frozenset(list(AuditKind)[list(AuditKind).index(AuditKind.STEP_STARTED) :])
ACTS = frozenset(  # what people do; so is every kind that is not listed here
    {
        AuditKind.CANCEL_REQUESTED,
        AuditKind.TERMINATED,
        AuditKind.COMPENSATION_RETRIED,
        AuditKind.COMPENSATION_RESOLVED,
        AuditKind.COMPENSATION_SKIPPED,
        AuditKind.DELIVERY_RETRIED,
    }
)


def audit_level(kind: str) -> str:
    """From which level of ``DURABLE["AUDIT"]`` on it is kept."""
    if kind in STEPS:
        return "steps"
    return "transitions" if kind in TRANSITIONS else "default"


class AuditQuerySet(FedQuerySet):
    def about(self, execution_id: object) -> Self:
        return self.filter(execution_id=execution_id).order_by("created_at", "id")


class AuditEntry(Fed):
    """Written in the same transaction as the change that it tells.

    No foreign key on purpose: it outlives the execution, and nobody's cascade may delete it.
    """

    id = models.UUIDField(primary_key=True, default=new_id, editable=False)
    execution_id = models.UUIDField(null=True, blank=True)
    kind = models.CharField(max_length=60)  # of AuditKind, or a verb's own
    actor = models.CharField(max_length=200, blank=True)  # "auth.user:7 ada"; empty: the engine
    reason = models.TextField(blank=True)
    before = models.JSONField(default=dict, blank=True)  # what of the row was changed
    after = models.JSONField(default=dict, blank=True)  # what it is now; of a recorded call, which one
    created_at = models.DateTimeField(default=now, editable=False)

    objects: ClassVar[models.Manager[AuditEntry]] = AuditQuerySet.as_manager()

    class Meta(Fed.Meta):
        indexes = [
            *Fed.Meta.indexes,
            models.Index(fields=["execution_id", "created_at"], name="durable_audit_by_execution"),
            models.Index(fields=["-created_at"], name="durable_audit_latest"),
        ]
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.kind} {self.execution_id or ''}".strip()
