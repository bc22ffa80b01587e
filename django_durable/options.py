"""How to start an execution, apart from the workflow's own arguments; and what such options may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from django_durable.clock import to_instant, to_seconds
from django_durable.coalesce import Coalesce
from django_durable.exceptions import InvalidOptionError
from django_durable.names import check_key, check_labels, check_name
from django_durable.retention import Retention

PriorityName = Literal["high", "normal", "low"]
IfFailed = Literal["reuse", "new"]
Disposition = Literal["new", "existing", "coalesced"]
PRIORITIES: tuple[PriorityName, ...] = ("high", "normal", "low")


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """How to start, apart from the workflow's own arguments; see ``WorkflowDefinition.using``."""

    key: str | None = None
    key_scope: str | None = None
    if_failed: IfFailed = "reuse"
    coalesce: Coalesce | None = None
    subject: object | None = None
    queue: str | None = None
    priority: PriorityName | None = None
    delay_seconds: float | None = None
    at: datetime | None = None
    timeout_seconds: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    using: str | None = None
    on_parent_close: str = "cancel"


NO_OPTIONS = StartOptions()


def start_options(
    *,
    key: str | None,
    key_scope: str | None,
    if_failed: IfFailed,
    coalesce: Coalesce | None,
    subject: object | None,
    queue: str | None,
    priority: PriorityName | None,
    delay: timedelta | float | None,
    at: datetime | None,
    timeout: timedelta | float | None,
    labels: Mapping[str, str] | None,
    using: str | None,
    on_parent_close: str,
) -> StartOptions:
    """The checked form of what ``using`` was given. Raises InvalidOptionError."""
    if on_parent_close not in ("cancel", "abandon", "wait"):
        raise InvalidOptionError(f"on_parent_close={on_parent_close!r}: give 'cancel', 'abandon' or 'wait'.")
    check_choice("if_failed", if_failed, ("reuse", "new"))
    if key is None and (key_scope is not None or if_failed != "reuse"):
        raise InvalidOptionError("key_scope= and if_failed= say what a key means: give key= too.")
    delay_seconds, instant = begin(delay, at)
    if coalesce is not None:
        _check_coalesce(coalesce, key, is_delayed=delay_seconds is not None or instant is not None)
        delay_seconds = coalesce.delay_seconds if coalesce.delay_seconds is not None else delay_seconds
    return StartOptions(
        key=None if key is None else check_key(key, "key"),
        key_scope=None if key_scope is None else check_name(key_scope, "Key scope"),
        if_failed=if_failed,
        coalesce=coalesce,
        subject=subject,
        queue=None if queue is None else check_name(queue, "Queue"),
        priority=None if priority is None else check_priority(priority),
        delay_seconds=delay_seconds,
        at=instant,
        timeout_seconds=check_timeout(timeout),
        labels=check_labels({} if labels is None else labels),
        using=using,
        on_parent_close=on_parent_close,
    )


def begin(delay: timedelta | float | None, at: datetime | None) -> tuple[float | None, datetime | None]:
    """The checked form of when to begin. Raises InvalidOptionError."""
    if delay is not None and at is not None:
        raise InvalidOptionError("Give delay= or at=, not both.")
    return None if delay is None else to_seconds(delay, "delay"), None if at is None else to_instant(at, "at")


def begin_later(options: StartOptions, delay: timedelta | float | None, at: datetime | None) -> StartOptions:
    """The same options for a start that begins then. Raises InvalidOptionError."""
    if delay is None and at is None:
        raise InvalidOptionError("schedule(...): give at= or delay=; client.start begins at once.")
    if options.at is not None or options.delay_seconds is not None:
        raise InvalidOptionError("schedule(prepared, ...): say when to begin here only, not in using(...) too.")
    if options.coalesce is not None:
        _check_coalesce(options.coalesce, options.key, is_delayed=True)
    delay_seconds, instant = begin(delay, at)
    return replace(options, delay_seconds=delay_seconds, at=instant)


def _check_coalesce(coalesce: object, key: str | None, *, is_delayed: bool) -> None:
    if not isinstance(coalesce, Coalesce):
        raise InvalidOptionError(f"coalesce={coalesce!r}: give Coalesce.skip(key=...), or another of its policies.")
    if key is not None:
        raise InvalidOptionError("Give key= or coalesce=, not both: a key is one execution's, also once it has begun.")
    if is_delayed and coalesce.period_seconds:
        raise InvalidOptionError(f"Coalesce.{coalesce.mode} says when to begin: leave out delay= and at=.")


def workflow_options(
    *,
    name: str,
    version: int,
    category: str | None,
    queue: str,
    priority: PriorityName,
    timeout: timedelta | float | None,
    key_scope: str | None,
    key_retention: timedelta | float | None,
    on_failure: str,
    on_change: str,
    retention: Retention | timedelta | None,
) -> dict[str, Any]:
    """The checked form of what ``@workflow`` was given, as fields of the definition. Raises InvalidOptionError."""
    check_choice("on_failure", on_failure, ("compensate", "leave"))
    check_choice("on_change", on_change, ("park", "tolerate"))
    return {
        "name": check_name(name, "Workflow name"),
        "version": check_version(version),
        "category": None if category is None else check_name(category, "Category"),
        "queue": check_name(queue, "Queue"),
        "priority": check_priority(priority),
        "timeout_seconds": check_timeout(timeout),
        "key_scope": name if key_scope is None else check_name(key_scope, "Key scope"),
        "key_retention_seconds": None if key_retention is None else to_seconds(key_retention, "key_retention"),
        "on_failure": on_failure,
        "on_change": on_change,
        "retention": Retention.of(retention, "retention"),
    }


def check_priority(priority: object) -> PriorityName:
    for known in PRIORITIES:
        if priority == known:
            return known
    raise InvalidOptionError(f"priority={priority!r}: give one of {', '.join(PRIORITIES)}.")


def check_version(version: object) -> int:
    if isinstance(version, bool) or not isinstance(version, int) or not 1 <= version < 2**31:
        raise InvalidOptionError(f"version={version!r}: give a whole number from 1.")
    return version


def check_choice(option: str, given: object, known: tuple[str, str]) -> None:
    if given not in known:
        raise InvalidOptionError(f"{option}={given!r}: give {known[0]!r} or {known[1]!r}.")


def check_timeout(timeout: timedelta | float | None) -> float | None:
    if timeout is None:
        return None
    seconds = to_seconds(timeout, "timeout")
    if seconds == 0:
        raise InvalidOptionError("timeout=0: give a positive duration, or None for no limit.")
    return seconds
