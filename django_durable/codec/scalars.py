"""Leaf types of the standard library that JSON has no word for: one row each, exact both ways.

``load`` functions may raise anything on hostile input; the caller turns that into CodecError.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django_durable.exceptions import CodecError


@dataclass(frozen=True, slots=True)
class Scalar:
    """How one type is written: ``{tag: dump(value)}``."""

    tag: str
    dump: Callable[[Any], Any]
    load: Callable[[Any], Any]


# zoneinfo looks keys up as files and as resources of the tzdata package. Without dots a key can name neither
# a parent directory nor a foreign module.
_ZONE_KEY = re.compile(r"[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*")


def _dump_moment(value: datetime | time) -> object:
    text = value.isoformat()
    key = value.tzinfo.key if type(value.tzinfo) is ZoneInfo else None
    if key:
        _zone(key)  # ZoneInfo.from_file takes any key, also one that nobody can look up again
    return [text, value.fold, key] if key or value.fold else text


def _zone(key: str) -> ZoneInfo:
    if not _ZONE_KEY.fullmatch(key):
        raise CodecError(f"{key[:100]!r} is not the key of a time zone.")
    try:
        return ZoneInfo(key)
    except Exception as error:
        raise CodecError(f"Time zone {key!r} is not known on this machine. Install the tzdata package.") from error


def _load_datetime(body: Any) -> datetime:
    if isinstance(body, str):
        return datetime.fromisoformat(body)
    text, fold, key = body
    value = datetime.fromisoformat(text).replace(fold=fold)
    if key is None:
        return value
    local = value.replace(tzinfo=_zone(key))
    # The zone's rules may have changed since this was written. Code compared and waited for the instant,
    # so the instant stays and the wall time moves.
    return local if local.utcoffset() == value.utcoffset() else value.astimezone(local.tzinfo)


def _load_time(body: Any) -> time:
    if isinstance(body, str):
        return time.fromisoformat(body)
    text, fold, key = body
    value = time.fromisoformat(text).replace(fold=fold)
    return value if key is None else value.replace(tzinfo=_zone(key))


def _dump_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise CodecError(f"Decimal {value} is not a number; return None or leave it out.")
    return str(value)


def _load_decimal(body: str) -> Decimal:
    if not isinstance(body, str):  # Decimal also takes floats and tuples
        raise TypeError
    value = Decimal(body)
    if not value.is_finite():
        raise ValueError
    return value


def _load_timedelta(body: Any) -> timedelta:
    days, seconds, microseconds = body
    return timedelta(days, seconds, microseconds)


# Two adjacent surrogate code points would come back from JSON as one character.
_SURROGATE_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def breaks_in_json(text: str) -> bool:
    """Tell whether a string must be written by TEXT, because JSON would change it."""
    return not text.isascii() and _SURROGATE_PAIR.search(text) is not None


TEXT = Scalar(
    "$str",
    lambda value: b64encode(value.encode("utf-8", "surrogatepass")).decode("ascii"),
    lambda body: b64decode(body, validate=True).decode("utf-8", "surrogatepass"),
)

SCALARS: dict[type, Scalar] = {
    datetime: Scalar("$datetime", _dump_moment, _load_datetime),
    date: Scalar("$date", date.isoformat, date.fromisoformat),
    time: Scalar("$time", _dump_moment, _load_time),
    timedelta: Scalar("$timedelta", lambda value: [value.days, value.seconds, value.microseconds], _load_timedelta),
    Decimal: Scalar("$decimal", _dump_decimal, _load_decimal),
    UUID: Scalar("$uuid", str, UUID),
    bytes: Scalar(
        "$bytes",
        lambda value: b64encode(value).decode("ascii"),
        lambda body: b64decode(body, validate=True),
    ),
}

LOADERS: dict[str, Callable[[Any], Any]] = {row.tag: row.load for row in (TEXT, *SCALARS.values())}
