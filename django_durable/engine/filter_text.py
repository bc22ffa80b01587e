"""Filters as text, from a command line or a query string."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from django.utils.dateparse import parse_datetime

from django_durable.engine.filter_checks import TIMES
from django_durable.exceptions import InvalidOptionError

_TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def read(texts: Mapping[str, str | Iterable[str]]) -> dict[str, Any]:
    """What ``Filter`` takes, by name; names are not checked here, empty texts are left out."""
    found = {}
    for name, given in texts.items():
        values = [value for value in ([given] if isinstance(given, str) else given) if value != ""]
        if values:
            found[_FIELDS.get(name, name)] = _READERS.get(name, _one)(name, values)
    return found


def _one(name: str, values: list[str]) -> str:
    if len(values) > 1:
        raise InvalidOptionError(f"{name} was given {len(values)} times; give it once.")
    return values[0]


def _several(name: str, values: list[str]) -> list[str]:
    return [one.strip() for value in values for one in value.split(",")]


def _labels(name: str, values: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for value in values:
        label, separator, text = value.partition("=")
        if not separator:
            raise InvalidOptionError(f"{name}={value!r}: give NAME=VALUE.")
        if found.setdefault(label, text) != text:
            raise InvalidOptionError(f"{name}: {label} cannot be {found[label]!r} and {text!r}.")
    return found


def _number(name: str, values: list[str]) -> int:
    text = _one(name, values)
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidOptionError(f"{name}={text!r}: give a number.")
    return int(text)


def _truth(name: str, values: list[str]) -> bool:
    text = _one(name, values)
    if text.lower() not in _TRUTHS:
        raise InvalidOptionError(f"{name}={text!r}: give one of {', '.join(_TRUTHS)}.")
    return _TRUTHS[text.lower()]


def _time(name: str, values: list[str]) -> Any:
    text = _one(name, values)
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise InvalidOptionError(f"{name}={text!r}: give a time with its zone, such as 2026-01-31T09:30:00Z.")
    return found


_FIELDS = {"label": "labels"}
_READERS: dict[str, Callable[[str, list[str]], Any]] = {
    "status": _several,
    "label": _labels,
    "version": _number,
    "has_error": _truth,
    **dict.fromkeys(TIMES, _time),
}
