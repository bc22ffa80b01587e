"""What a person may change about an open execution without touching its history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.db import models

from django_durable import codec
from django_durable.clock import DatabaseNow
from django_durable.definitions import registry
from django_durable.engine import chains, payloads
from django_durable.engine.orders import Subject, Verb, give
from django_durable.engine.queues import known_queues
from django_durable.engine.starting import PRIORITY, encoded_input
from django_durable.exceptions import ExecutionConflict, InvalidOptionError
from django_durable.models import OPEN, Kind, Slot, Status, Step, StepStatus, StuckReason
from django_durable.options import PriorityName

WAKE_NOW = Verb(
    "wake_now",
    "woken",
    OPEN - {Status.PAUSED},
    does="end its sleep, back-off or delay now, or look again at a stuck one",
    only_if="a clock is what it waits for",
)
CHANGE_DEADLINE = Verb("change_deadline", "deadline_changed", OPEN, does="set or lift its deadline", while_running=True)
EDIT_INPUT = Verb(
    "edit_input", "input_edited", {Status.PENDING}, does="change its arguments", only_if="it has not begun"
)
REASSIGN = Verb("reassign", "reassigned", OPEN, does="change its queue, priority or labels", while_running=True)


def wake_now(execution_id: UUID, *, using: str, actor: str, reason: str) -> None:
    def order(execution_id: UUID) -> None:
        with give(WAKE_NOW, execution_id, using=using, actor=actor, reason=reason) as subject:
            if not (_is_to_begin_later(subject) or _is_looked_at_again(subject) or _ends_waits(subject)):
                raise ExecutionConflict(
                    f"Execution {execution_id} waits for {subject.execution.waiting_for or 'its turn'}, which no clock "
                    "brings; nothing was changed."
                )
            subject.change_timer(held=False, due_at=DatabaseNow(), refused_since=None)

    chains.follow(order, execution_id)


def _is_to_begin_later(subject: Subject) -> bool:
    execution = subject.execution
    is_later = execution.status == Status.PENDING and subject.timer.due_at is not None
    return is_later and not execution.waiting_for  # a limit lets it begin, and its time may be its deadline


def _is_looked_at_again(subject: Subject) -> bool:
    reason = subject.execution.stuck_reason
    if reason == StuckReason.COMPENSATION:
        raise ExecutionConflict(
            f"Execution {subject.execution.pk} is stuck in a compensation: retry, skip or resolve that. Nothing was "
            "changed."
        )
    return bool(reason)


def _ends_waits(subject: Subject) -> bool:
    """Sleeps and back-offs are over; what waits for something else waits on."""
    open_steps = Step.objects.using(subject.using).history(subject.execution.pk).unsettled()
    by_clock = models.Q(kind=Kind.SLEEP) | models.Q(status=StepStatus.RETRYING)
    return bool(open_steps.filter(by_clock, due_at__isnull=False).update(due_at=DatabaseNow()))


def change_deadline(
    execution_id: UUID, deadline: datetime | timedelta | None, *, using: str, actor: str, reason: str
) -> None:
    """deadline: an instant, a time from now, or None for none."""

    def order(execution_id: UUID) -> None:
        with give(CHANGE_DEADLINE, execution_id, using=using, actor=actor, reason=reason) as subject:
            subject.change(deadline_at=subject.now + deadline if isinstance(deadline, timedelta) else deadline)
            _let_look(subject)  # it waits until then at the longest

    chains.follow(order, execution_id)


def _let_look(subject: Subject) -> None:
    if not (subject.is_leased or subject.timer.held):
        subject.change_timer(due_at=DatabaseNow())


def edit_input(
    execution_id: UUID, args: tuple[Any, ...], kwargs: Mapping[str, Any], *, using: str, actor: str, reason: str
) -> None:
    """Raises TypeError for arguments that do not fit the function, CodecError, UnknownWorkflowError."""
    with give(EDIT_INPUT, execution_id, using=using, actor=actor, reason=reason) as subject:
        execution = subject.execution
        if execution.started_at is not None or subject.timer.claims:
            raise ExecutionConflict(f"Execution {execution_id} has begun with its input; nothing was changed.")
        definition = registry.find(execution.workflow, execution.version)
        plain = encoded_input(definition, args, dict(kwargs))
        subject.change(input=payloads.keep(plain), input_hash=codec.fingerprint(plain) if execution.input_hash else "")
        if execution.limited:  # by its new input it may need another slot than it waits for
            _let_look(subject)


def reassign(
    execution_id: UUID,
    *,
    queue: str | None,
    priority: PriorityName | None,
    labels: Mapping[str, str] | None,
    using: str,
    actor: str,
    reason: str,
) -> None:
    if queue is not None and queue not in known_queues():
        raise InvalidOptionError(f"Queue {queue!r} is not known: use one of {known_queues()}.")
    order = partial(_reassign, queue, priority, labels, using=using, actor=actor, reason=reason)
    chains.follow(order, execution_id)


def _reassign(
    queue: str | None,
    priority: PriorityName | None,
    labels: Mapping[str, str] | None,
    execution_id: UUID,
    **who: Any,
) -> None:
    with give(REASSIGN, execution_id, **who) as subject:
        if queue is not None:
            subject.change(queue=queue)
            subject.change_timer(queue=queue)
            if subject.execution.limited:
                _let_look(subject)
        if priority is not None:
            subject.change_timer(priority=PRIORITY[priority])
            if subject.execution.limited:
                slots = Slot.objects.using(subject.using).waiting().filter(execution_id=execution_id)
                slots.update(priority=PRIORITY[priority])
            subject.told["priority"] = priority
        if labels is not None:
            subject.change(labels=dict(labels))
