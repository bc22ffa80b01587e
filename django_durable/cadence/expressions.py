"""The text of a cron expression: five fields, checked item by item, so that an error can say where it is.

What is accepted is less than what parsers accept: whatever two of them read differently is refused with another way
to write it. So the plain lists that are handed to croniter (``Expression.alternatives``) have one meaning everywhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NoReturn

from django_durable.exceptions import InvalidOptionError

LONGEST = 200  # characters; looked at before anything is split or expanded
ALIASES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

_WORD = re.compile(r"\S+", re.ASCII)
_ITEM = re.compile(r"(?P<low>\*|\w+)(?:-(?P<high>\w+))?(?:/(?P<step>\w+))?", re.ASCII)
_NTH = re.compile(r"(?P<day>\w+)#(?P<nth>\w+)", re.ASCII)
_LAST = re.compile(r"(?P<day>[0-7]|[A-Z]{3})L|L(?P<named>[0-7]|[A-Z]{3})", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """What one of the five fields may hold."""

    name: str
    lowest: int
    highest: int
    names: Mapping[str, int] = field(default_factory=dict)


FIELDS = (
    Field("minute", 0, 59),
    Field("hour", 0, 23),
    Field("day of month", 1, 31),
    Field("month", 1, 12, {name[:3].upper(): number for number, name in enumerate(MONTHS, 1)}),
    Field("day of week", 0, 7, {name[:3].upper(): number for number, name in enumerate(WEEKDAYS)}),
)
MINUTE, HOUR, DAY, MONTH, WEEKDAY = FIELDS


@dataclass(frozen=True, slots=True)
class Item:
    """One part of a list. low, high: both included; a range of weekdays may wrap (FRI-MON), no other does."""

    low: int
    high: int
    step: int = 1
    is_star: bool = False
    nth: int | None = None  # the nth such weekday of the month
    is_last: bool = False  # the last day of the month, or the last such weekday of it

    @property
    def is_every(self) -> bool:
        return self.is_star and self.step == 1

    def values(self) -> Iterator[int]:
        high = self.high if self.high >= self.low else self.high + 7
        return iter(range(self.low, high + 1, self.step))


Items = tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Expression:
    """A cron expression that was understood."""

    text: str
    minute: Items
    hour: Items
    day: Items
    month: Items
    weekday: Items

    @property
    def alternatives(self) -> tuple[str, ...]:
        """Plain expressions; a time that matches any of them is meant.

        Day of month and day of week are two alternatives if both are given (neither is ``*``): the rule of Vixie's
        cron. The nth and last weekdays are a third, since croniter does not take them beside plain ones.
        """
        times = f"{_listed(self.minute)} {_listed(self.hour)}"
        month = _listed(self.month)
        weekdays = tuple(item for item in self.weekday if item.nth is None and not item.is_last)
        special = ",".join(sorted({_special(item) for item in self.weekday if item not in weekdays}))
        found = []
        if not is_every(self.day):
            found.append(f"{times} {_days(self.day)} {month} *")
        if weekdays and not is_every(self.weekday):
            found.append(f"{times} * {month} {_listed(weekdays, modulo=7)}")
        if special:
            found.append(f"{times} * {month} {special}")
        return tuple(found) or (f"{times} * {month} *",)


def parse(text: object) -> Expression:
    """Understand an expression or refuse it. Raises InvalidOptionError: field, character, and what to write instead."""
    if not isinstance(text, str):
        raise InvalidOptionError(f"Cron({text!r}): give text of five fields, like '0 3 * * MON-FRI'.")
    if len(text) > LONGEST:
        raise InvalidOptionError(f"Cron: an expression of {len(text)} characters; at most {LONGEST} are taken.")
    return _Reader(text).expression()


def is_every(items: Items) -> bool:
    return len(items) == 1 and items[0].is_every


def _listed(items: Items, modulo: int = 100) -> str:
    if is_every(items):
        return "*"
    return ",".join(map(str, sorted({value % modulo for item in items for value in item.values()})))


def _days(items: Items) -> str:
    plain = tuple(item for item in items if not item.is_last)
    return ",".join(filter(None, (_listed(plain), "l" if len(plain) < len(items) else "")))


def _special(item: Item) -> str:
    return f"l{item.low % 7}" if item.is_last else f"{item.low % 7}#{item.nth}"


class _Reader:
    """Reads one expression from left to right and knows where it is."""

    def __init__(self, text: str) -> None:
        self.text = text

    def expression(self) -> Expression:
        words = list(_WORD.finditer(self.text))
        if len(words) == 1 and words[0].group().startswith("@"):
            return self._alias(words[0])
        if len(words) != len(FIELDS):
            self._refuse_count(words)
        given = [self._items(word, where) for word, where in zip(words, FIELDS, strict=True)]
        minute, hour, day, month, weekday = given
        self._refuse_impossible(words[2], day, month)
        self._refuse_unclear(words, day, weekday)
        return Expression(" ".join(word.group() for word in words), minute, hour, day, month, weekday)

    def _alias(self, word: re.Match[str]) -> Expression:
        plain = ALIASES.get(word.group().lower())
        if plain is None:
            self._refuse(None, word.start(), word.group(), f"give one of {', '.join(ALIASES)}, or five fields")
        found = parse(plain)
        return Expression(word.group().lower(), found.minute, found.hour, found.day, found.month, found.weekday)

    def _items(self, word: re.Match[str], where: Field) -> Items:
        items, position = [], word.start()
        for text in word.group().split(","):
            items.append(self._item(text, position, where))
            position += len(text) + 1
        if len(items) > 1 and any(item.is_every for item in items):
            self._refuse(where, word.start(), word.group(), "'*' in a list makes the rest pointless; give '*' alone")
        return tuple(items)

    def _item(self, text: str, position: int, where: Field) -> Item:
        if where in (DAY, WEEKDAY) and (special := self._special(text.upper(), position, where)):
            return special
        found = _ITEM.fullmatch(text)
        if not found:
            self._refuse(where, position, text, _advice(text, where))
        low, high, step = found.group("low", "high", "step")
        count = 1 if step is None else self._number(step, position + found.start("step"), where)
        is_star = low == "*"
        if is_star and high is not None:
            self._refuse(where, position, text, "'*' has no range; give two numbers")
        first = where.lowest if is_star else self._value(low, position, where)
        if high is not None:
            last = self._value(high, position + found.start("high"), where)
            self._check_range(first, last, step, position, text, where)
        else:
            last = first if not is_star and step is None else self._last_of(where)
        self._check_step(first, last, step, count, position + found.start("step"), where)
        return Item(first, last, count, is_star=is_star)

    def _special(self, text: str, position: int, where: Field) -> Item | None:
        if where is DAY:
            return Item(0, 0, is_last=True) if text == "L" else None
        if found := _NTH.fullmatch(text):
            day = self._value(found["day"], position, where)
            nth = self._number(found["nth"], position + found.start("nth"), where)
            if not 1 <= nth <= 5:
                self._refuse(where, position + found.start("nth"), found["nth"], "give #1 to #5, or L for the last")
            return Item(day, day, nth=nth)
        if found := _LAST.fullmatch(text):
            day = self._value(found["day"] or found["named"], position, where)
            return Item(day, day, is_last=True)
        return None

    def _value(self, text: str, position: int, where: Field) -> int:
        named = where.names.get(text.upper())
        if named is not None:
            return named
        if not text.isdecimal():
            self._refuse(where, position, text, _advice(text, where))
        value = int(text)
        if not where.lowest <= value <= where.highest:
            self._refuse(where, position, text, f"give {where.lowest} to {where.highest}")
        return value

    def _number(self, text: str, position: int, where: Field) -> int:
        if not text.isdecimal() or int(text) == 0:
            self._refuse(where, position, text, "give a whole number from 1")
        return int(text)

    def _check_range(self, first: int, last: int, step: str | None, position: int, text: str, where: Field) -> None:
        if first == last or (where is WEEKDAY and first % 7 == last % 7 and last != 7):
            self._refuse(where, position, text, "both ends are the same; give the one value, or '*' for all")
        if first < last:
            return
        if where is not WEEKDAY:
            lowest, highest = where.lowest, where.highest
            advice = f"a range does not wrap; give {first}-{highest},{lowest}-{last}"
            self._refuse(where, position, text, advice)
        if step is not None:
            self._refuse(where, position, text, "no step over a range that wraps; give the days one by one")

    def _check_step(self, first: int, last: int, step: str | None, count: int, position: int, where: Field) -> None:
        if step is not None and count > last - first:
            advice = f"the step leaves only {first}; give {first}"
            if last > first:
                advice += f", or a step of at most {last - first}"
            if where in (MINUTE, HOUR):
                advice += ", or use an Interval"
            self._refuse(where, position, step, advice)

    def _last_of(self, where: Field) -> int:
        return 6 if where is WEEKDAY else where.highest

    def _refuse_impossible(self, word: re.Match[str], day: Items, month: Items) -> None:
        if any(item.is_last for item in day):
            return
        months = sorted({value for item in month for value in item.values()})
        first = min(value for item in day for value in item.values())
        if first > max(DAYS_IN_MONTH[number - 1] for number in months):
            names = ", ".join(MONTHS[number - 1] for number in months)
            self._refuse(DAY, word.start(), word.group(), f"day {first} never occurs in {names}; L is the last day")

    def _refuse_unclear(self, words: list[re.Match[str]], day: Items, weekday: Items) -> None:
        """Beside another day field crons disagree whether ``*/2`` counts as given, so both or either must match."""
        if is_every(day) or is_every(weekday):
            return
        for word, items, where in ((words[2], day, DAY), (words[4], weekday, WEEKDAY)):
            for item in items:
                if item.is_star:
                    plain = f"{item.low}-{item.high}/{item.step}"
                    advice = f"with both day fields given a stepped '*' is unclear; give {plain}: either field matches"
                    self._refuse(where, word.start(), word.group(), advice)

    def _refuse_count(self, words: list[re.Match[str]]) -> NoReturn:
        at = words[len(FIELDS)].start() if len(words) > len(FIELDS) else len(self.text)
        hint = "; seconds and years have no field here, use an Interval below a minute" if len(words) in (6, 7) else ""
        names = ", ".join(where.name for where in FIELDS)
        raise InvalidOptionError(
            f"Cron({self.text!r}): character {at + 1}: five fields are expected, not {len(words)}: {names}{hint}."
        )

    def _refuse(self, where: Field | None, position: int, text: str, advice: str) -> NoReturn:
        place = f"{where.name}, character {position + 1}" if where else f"character {position + 1}"
        raise InvalidOptionError(f"Cron({self.text!r}): {place}: {text!r} is not taken: {advice}.")


def _advice(text: str, where: Field) -> str:
    if not text:
        return "an item of the list is empty; take out the comma"
    if text == "?":
        return "give '*'"
    upper = text.upper()
    if re.fullmatch(r"[HR](\(.*\))?(/\d+)?", upper):
        return "values by hash or chance are not supported; give a fixed one and jitter= on the schedule"
    if where is DAY and "W" in upper:
        return "the nearest working day is not supported; give days and excluded weekdays on the schedule"
    if where is DAY and "L" in upper:
        return "L stands alone, as the last day of the month"
    if text.startswith("-"):
        return "there are no negative numbers"
    kinds = f"{where.lowest} to {where.highest}"
    if where.names:
        kinds += f" or names like {next(iter(where.names))}"
    special = {DAY: ", L", WEEKDAY: ", MON#2, FRIL"}.get(where, "")
    return f"give {kinds}, as n, n-m, n-m/step, */step or a list{special}"
