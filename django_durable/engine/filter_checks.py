"""What a filter may be asked for: each check takes the name and what was given, and returns what is kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.utils import timezone

from django_durable.exceptions import InvalidOptionError
from django_durable.models import CLOSED, Status, StuckReason
from django_durable.models.execution import STORED
from django_durable.models.subject import address_of
from django_durable.names import check_key, check_name

GROUPS = {"open": STORED - CLOSED, "closed": CLOSED}


def _statuses(name: str, given: Any) -> tuple[str, ...]:
    wanted: set[str] = set()
    for one in [given] if isinstance(given, str) else given:
        if one not in GROUPS and one not in Status.values:
            raise InvalidOptionError(f"{name}={one!r}: give one of {', '.join([*GROUPS, *Status.values])}.")
        wanted |= set(GROUPS.get(one, {one}))
    if not wanted:
        raise InvalidOptionError(f"{name}={given!r}: give one or more, or leave it out.")
    return tuple(sorted(map(str, wanted)))


def _name(name: str, given: Any) -> str:
    return check_name(given, name)


def _text(name: str, given: Any) -> str:
    return check_key(given, name)


def _number(name: str, given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int) or given < 0:
        raise InvalidOptionError(f"{name}={given!r}: give a number.")
    return given


def _yes_or_no(name: str, given: Any) -> bool:
    if not isinstance(given, bool):
        raise InvalidOptionError(f"{name}={given!r}: give True or False.")
    return given


def _labels(name: str, given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise InvalidOptionError(f"{name}={given!r}: give a dict of texts by name.")
    return {check_name(label, "Label name"): check_key(value, f"Label {label}") for label, value in given.items()}


def _subject(name: str, given: Any) -> str:
    if isinstance(given, str):
        if all(given.partition(":")):
            return given
        raise InvalidOptionError(f"{name}={given!r}: give a model instance, or 'app_label.model:pk'.")
    return ":".join(address_of(given))


def as_id(name: str, given: Any) -> UUID:
    found = getattr(given, "id", given)
    try:
        return found if isinstance(found, UUID) else UUID(found)
    except (ValueError, TypeError, AttributeError):
        raise InvalidOptionError(f"{name}={given!r}: give an execution, or its id.") from None


def _hexadecimal(name: str, given: Any) -> str:
    digits = given.replace("-", "").lower() if isinstance(given, str) else ""
    if not 1 <= len(digits) <= 32 or set(digits) - set("0123456789abcdef"):
        raise InvalidOptionError(f"{name}={given!r}: give the first digits of an id.")
    return digits


def _time(name: str, given: Any) -> datetime:
    if not isinstance(given, datetime) or timezone.is_naive(given):
        raise InvalidOptionError(f"{name}={given!r}: give an aware datetime.")
    return given


def _reason(name: str, given: Any) -> str:
    if given not in StuckReason.values:
        raise InvalidOptionError(f"{name}={given!r}: give one of {', '.join(StuckReason.values)}.")
    return str(given)


TIMES = [f"{what}_{side}" for what in ("created", "started", "finished") for side in ("after", "before")]
CHECKS: dict[str, Callable[[str, Any], Any]] = {
    "status": _statuses,
    "workflow": _name,
    "version": _number,
    "category": _name,
    "queue": _name,
    "key": _text,
    "key_prefix": _text,
    "id_prefix": _hexadecimal,
    "labels": _labels,
    "subject": _subject,
    "parent": as_id,
    "root": as_id,
    "error": _text,
    "has_error": _yes_or_no,
    "waiting_for": _text,
    "stuck_reason": _reason,
    **dict.fromkeys(TIMES, _time),
}
