"""Dates that are left out, in the zone of the cadence."""

from datetime import UTC, date, datetime, timedelta

import pytest

from django_durable import Excluded, InvalidOptionError
from django_durable.cadence import excluded

CHRISTMAS = date(2026, 12, 25)  # a Friday


def test_a_date_is_one_of_the_zone():
    late = datetime(2026, 12, 24, 16, tzinfo=UTC)

    assert excluded(late, Excluded([CHRISTMAS]), "Asia/Tokyo") == "excluded date 2026-12-25"
    assert excluded(late, Excluded([CHRISTMAS]), "Europe/Berlin") is None


def test_a_date_may_say_why():
    noon = datetime(2026, 12, 25, 12, tzinfo=UTC)

    assert excluded(noon, Excluded({CHRISTMAS: "Christmas"})) == "excluded date 2026-12-25: Christmas"


@pytest.mark.parametrize("name", ["Saturday", "saturday", "SAT", ("SAT", "SUN")])
def test_a_weekday(name):
    calendar = Excluded(weekdays=name)
    saturday = datetime(2026, 12, 26, 12, tzinfo=UTC)

    assert excluded(saturday, calendar) == "excluded weekday Saturday"
    assert excluded(saturday - timedelta(days=1), calendar) is None


def test_nothing_is_excluded_by_an_empty_one():
    assert excluded(datetime(2026, 12, 25, tzinfo=UTC), Excluded()) is None


@pytest.mark.parametrize(
    "calendar", [Excluded(), Excluded({CHRISTMAS: "Christmas", date(2027, 1, 1): ""}, ["SUN", "SAT"])]
)
def test_what_is_stored_is_read_again(calendar):
    assert Excluded.load(calendar.dump()) == calendar


@pytest.mark.parametrize(
    "dates", [["2026-12-25"], [datetime(2026, 12, 25)], {CHRISTMAS: None}, {CHRISTMAS: "x" * 201}, "2026"]
)
def test_what_are_no_dates(dates):
    with pytest.raises(InvalidOptionError, match=r"Excluded\(dates="):
        Excluded(dates)


@pytest.mark.parametrize(
    "weekdays", [["S"], ["Caturday"], [6], "weekend", ["MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"]]
)
def test_what_are_no_weekdays(weekdays):
    with pytest.raises(InvalidOptionError, match=r"Excluded\(weekdays="):
        Excluded(weekdays=weekdays)


@pytest.mark.parametrize("options", [{"dates": CHRISTMAS}, {"weekdays": 5}])
def test_what_is_no_list(options):
    with pytest.raises(InvalidOptionError, match="give lists"):
        Excluded(**options)


def test_too_many_dates():
    with pytest.raises(InvalidOptionError, match="at most 10000"):
        Excluded(date(1980, 1, 1) + timedelta(days=count) for count in range(10_001))
