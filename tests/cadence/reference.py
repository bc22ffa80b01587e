"""The ticks of a cron expression, found without croniter and without ``django_durable.cadence``.

The years are laid out minute by minute: which minutes of the wall clock match (each minute of each day is asked), and
which minute the clock shows at each minute of UTC. A tick is where the clock shows a matching minute, or passes over
one, that it has never shown before. The minutes are bits of one large number, so that ten years are a few operations.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)
STRIDE = 360  # minutes; no zone changes its clock and changes it back within them
MARGIN = 2 * DAY  # clocks differ from UTC by less
NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
}
MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
WEEKDAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]


def _day_matches(text: str, day: date) -> bool:
    _, _, days, months, weekdays = NICKNAMES.get(text, text).split()
    months = _numbers(months, MONTHS, 1)
    weekdays = _numbers(weekdays, WEEKDAYS, 0)
    if not _in(months, day.month, 1, 12):
        return False
    by_day = any(_in_month(item, day) for item in days.split(","))
    by_weekday = any(_in_week(item, day) for item in weekdays.split(","))
    if days == "*":
        return by_weekday
    return by_day if weekdays == "*" else by_day or by_weekday


def _numbers(text: str, names: list[str], first: int) -> str:
    for number, name in enumerate(names, first):
        text = text.replace(name, str(number))
    return text


def _in_month(item: str, day: date) -> bool:
    if item == "L":
        return (day + DAY).month != day.month
    return _in(item, day.day, 1, 31)


def _in_week(item: str, day: date) -> bool:
    number = day.isoweekday() % 7
    if "#" in item:
        wanted, nth = map(int, item.split("#"))
        return number == wanted % 7 and (day.day - 1) // 7 + 1 == nth
    if "L" in item:
        return number == int(item.strip("L")) % 7 and (day + 7 * DAY).month != day.month
    if item[1:2] == "-" and int(item[0]) > int(item[2]):
        return number >= int(item[0]) or number <= int(item[2])
    return _in(item, number, 0, 6) or (number == 0 and "*" not in item and _in(item, 7, 0, 7))


def _in(text: str, value: int, lowest: int, highest: int) -> bool:
    return any(_in_item(item, value, lowest, highest) for item in text.split(","))


def _in_item(item: str, value: int, lowest: int, highest: int) -> bool:
    span, _, step = item.partition("/")
    if span == "*":
        first, last = lowest, highest
    elif "-" in span:
        first, last = map(int, span.split("-"))
    else:
        first = int(span)
        last = highest if step else first
    return first <= value <= last and (value - first) % int(step or 1) == 0


def offset(zone: ZoneInfo, minute: datetime) -> int:
    """By how many minutes the zone's clock is ahead of a naive UTC time."""
    ahead = minute.replace(tzinfo=UTC).astimezone(zone).utcoffset()
    assert ahead is not None and not ahead % MINUTE, f"{zone} at {minute} is off by seconds"
    return ahead // MINUTE


@cache
def changes(name: str, start: datetime, end: datetime) -> list[tuple[int, int]]:
    """(minute of UTC since the start, offset from then on), the first at 0.

    Every six hours are looked at, and each minute of those in which something changed.
    """
    zone = ZoneInfo(name)
    found = [(0, offset(zone, start))]
    for begin in range(0, (end - start) // MINUTE, STRIDE):
        if offset(zone, start + (begin + STRIDE) * MINUTE) == found[-1][1]:
            continue
        for minute in range(begin + 1, begin + STRIDE + 1):
            if (now := offset(zone, start + minute * MINUTE)) != found[-1][1]:
                found.append((minute, now))
    return [change for change in found if change[0] < (end - start) // MINUTE]


@cache
def wall_minutes(text: str, start: datetime, end: datetime) -> int:
    """Bit n: whether minute n after ``start - MARGIN`` on the wall clock matches."""
    minute, hour, *_ = NICKNAMES.get(text, text).split()
    shown = [_in(hour, count // 60, 0, 23) and _in(minute, count % 60, 0, 59) for count in range(1440)]
    times = sum(1 << count for count, is_shown in enumerate(shown) if is_shown).to_bytes(180, "little")
    none = bytes(180)
    first = (start - MARGIN).date()
    days = (first + count * DAY for count in range((end - start + 2 * MARGIN) // DAY))
    return int.from_bytes(b"".join(times if _day_matches(text, day) else none for day in days), "little")


def ticks(text: str, name: str, start: datetime, end: datetime) -> int:
    """Bit n: whether there is a tick at minute n of UTC after the start."""
    walls, margin = wall_minutes(text, start, end), MARGIN // MINUTE
    found = 0
    segments = changes(name, start, end)
    ends = [*(begin for begin, _ in segments[1:]), (end - start) // MINUTE]
    unseen = segments[0][1] + margin  # the first minute of the wall clock that has not been shown yet
    for (begin, ahead), until in zip(segments, ends, strict=True):
        shown = begin + ahead + margin
        if shown > unseen and _slice(walls, unseen, shown):  # passed over
            found |= 1 << begin
        first = max(shown, unseen)
        last = until + ahead + margin
        if first < last:
            found |= _slice(walls, first, last) << (first - ahead - margin)
        unseen = max(unseen, last)
    return found


def _slice(bits: int, first: int, last: int) -> int:
    return (bits >> first) & ((1 << (last - first)) - 1)


def minutes_of(bits: int) -> Iterator[int]:
    """Which bits are set."""
    while bits:
        lowest = bits & -bits
        yield lowest.bit_length() - 1
        bits ^= lowest
