"""Starting: an execution and its timer, in the caller's transaction; or the one that has the key already."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db import models

from django_durable import codec, dispatch, signals
from django_durable.clock import DatabaseNow
from django_durable.conf import get_settings
from django_durable.definitions import PRIORITIES, StartOptions, WorkflowDefinition
from django_durable.engine import compound, payloads
from django_durable.engine.queues import known_queues
from django_durable.exceptions import ExecutionConflict, InvalidOptionError
from django_durable.models import Execution, Priority, Timer

_PRIORITY = dict(zip(PRIORITIES, (Priority.HIGH, Priority.NORMAL, Priority.LOW), strict=True))


@dataclass(frozen=True, slots=True)
class NewStart:
    """An execution and its timer, checked and not yet written."""

    execution: Execution
    timer: Timer

    def insert(self, *, using: str) -> bool:
        """False: its key is taken, nothing was written. Transaction: the caller's, or its own."""
        execution = self.execution
        with compound.whole(using):
            if not compound.insert_execution(execution, self.timer, using=using):
                return False
            if not self.timer.held:
                dispatch.wake(execution.id, queue=execution.queue, using=using)
            signals.send_on_commit(
                signals.execution_started,
                sender=Execution,
                using=using,
                execution_id=execution.id,
                workflow=execution.workflow,
            )
        return True


def start(
    definition: WorkflowDefinition[..., Any],
    options: StartOptions,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Execution, bool]:
    """Insert an execution and its timer; with a key that is taken by the same input, the existing one and False.

    Raises TypeError, CodecError, InvalidOptionError, ExecutionConflict. Transaction: the caller's, or its own; one
    statement on PostgreSQL, two elsewhere.
    """
    using = options.using or get_settings().database
    new = prepare(definition, options, args, kwargs)
    if not new.insert(using=using):
        return _existing(new.execution, using), False
    _defer_database_times(new.execution)
    return new.execution, True


def prepare(
    definition: WorkflowDefinition[..., Any],
    options: StartOptions,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> NewStart:
    """Check everything that can be checked; nothing is written. Raises TypeError, CodecError, InvalidOptionError."""
    execution = _new_execution(definition, options, args, kwargs)
    timer = Timer(
        execution_id=execution.id,
        queue=execution.queue,
        priority=_PRIORITY[options.priority or definition.priority],
        due_at=_due(options),
        held=options.delay_seconds is not None or options.at is not None,
    )
    return NewStart(execution, timer)


def _defer_database_times(execution: Execution) -> None:
    """Times that the database computed are read when somebody asks, so that a start needs no further statement."""
    for name in ("created_at", "deadline_at"):
        if hasattr(execution.__dict__.get(name), "resolve_expression"):
            del execution.__dict__[name]


def _new_execution(
    definition: WorkflowDefinition[..., Any],
    options: StartOptions,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Execution:
    definition.check_arguments(args, kwargs)
    queue = options.queue or definition.queue
    if queue != definition.queue and queue not in known_queues():
        raise InvalidOptionError(
            f"Queue {queue!r} is not known: add it to DURABLE['QUEUES'], or use one of {known_queues()}."
        )
    given = {"args": list(args), "kwargs": kwargs}
    subject_type, subject_id = _subject(options.subject)
    timeout = options.timeout_seconds or definition.timeout_seconds
    plain = codec.encode(given, path="input", limit_bytes=get_settings().payload_limit_bytes)
    execution = Execution(
        workflow=definition.name,
        version=definition.version,
        key=options.key,
        queue=queue,
        input=payloads.seal(plain),
        input_hash=codec.fingerprint(plain) if options.key is not None else "",
        labels=dict(options.labels),
        created_at=DatabaseNow(),
        subject_type=subject_type,
        subject_id=subject_id,
    )
    if timeout is not None:
        execution.deadline_at = _due(options) + timedelta(seconds=timeout)
    return execution


def _due(options: StartOptions) -> Any:
    if options.at is not None:
        return models.Value(options.at, output_field=models.DateTimeField())
    if options.delay_seconds is not None:
        return DatabaseNow() + timedelta(seconds=options.delay_seconds)
    return DatabaseNow()


def _existing(wanted: Execution, using: str) -> Execution:
    found = Execution.objects.using(using).filter(workflow=wanted.workflow, key=wanted.key).first()
    if found is None:
        raise ExecutionConflict(
            f"The key {wanted.key!r} of {wanted.workflow!r} was just taken by a transaction that this one cannot see; "
            "start again in a new transaction."
        )
    if found.input_hash != wanted.input_hash:
        raise ExecutionConflict(
            f"Execution {found.id} already has the key {wanted.key!r} of {wanted.workflow!r} with other input. "
            "Use another key, or the same arguments."
        )
    return found


def _subject(subject: object | None) -> tuple[str, str]:
    if subject is None:
        return "", ""
    if not isinstance(subject, models.Model) or subject.pk is None:
        raise InvalidOptionError(f"subject={subject!r}: give a saved model instance.")
    return subject._meta.label_lower, str(subject.pk)
