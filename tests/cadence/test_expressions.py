"""What an expression means, apart from zones."""

from datetime import UTC, datetime
from unittest import mock

import pytest

from django_durable import Cron

NEW_YEAR = datetime(2026, 1, 1, tzinfo=UTC)


def days(expression, count=4, start=NEW_YEAR):
    return [f"{tick:%a %Y-%m-%d}" for tick in Cron(expression).upcoming(start, count)]


@pytest.mark.parametrize(
    ("nickname", "fields"),
    [
        ("@hourly", "0 * * * *"),
        ("@daily", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@weekly", "0 0 * * 0"),
        ("@monthly", "0 0 1 * *"),
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@Daily", "0 0 * * *"),
        ("0 0 * jan-mar mon", "0 0 * 1,2,3 1"),
        ("  0   0\t* *\n7\n", "0 0 * * 0"),
        ("0 0 * * 5-7", "0 0 * * 0,5,6"),
        ("0 0 * * FRI-MON", "0 0 * * 0,1,5,6"),
        ("*/20 0 * * *", "0,20,40 0 * * *"),
        ("5/20 0 * * *", "5,25,45 0 * * *"),
        ("0-10/5 0 * * *", "0,5,10 0 * * *"),
        ("0 0 * * FRIL", "0 0 * * 5L"),
        ("0 0 * * L5", "0 0 * * 5L"),
        ("0 0 * * 7#1", "0 0 * * SUN#1"),
        ("*/1 * * * *", "* * * * *"),
    ],
)
def test_two_ways_to_write_the_same(nickname, fields):
    assert Cron(nickname) == Cron(fields)
    assert Cron(nickname).fingerprint() == Cron(fields).fingerprint()
    assert Cron(nickname).upcoming(NEW_YEAR, 20) == Cron(fields).upcoming(NEW_YEAR, 20)


def test_with_both_days_given_either_is_enough():
    assert days("0 0 13 * FRI", 4) == ["Fri 2026-01-02", "Fri 2026-01-09", "Tue 2026-01-13", "Fri 2026-01-16"]


def test_an_nth_weekday_beside_a_day_of_the_month_is_either_too():
    assert days("0 0 13 * FRI#2", 4) == ["Fri 2026-01-09", "Tue 2026-01-13", "Fri 2026-02-13", "Fri 2026-03-13"]


def test_a_plain_weekday_beside_a_last_one():
    assert days("0 0 * 1 TUE,FRIL", 5) == [
        "Tue 2026-01-06",
        "Tue 2026-01-13",
        "Tue 2026-01-20",
        "Tue 2026-01-27",
        "Fri 2026-01-30",
    ]


def test_the_last_day_of_a_month():
    assert days("0 0 L * *", 3) == ["Sat 2026-01-31", "Sat 2026-02-28", "Tue 2026-03-31"]


def test_the_first_and_the_last_day():
    assert days("0 0 1,L 2 *", 3) == ["Sun 2026-02-01", "Sat 2026-02-28", "Mon 2027-02-01"]


def test_a_leap_day_on_a_monday_is_found_over_the_longest_distance():
    assert days("0 0 * 2 MON#5", 3, datetime(2072, 3, 1, tzinfo=UTC)) == [
        "Mon 2112-02-29",
        "Mon 2140-02-29",
        "Mon 2168-02-29",
    ]


def test_the_years_come_to_an_end():
    assert Cron("0 0 29 2 *").after(datetime(9996, 3, 1, tzinfo=UTC)) is None
    assert Cron("* * * * *", "Asia/Tokyo").after(datetime.max.replace(tzinfo=UTC)) is None
    assert Cron("* * * * *", "America/Lima").after(datetime.max.replace(tzinfo=UTC)) is None


def test_a_search_that_goes_wrong_is_not_taken_for_the_end():
    with mock.patch("croniter.croniter.croniter.get_next", side_effect=ValueError("broken")):
        assert Cron("0 0 29 2 *").after(datetime(9998, 1, 1, tzinfo=UTC)) is None
        with pytest.raises(ValueError, match="broken"):
            Cron("0 0 29 2 *").after(NEW_YEAR)


def test_others_are_not_equal():
    assert Cron("0 0 * * *") != Cron("0 0 * * *", "Europe/Berlin")
    assert Cron("0 0 * * *") != Cron("0 1 * * *")
    assert Cron("0 0 * * *").fingerprint() != Cron("0 0 * * *", "Europe/Berlin").fingerprint()


def test_a_moment_needs_a_zone():
    with pytest.raises(ValueError, match="aware datetime"):
        Cron("@daily").after(datetime(2026, 1, 1))
    with pytest.raises(ValueError, match=r"end=.*aware datetime"):
        Cron("@daily").between(NEW_YEAR, datetime(2026, 1, 1))
