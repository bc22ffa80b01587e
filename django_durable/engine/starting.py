"""Starting: an execution and its timer, in the caller's transaction; or the one that has the key already."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import models

from django_durable import codec
from django_durable.clock import DatabaseNow
from django_durable.conf import get_settings
from django_durable.definitions import WorkflowDefinition
from django_durable.engine import coalescing, keys, payloads
from django_durable.engine.new_start import NewStart
from django_durable.engine.queues import known_queues
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Execution, Priority, Timer
from django_durable.models.subject import address_of
from django_durable.options import PRIORITIES, PriorityName, StartOptions

PRIORITY = dict(zip(PRIORITIES, (Priority.HIGH, Priority.NORMAL, Priority.LOW), strict=True))
_DATABASE_NOW = DatabaseNow()


def start(
    definition: WorkflowDefinition[..., Any],
    options: StartOptions,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Execution, bool]:
    """Insert an execution and its timer; with a key that is taken by the same input, the existing one and False.

    So too for one that joins another, see ``coalescing``.
    Raises TypeError, CodecError, InvalidOptionError, ExecutionConflict. Transaction: the caller's, or its own; one
    statement on PostgreSQL, two elsewhere.
    """
    using = options.using or get_settings().database
    execution, is_new = write(definition, options, prepare(definition, options, args, kwargs), using=using)
    _defer_database_times(execution)
    return execution, is_new


def write(
    definition: WorkflowDefinition[..., Any], options: StartOptions, new: NewStart, *, using: str
) -> tuple[Execution, bool]:
    """Insert what was prepared, or find or join what is there; see ``start``."""
    if options.coalesce is not None:
        timeout = options.timeout_seconds or definition.timeout_seconds
        made = coalescing.start(new, options.coalesce, timeout, using=using)
        return made, made.disposition == "new"
    if not new.insert(using=using):
        return keys.existing(new.execution, using), False
    return new.execution, True


def prepare(
    definition: WorkflowDefinition[..., Any],
    options: StartOptions,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *,
    now: Any = _DATABASE_NOW,
) -> NewStart:
    """Check everything that can be checked; nothing is written. Raises TypeError, CodecError, InvalidOptionError.

    now: a time of the database's, where that is known.
    """
    execution = _new_execution(definition, options, args, kwargs, now)
    timer = Timer(
        execution_id=execution.id,
        queue=execution.queue,
        priority=priority_of(definition, options.priority),
        due_at=_due(options, now),
        held=options.delay_seconds is not None or options.at is not None,
    )
    return NewStart(execution, timer, rules=keys.rules(definition, options))


def priority_of(definition: WorkflowDefinition[..., Any], wanted: PriorityName | None = None) -> Priority:
    return PRIORITY[wanted or definition.priority]


def _defer_database_times(execution: Execution) -> None:
    """Times that the database computed are read when somebody asks, so that a start needs no further statement."""
    for name in ("created_at", "deadline_at", "next_start_at"):
        if hasattr(execution.__dict__.get(name), "resolve_expression"):
            del execution.__dict__[name]


def _new_execution(
    definition: WorkflowDefinition[..., Any],
    options: StartOptions,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    now: Any,
) -> Execution:
    plain = encoded_input(definition, args, kwargs)
    queue = options.queue or definition.queue
    if queue != definition.queue and queue not in known_queues():
        raise InvalidOptionError(
            f"Queue {queue!r} is not known: add it to DURABLE['QUEUES'], or use one of {known_queues()}."
        )
    subject_type, subject_id = address_of(options.subject) if options.subject is not None else ("", "")
    timeout = options.timeout_seconds or definition.timeout_seconds
    execution = Execution(
        workflow=definition.name,
        version=definition.version,
        key=options.key,
        key_scope=None if options.key is None else options.key_scope or definition.key_scope,
        queue=queue,
        input=payloads.keep(plain),
        input_hash=codec.fingerprint(plain) if options.key is not None else "",
        labels=dict(options.labels),
        created_at=now,
        subject_type=subject_type,
        subject_id=subject_id,
    )
    if options.coalesce is not None:
        execution.coalesce_key = options.coalesce.key
        if options.coalesce.mode == "throttle":
            execution.next_start_at = now + timedelta(seconds=options.coalesce.period_seconds)
    if timeout is not None:
        execution.deadline_at = _due(options, now) + timedelta(seconds=timeout)
    return execution


def encoded_input(definition: WorkflowDefinition[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """The arguments as text, not yet sealed. Raises TypeError if they do not fit the function, CodecError."""
    definition.check_arguments(args, kwargs)
    definition.wanted(args, kwargs)  # a limit's key that cannot be had is refused here
    given = {"args": list(args), "kwargs": kwargs}
    return codec.encode(given, path="input", limit_bytes=get_settings().payload_limit_bytes)


def _due(options: StartOptions, now: Any) -> Any:
    if options.at is not None:
        return models.Value(options.at, output_field=models.DateTimeField())
    if options.delay_seconds is not None:
        return now + timedelta(seconds=options.delay_seconds)
    return now
