"""Settings: one dict, ``DURABLE``, read into a frozen dataclass. The only reader of ``django.conf.settings``.

A setting must earn its place: a constant first, an argument second, a setting third.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import timedelta
from difflib import get_close_matches
from functools import cache
from ipaddress import ip_network
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from django_durable.exceptions import ConfigurationError

AUDIT_LEVELS = ("default", "transitions", "steps")  # each keeps what those before it do
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What ``DURABLE`` may say; each field's comment is its reference entry."""

    database: str = "default"
    # Alias that holds our tables. Starts and signals join the caller's transaction on this alias only.

    dispatcher: str = "django_durable.tasks.CeleryDispatcher"
    # Dotted path of who is told that an execution is ready. "django_durable.dispatch.NullDispatcher" when only
    # `manage.py durable_worker` runs: it polls.

    queues: tuple[str, ...] = ("default",)
    # Names that `queue=` may use beside those the registered workflows name; others are refused as typing errors.
    # "default" goes to Celery's own default queue, any other name to the Celery queue of that name.

    queue_limits: Mapping[str, int] = field(default_factory=dict)
    # How many executions of a queue may be under way at once, by its name; the others wait.

    lease_seconds: float = 30.0
    # How long a claim holds without a sign of life. A worker killed together with its whole machine is replaced
    # after this time; one that dies alone is noticed at once.

    heartbeat_seconds: float | None = None
    # Between signs of life; default a third of the lease. More is risky, and check W003 says so.

    max_claims: int = 10
    # Claims without a new checkpoint before an execution is set aside as `stuck: poison`.

    parallel_steps: int | None = None
    # How many step bodies of one pass may run side by side, in threads with connections of their own: in the branches
    # of `ctx.parallel`, `gather`, `map` and `race`. 1: one after the other. None: 4, and 1 on SQLite, where bodies that
    # write could find the database locked.
    history_warning: int = 10_000
    # Checkpoints of one execution at which people are told, and `ctx.should_continue_as_new` becomes true.

    history_limit: int = 50_000
    # Checkpoints at which an execution is set aside as `stuck: history_limit`.

    key_retention: timedelta | float | None = None
    # How long after the end of an execution its key stays taken, a timedelta or seconds; None: for ever. Workflows may
    # say otherwise.

    audit: str = "default"
    # How much the audit trail keeps. "default": what people do, what ends without success, what gets stuck.
    # "transitions": also starts, parks, completions and leases. "steps": also each recorded call and each attempt.

    log_level: str | None = None
    # From which level what `ctx.log` says is kept in the database too, such as "INFO"; None: nothing is.

    payload_limit_bytes: int = 1024 * 1024
    # Largest encoded input, result or signal.

    payload_cipher: str | None = None
    # Dotted path of a class with `seal(text) -> text` and `open(text) -> text`, applied to every stored payload.

    webhook_queue: str | None = None
    # The queue whose workers send webhooks. None: nobody sends any, and nobody asks for any.

    webhook_allow_http: bool = False
    # Whether endpoints may have http URLs: what is sent can then be read on the way.

    webhook_networks: tuple[str, ...] = ()
    # Networks beside the public internet in which endpoints may be, like "10.1.0.0/16".
    sync_schedules: bool = True
    # Whether `migrate` brings the schedules that workflows declare in step with the code. False where only
    # `manage.py durable_sync_schedules` is to, or nothing, as in tests.

    retention: Any = None
    # How long executions are kept after their end: a timedelta, a `Retention`, or None for ever. A workflow's own
    # `retention=` comes before it.

    audit_retention: timedelta | None = None
    # How long audit entries are kept, those of deleted executions too. None: for ever.

    archive: str | None = None
    # Alias in `STORAGES`: each execution is written there, as a line of JSON, before retention deletes it.

    payload_offload_bytes: int | None = None
    # Payloads that are larger as stored go to a file of `PAYLOAD_STORAGE`. None: all stay in their rows.

    payload_storage: str | None = None
    # Alias in `STORAGES` for these files. Leave it in place as long as there are any.

    @property
    def heartbeat_interval_seconds(self) -> float:
        return self.heartbeat_seconds or self.lease_seconds / 3

    @property
    def key_retention_seconds(self) -> float | None:
        kept = self.key_retention
        return kept.total_seconds() if isinstance(kept, timedelta) else kept


def field_for(key: str) -> str | None:
    """The field that a ``DURABLE`` key sets, or None if there is no such key."""
    return key.lower() if key.isupper() and key.lower() in _FIELDS else None


def nearest_key(key: str) -> str | None:
    """The known key that looks most like an unknown one."""
    near = get_close_matches(key.upper(), [name.upper() for name in _FIELDS], n=1)
    return near[0] if near else None


_LISTS = frozenset({"queues", "webhook_networks"})
_FIELDS = frozenset(each.name for each in fields(Settings))


def read(given: Mapping[str, Any]) -> Settings:
    """Settings from a ``DURABLE`` dict. Raises ConfigurationError for an unknown key or a value of no use."""
    values: dict[str, Any] = {}
    for key, value in given.items():
        name = field_for(key)
        if name is None:
            near = nearest_key(key)
            hint = f" Did you mean {near!r}?" if near else ""
            raise ConfigurationError(f"DURABLE[{key!r}] is not a setting.{hint}")
        if name in _LISTS and isinstance(value, str):
            raise ConfigurationError(f"DURABLE[{key!r}] = {value!r}: give a list of names.")
        values[name] = tuple(value) if name in _LISTS else value
    settings = Settings(**values)
    if settings.lease_seconds <= 0 or settings.heartbeat_interval_seconds <= 0:
        raise ConfigurationError("DURABLE lease and heartbeat must be positive numbers of seconds.")
    threads = settings.parallel_steps
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise ConfigurationError(f"DURABLE['PARALLEL_STEPS'] = {threads!r}: give a whole number from 1, or None.")
    if not isinstance(settings.sync_schedules, bool):
        raise ConfigurationError(f"DURABLE['SYNC_SCHEDULES'] = {settings.sync_schedules!r}: give True or False.")
    _check_history(settings)
    _check_retention(settings.key_retention)
    _check_choice("AUDIT", settings.audit, AUDIT_LEVELS)
    _check_choice("LOG_LEVEL", settings.log_level, (None, *LOG_LEVELS))
    _check_webhooks(settings)
    _check_files(settings)
    _check_queue_limits(settings.queue_limits)
    return settings


def _check_retention(kept: object) -> None:
    seconds = kept.total_seconds() if isinstance(kept, timedelta) else kept
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0):
        raise ConfigurationError(f"DURABLE['KEY_RETENTION'] = {kept!r}: give a timedelta, seconds, or None.")


def _check_choice(key: str, given: object, choices: Sequence[object]) -> None:
    if given not in choices:
        raise ConfigurationError(f"DURABLE[{key!r}] = {given!r}: give one of {', '.join(map(repr, choices))}.")


def _check_queue_limits(limits: object) -> None:
    if not isinstance(limits, Mapping) or not all(
        isinstance(name, str) and isinstance(limit, int) and not isinstance(limit, bool) and limit >= 1
        for name, limit in limits.items()
    ):
        raise ConfigurationError(f"DURABLE['QUEUE_LIMITS'] = {limits!r}: give whole numbers from 1 by queue.")


def _check_history(settings: Settings) -> None:
    lengths = (settings.history_warning, settings.history_limit)
    if not all(isinstance(length, int) and not isinstance(length, bool) and length >= 1 for length in lengths):
        raise ConfigurationError("DURABLE HISTORY_WARNING and HISTORY_LIMIT must be whole numbers from 1.")
    if settings.history_warning >= settings.history_limit:
        raise ConfigurationError(
            f"DURABLE['HISTORY_WARNING'] = {settings.history_warning} must be below HISTORY_LIMIT = "
            f"{settings.history_limit}: workflows need room to act on it."
        )


def _check_webhooks(settings: Settings) -> None:
    if settings.webhook_queue is not None and not isinstance(settings.webhook_queue, str):
        raise ConfigurationError(f"DURABLE['WEBHOOK_QUEUE'] = {settings.webhook_queue!r}: give one name, or None.")
    for network in settings.webhook_networks:
        try:
            ip_network(network)
        except ValueError as error:
            raise ConfigurationError(f"DURABLE['WEBHOOK_NETWORKS']: {error}; give it like '10.1.0.0/16'.") from None


def _check_files(settings: Settings) -> None:
    size, age = settings.payload_offload_bytes, settings.audit_retention
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise ConfigurationError(f"DURABLE['PAYLOAD_OFFLOAD_BYTES'] = {size!r}: give a whole number from 1, or None.")
    if size is not None and settings.payload_storage is None:
        raise ConfigurationError("DURABLE['PAYLOAD_OFFLOAD_BYTES'] needs PAYLOAD_STORAGE: an alias in STORAGES.")
    if age is not None and not isinstance(age, timedelta):
        raise ConfigurationError(f"DURABLE['AUDIT_RETENTION'] = {age!r}: give a timedelta, or None.")


@cache
def get_settings() -> Settings:
    """The project's settings; read once, again after ``override_settings``."""
    return read(getattr(django_settings, "DURABLE", {}))


def _forget(*, setting: str, **_: object) -> None:
    if setting == "DURABLE":
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_durable.conf")
