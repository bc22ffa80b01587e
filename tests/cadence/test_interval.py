"""Equal distances in UTC."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from django_durable import Interval, InvalidOptionError

NOON = datetime(2026, 3, 28, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def test_ticks_are_counted_from_the_anchor_and_not_from_the_moment():
    interval = Interval(HOUR, anchor=NOON + timedelta(minutes=20))

    for minutes in (21, 40, 59, 79):
        assert interval.after(NOON + timedelta(minutes=minutes)) == NOON + timedelta(minutes=80)


def test_a_tick_is_strictly_after_the_moment():
    assert Interval(HOUR).after(NOON) == NOON + HOUR
    assert Interval(HOUR).after(NOON - timedelta(microseconds=1)) == NOON


def test_there_are_ticks_before_the_anchor():
    assert Interval(HOUR, anchor=NOON).after(NOON - 10 * HOUR) == NOON - 9 * HOUR


def test_a_change_of_the_clock_changes_nothing():
    ticks = list(Interval(6 * HOUR, anchor=NOON).between(NOON, NOON + 48 * HOUR))

    assert ticks == [NOON + count * 6 * HOUR for count in range(1, 9)]


def test_seconds_will_do():
    assert Interval(90) == Interval(timedelta(seconds=90))


def test_an_anchor_in_another_zone_is_an_instant():
    east = timezone(timedelta(hours=5, minutes=45))
    assert Interval(HOUR, anchor=NOON.astimezone(east)) == Interval(HOUR, anchor=NOON)


def test_anchors_a_whole_number_of_ticks_apart_have_one_fingerprint():
    assert Interval(HOUR, anchor=NOON).fingerprint() == Interval(HOUR).fingerprint()
    assert Interval(HOUR, anchor=NOON + timedelta(minutes=1)).fingerprint() != Interval(HOUR).fingerprint()
    assert Interval(2 * HOUR).fingerprint() != Interval(HOUR).fingerprint()


def test_the_years_come_to_an_end():
    assert Interval(HOUR).after(datetime(9999, 12, 31, 23, tzinfo=UTC)) is None


@pytest.mark.parametrize("every", [0, 0.5, -1, float("nan"), float("inf"), "1h", None, True, timedelta(0)])
def test_what_is_no_interval(every):
    with pytest.raises(InvalidOptionError, match="every="):
        Interval(every)


def test_an_anchor_without_a_zone():
    with pytest.raises(InvalidOptionError, match=r"anchor=.*aware datetime"):
        Interval(HOUR, anchor=datetime(2026, 1, 1))
