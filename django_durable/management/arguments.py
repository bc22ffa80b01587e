"""Options that commands share; and those of a verb, read from its signature, so that none is forgotten."""

from __future__ import annotations

import getpass
import inspect
import json
from argparse import ArgumentParser, ArgumentTypeError, BooleanOptionalAction
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connections
from django.utils.dateparse import parse_datetime, parse_duration

from django_durable.options import PRIORITIES

_OURS = ("execution", "schedule", "actor", "using")  # asked for by the command itself, alike for every verb


def add_database(parser: ArgumentParser, *, dest: str = "database") -> None:
    """Which of the project's databases; None is ours."""
    parser.add_argument(
        "--database", dest=dest, choices=tuple(connections), default=None, help='Alias; default DURABLE["DATABASE"].'
    )


def declare(parser: ArgumentParser, order: Callable[..., Any]) -> None:
    """Add an option for each parameter of a verb; required where that has no default."""
    for name, parameter in inspect.signature(order).parameters.items():
        if name in _OURS:
            continue
        option = f"--{name.replace('_', '-')}"
        if parameter.annotation == "bool":
            parser.add_argument(option, dest=_kept(name), action=BooleanOptionalAction, default=parameter.default)
            continue
        is_required = parameter.default is parameter.empty
        read, metavar = _READERS.get(name, (_as_text, "TEXT"))
        choices = PRIORITIES if name == "priority" else None
        action = "append" if name == "labels" else "store"
        parser.add_argument(
            option,
            dest=_kept(name),
            type=read,
            action=action,
            choices=choices,
            required=is_required,
            default=None,
            metavar=None if choices else metavar,
        )


def given(order: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """What was given on the command line, as keyword arguments of the verb."""
    parameters = [name for name in inspect.signature(order).parameters if name not in _OURS]
    found = {name: options[_kept(name)] for name in parameters if options.get(_kept(name)) is not None}
    if "labels" in found:
        found["labels"] = dict(found["labels"])
    if found.get("deadline") == _LIFTED:
        found["deadline"] = None
    if "actor" in inspect.signature(order).parameters:
        found["actor"] = options["actor"] or f"cli:{getpass.getuser()}"
    return found


def _kept(name: str) -> str:
    """Apart from Django's own options: it takes ``args`` for itself."""
    return f"verb_{name}"


def _as_text(text: str) -> str:
    return text


def _as_step(text: str) -> int | str:
    """A position, or a name."""
    return int(text) if text.isascii() and text.isdigit() else text


def _as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no JSON: {error}. Texts are written with their quotes.") from None


def _as_pair(text: str) -> tuple[str, str]:
    name, separator, value = text.partition("=")
    if not separator:
        raise ArgumentTypeError(f"{text!r}: give NAME=VALUE.")
    return name, value


_LIFTED = "none"


def _as_deadline(text: str) -> datetime | timedelta | str:
    if text == _LIFTED:
        return text
    try:
        found = parse_datetime(text) or parse_duration(text)
    except ValueError:
        found = None
    if found is None or (isinstance(found, datetime) and found.tzinfo is None):
        raise ArgumentTypeError(
            f"{text!r}: give a time with its zone, such as 2026-01-31T09:30:00Z, a time from now such as P1DT6H, or "
            "none."
        )
    return found


def _as_moment(text: str) -> datetime:
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ArgumentTypeError(f"{text!r}: give a time with its zone, such as 2026-01-31T09:30:00Z.")
    return found


_READERS: dict[str, tuple[Callable[[str], Any], str]] = {
    "payload": (_as_json, "JSON"),
    "result": (_as_json, "JSON"),
    "args": (_as_json, "JSON"),
    "kwargs": (_as_json, "JSON"),
    "patch": (_as_json, "JSON"),
    "input": (_as_json, "JSON"),
    "labels": (_as_pair, "NAME=VALUE"),
    "step": (_as_step, "STEP"),
    "from_step": (_as_step, "STEP"),
    "deadline": (_as_deadline, "TIME"),
    "start": (_as_moment, "TIME"),
    "end": (_as_moment, "TIME"),
    "timeout": (float, "SECONDS"),
}
