"""The fast form of ``python -m tests.cadence``: two years, each change of a clock in 200 zones."""

from datetime import UTC, datetime, timedelta

from django_durable import Cron
from tests.cadence import reference
from tests.cadence.cases import EXPRESSIONS, START, ZONES
from tests.cadence.reference import MINUTE

END = datetime(2013, 1, 1)
NEAR = 3 * 60  # minutes
EACH = 4  # expressions at one change; neighbours in the list are tried at the next one


def test_the_list_is_as_long_as_promised():
    assert (len(set(EXPRESSIONS)), len(set(ZONES))) == (60, 200)


def test_the_reference_shows_what_a_calendar_shows():
    """Independent of both: the reference itself is worth nothing if it is wrong in the same way."""
    first = [
        START + minute * MINUTE for minute in reference.minutes_of(reference.ticks("30 2 * * SUN#2", "UTC", START, END))
    ]

    assert [f"{tick:%Y-%m-%d %H:%M}" for tick in first[:3]] == [
        "2011-01-09 02:30",
        "2011-02-13 02:30",
        "2011-03-13 02:30",
    ]


def test_around_each_change_of_a_clock_the_ticks_are_those_of_the_reference():
    turn, wrong, changes = 0, [], 0
    for name in ZONES:
        for minute, _ in reference.changes(name, START, END)[1:]:
            changes += 1
            for _ in range(EACH):
                text = EXPRESSIONS[turn % len(EXPRESSIONS)]
                # Every other round begins where a clock that was set back repeats itself.
                begin = minute + 1 if turn // len(EXPRESSIONS) % 2 else minute - NEAR
                turn += 1
                wrong += differing(text, name, begin, minute + NEAR)

    assert wrong == []
    assert changes > 300


def test_on_the_wall_clock_croniter_finds_what_the_reference_finds():
    end = START + timedelta(days=60)
    wrong = [text for text in EXPRESSIONS[:-2] if differing(text, "UTC", 0, (end - START) // MINUTE)]

    assert wrong == []


def differing(text: str, name: str, begin: int, end: int) -> list[str]:
    """Ticks that only one of the two has, between two minutes after the start."""
    start = START.replace(tzinfo=UTC) - timedelta(microseconds=1)
    found = {
        (tick - start) // MINUTE for tick in Cron(text, name).between(start + begin * MINUTE, start + end * MINUTE)
    }
    bits = reference.ticks(text, name, START, END) >> begin & ((1 << (end - begin)) - 1)
    wanted = {begin + minute for minute in reference.minutes_of(bits)}
    return [f"{text!r} in {name} at {START + minute * MINUTE} UTC" for minute in sorted(found ^ wanted)]
