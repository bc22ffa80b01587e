"""A cadence as one English sentence.

Made from the same parsed items that the ticks come from, so that the two cannot disagree: a library for this would
bring a parser of its own, which reads the days' fields and the odd steps in another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django_durable.cadence.expressions import MONTHS, WEEKDAYS, Expression, Item, Items, is_every

_TIMES = 6  # as many are listed one by one
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def of_cron(expression: Expression, timezone: str) -> str:
    days = _days(expression)
    months = "" if is_every(expression.month) else f" in {_names(expression.month, _month)}"
    return f"{_time(expression, bool(days))}{days}{months}, {timezone}"


def of_interval(every: timedelta, anchor: datetime | None) -> str:
    """anchor: None if it is the usual one."""
    left, parts = every, []
    for unit, seconds in _UNITS:
        count, left = divmod(left, timedelta(seconds=seconds))
        if count:
            parts.append(f"{count} {unit}{'s' if count > 1 else ''}")
    if left:
        parts.append(f"{left.microseconds} microseconds")
    length = parts[0].removeprefix("1 ") if len(parts) == 1 else _joined(parts)
    return f"Every {length}" + (f", counted from {anchor:%Y-%m-%d %H:%M:%S} UTC" if anchor else "")


def _time(expression: Expression, has_days: bool) -> str:
    minutes, hours = expression.minute, expression.hour
    if all(item.low == item.high for item in minutes + hours) and len(minutes) * len(hours) <= _TIMES:
        times = sorted({f"{hour.low:02}:{minute.low:02}" for hour in hours for minute in minutes})
        return f"At {_joined(times)}" + ("" if has_days else " every day")
    if is_every(hours):
        return _minutes(minutes) + ("" if _is_even(minutes, 60) else " of every hour")
    return f"{_minutes(minutes)} of {_hours(hours)}"


def _minutes(items: Items) -> str:
    if is_every(items):
        return "Every minute"
    if _is_even(items, 60):
        return f"Every {items[0].step} minutes"
    return f"At {_plural('minute', items)}"


def _hours(items: Items) -> str:
    if _is_even(items, 24):
        return f"every {_ordinal(items[0].step)} hour"
    return _plural("hour", items)


def _is_even(items: Items, size: int) -> bool:
    """All or each nth of them, at equal distances from one round to the next."""
    return len(items) == 1 and items[0].is_star and size % items[0].step == 0


def _plural(unit: str, items: Items) -> str:
    only_one = len(items) == 1 and items[0].low == items[0].high
    return f"{unit}{'' if only_one else 's'} {_joined(map(_range, items))}"


def _range(item: Item) -> str:
    if item.low == item.high:
        return str(item.low)
    if item.step == 1:
        return f"{item.low} to {item.high}"
    return f"{item.low} to {item.high} in steps of {item.step}"


def _days(expression: Expression) -> str:
    found = []
    if not is_every(expression.day):
        found.append(f"on {_month_days(expression.day)} of the month")
    if not is_every(expression.weekday):
        found.append(f"on {_names(expression.weekday, _weekday)}")
    return "".join(f" {part}" for part in [" or ".join(found)] if part)


def _month_days(items: Items) -> str:
    plain = tuple(item for item in items if not item.is_last)
    parts = [_plural("day", plain)] if plain else []
    return _joined([*parts, "the last day"] if len(plain) < len(items) else parts)


def _names(items: Items, name: Callable[[int], str]) -> str:
    parts: list[str] = []
    for item in items:
        if item.is_last:
            parts.append(f"the last {name(item.low)} of the month")
        elif item.nth is not None:
            parts.append(f"the {_ORDINALS[item.nth - 1]} {name(item.low)} of the month")
        elif item.step == 1 and item.low != item.high:
            parts.append(f"{name(item.low)} to {name(item.high)}")
        else:
            parts.extend(map(name, item.values()))
    return _joined(parts)


def _month(number: int) -> str:
    return MONTHS[number - 1]


def _weekday(number: int) -> str:
    return WEEKDAYS[number % 7]


def _ordinal(number: int) -> str:
    return {2: "2nd", 3: "3rd"}.get(number, f"{number}th")


def _joined(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
