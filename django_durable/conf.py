"""Settings: one dict, ``DURABLE``, read into a frozen dataclass. The only reader of ``django.conf.settings``.

A setting must earn its place: a constant first, an argument second, a setting third.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from functools import cache
from typing import Any

from django.conf import settings as django_settings
from django.core.signals import setting_changed

from django_durable.exceptions import ConfigurationError


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

    lease_seconds: float = 30.0
    # How long a claim holds without a sign of life. A worker killed together with its whole machine is replaced
    # after this time; one that dies alone is noticed at once.

    heartbeat_seconds: float | None = None
    # Between signs of life; default a third of the lease. More is risky, and check W003 says so.

    max_claims: int = 10
    # Claims without a new checkpoint before an execution is set aside as `stuck: poison`.

    payload_limit_bytes: int = 1024 * 1024
    # Largest encoded input, result or signal.

    payload_cipher: str | None = None
    # Dotted path of a class with `seal(text) -> text` and `open(text) -> text`, applied to every stored payload.

    @property
    def heartbeat_interval_seconds(self) -> float:
        return self.heartbeat_seconds or self.lease_seconds / 3


def field_for(key: str) -> str | None:
    """The field that a ``DURABLE`` key sets, or None if there is no such key."""
    return key.lower() if key.isupper() and key.lower() in _FIELDS else None


def nearest_key(key: str) -> str | None:
    """The known key that looks most like an unknown one."""
    near = get_close_matches(key.upper(), [name.upper() for name in _FIELDS], n=1)
    return near[0] if near else None


_FIELDS = frozenset(field.name for field in fields(Settings))


def read(given: Mapping[str, Any]) -> Settings:
    """Settings from a ``DURABLE`` dict. Raises ConfigurationError for an unknown key or a value of no use."""
    values: dict[str, Any] = {}
    for key, value in given.items():
        field = field_for(key)
        if field is None:
            near = nearest_key(key)
            hint = f" Did you mean {near!r}?" if near else ""
            raise ConfigurationError(f"DURABLE[{key!r}] is not a setting.{hint}")
        if field == "queues" and isinstance(value, str):
            raise ConfigurationError(f"DURABLE['QUEUES'] = {value!r}: give a list of names.")
        values[field] = tuple(value) if field == "queues" else value
    settings = Settings(**values)
    if settings.lease_seconds <= 0 or settings.heartbeat_interval_seconds <= 0:
        raise ConfigurationError("DURABLE lease and heartbeat must be positive numbers of seconds.")
    return settings


@cache
def get_settings() -> Settings:
    """The project's settings; read once, again after ``override_settings``."""
    return read(getattr(django_settings, "DURABLE", {}))


def _forget(*, setting: str, **_: object) -> None:
    if setting == "DURABLE":
        get_settings.cache_clear()


setting_changed.connect(_forget, dispatch_uid="django_durable.conf")
