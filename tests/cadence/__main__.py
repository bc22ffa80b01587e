"""All ticks of 60 expressions in 200 zones over ten years, compared with a reference: ``python -m tests.cadence``.

First, each time on the wall clock that an expression matches is computed without a zone, by croniter. These are the
same for all zones, so they are looked up from then on. Then each tick of each expression in each zone is computed by
``Cron.between``; of the two expressions with most ticks, those within two days of a change of the clock and the first
of each day. ``--years 1 --zones 20`` plays less.
"""

import argparse
import sys
import time
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from multiprocessing import get_context
from unittest import mock

from django_durable.cadence import Cron, expressions, walls
from tests.cadence import reference
from tests.cadence.cases import DENSE, END, EXPRESSIONS, SPARSE, START, ZONES
from tests.cadence.reference import DAY, MARGIN, MINUTE

JUST_BEFORE = timedelta(microseconds=1)
NEAR = 2 * DAY
known: dict[tuple[str, ...], array] = {}  # minutes of the wall clock since START - MARGIN, by alternatives


def walk(task: tuple[str, datetime, datetime]) -> tuple[str, array]:
    """What croniter finds for one expression between two wall times, in minutes since START - MARGIN."""
    text, begin, end = task
    found = Cron(text).between((begin - JUST_BEFORE).replace(tzinfo=UTC), (end - JUST_BEFORE).replace(tzinfo=UTC))
    origin = (START - MARGIN).replace(tzinfo=UTC)
    return text, array("L", ((tick - origin) // MINUTE for tick in found))


def looked_up(alternatives: tuple[str, ...], wall: datetime) -> datetime | None:
    """``walls.following`` out of what it has said before."""
    minutes = known[alternatives]
    at = bisect_right(minutes, (wall - START + MARGIN) // MINUTE)
    return START - MARGIN + minutes[at] * MINUTE if at < len(minutes) else None


def compare(task: tuple[str, datetime]) -> tuple[str, int, list[str]]:
    """One zone with all expressions: its name, the number of ticks compared, and what differs."""
    name, end = task
    count, wrong = 0, []
    with mock.patch.object(walls, "following", looked_up):
        for text in EXPRESSIONS:
            wanted = reference.ticks(text, name, START, end)
            for begin, until in spans(text, name, end):
                ticks, different = differing(Cron(text, name), wanted, begin, until)
                count += ticks
                wrong += [f"{text!r} in {name} at {START + minute * MINUTE} UTC" for minute in different]
            if text in DENSE:
                wrong += [f"{text!r} in {name} after {day}" for day in wrong_days(Cron(text, name), wanted, end)]
    return name, count, wrong


def spans(text: str, name: str, end: datetime) -> Iterator[tuple[int, int]]:
    """Between which minutes all ticks are compared."""
    last = (end - START) // MINUTE
    if text in SPARSE:
        yield 0, last
        return
    for minute, _ in reference.changes(name, START, end):
        yield max(minute - NEAR // MINUTE, 0), min(minute + NEAR // MINUTE, last)


def differing(cron: Cron, wanted: int, begin: int, end: int) -> tuple[int, list[int]]:
    """The number of ticks, and the minutes at which only one of the two has one."""
    start = START.replace(tzinfo=UTC)
    ticks = cron.between(start + begin * MINUTE - JUST_BEFORE, start + end * MINUTE - JUST_BEFORE)
    bits, count = bytearray((end - begin) // 8 + 1), 0
    for tick in ticks:
        minute = (tick - start) // MINUTE - begin
        bits[minute >> 3] |= 1 << (minute & 7)
        count += 1
    found = int.from_bytes(bits, "little")
    assert found.bit_count() == count, f"{cron} has a tick twice, or two within a minute"
    different = found ^ ((wanted >> begin) & ((1 << (end - begin)) - 1))
    return count, [begin + minute for minute in reference.minutes_of(different)][:5]


def wrong_days(cron: Cron, wanted: int, end: datetime) -> Iterator[datetime]:
    """Days whose first tick is another one."""
    for day in (START + count * DAY for count in range((end - START) // DAY - 1)):
        after = ((day - START) // MINUTE) + 1
        bits = (wanted >> after) & ((1 << 1440) - 1)
        first = START + (after + (bits & -bits).bit_length() - 1) * MINUTE
        if bits and cron.after(day.replace(tzinfo=UTC)) != first.replace(tzinfo=UTC):
            yield day


def walks(end: datetime) -> list[tuple[str, datetime, datetime]]:
    """The largest first, cut into pieces of a month."""
    first, last = START - MARGIN, end + MARGIN
    edges = [first, *(START + count * 30 * DAY for count in range(1, (end - START) // (30 * DAY))), last]
    pieces = list(pairwise(edges))
    return [(text, *piece) for text in DENSE for piece in pieces] + [(text, first, last) for text in reversed(SPARSE)]


def learn(pool, end: datetime, since: float) -> list[str]:
    """Fill ``known``; return the expressions of which croniter's times are not the reference's."""
    parts: dict[str, list[array]] = {text: [] for text in EXPRESSIONS}
    todo = walks(end)
    for done, (text, minutes) in enumerate(pool.imap(walk, todo), 1):
        parts[text].append(minutes)
        if done % 50 == 0 or done == len(todo):
            print(f"wall clock: {done} of {len(todo)} pieces, {time.monotonic() - since:.0f} s", flush=True)
    wrong = []
    for text, pieces in parts.items():
        minutes = array("L", [minute for piece in pieces for minute in piece])
        known[expressions.parse(text).alternatives] = minutes
        bits = bytearray(max(minutes, default=0) // 8 + 1)
        for minute in minutes:
            bits[minute >> 3] |= 1 << (minute & 7)
        if int.from_bytes(bits, "little") != reference.wall_minutes(text, START, end):
            wrong.append(f"{text!r} on the wall clock")
    return wrong


def main() -> int:
    """Print progress and every difference; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.cadence", description=__doc__)
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--zones", type=int, default=len(ZONES))
    parser.add_argument("--processes", type=int, default=2)
    given = parser.parse_args()
    end, since, fork = END.replace(year=START.year + given.years), time.monotonic(), get_context("fork")
    with fork.Pool(given.processes) as pool:
        wrong = learn(pool, end, since)
    total = 0
    with fork.Pool(given.processes) as pool:  # these know what was learned
        todo = [(name, end) for name in ZONES[: given.zones]]
        for done, (name, count, different) in enumerate(pool.imap_unordered(compare, todo), 1):
            total, wrong = total + count, wrong + different
            if done % 10 == 0 or different:
                print(
                    f"{done} of {given.zones} zones ({name}), {total:,} ticks, {time.monotonic() - since:.0f} s",
                    flush=True,
                )
    print(*wrong, sep="\n")
    print(
        f"cadence: {len(EXPRESSIONS)} expressions, {len(todo)} zones, {given.years} years: {total:,} ticks compared, "
        f"{len(wrong)} differ, {time.monotonic() - since:.0f} s"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
