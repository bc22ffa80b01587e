"""What happens to a nominal time that a zone's clock shows twice, or never. Each line was written by hand."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from django_durable import Cron

DAY = timedelta(days=1)

# (expression, zone, a moment on the day before, ticks of the two days from then, local)
TABLE = {
    "a daily time in the gap": (
        ("30 2 * * *", "Europe/Berlin", "2026-03-28T00:00"),
        ["2026-03-28T02:30:00+01:00", "2026-03-29T03:00:00+02:00"],
    ),
    "a daily time in the fold": (
        ("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00"),
        ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
    ),
    "each hour around the gap: 2 and 3 are one": (
        ("0 0-4 * * *", "Europe/Berlin", "2026-03-28T12:00"),
        ["2026-03-29T00:00:00+01:00", "2026-03-29T01:00:00+01:00", "2026-03-29T03:00:00+02:00"]
        + ["2026-03-29T04:00:00+02:00"]
        + [f"2026-03-30T0{hour}:00:00+02:00" for hour in range(5)],
    ),
    "each half hour around the fold: the second 2:00 and 2:30 are silent": (
        ("*/30 1-3 25 10 *", "Europe/Berlin", "2026-10-24T12:00"),
        [
            "2026-10-25T01:00:00+02:00",
            "2026-10-25T01:30:00+02:00",
            "2026-10-25T02:00:00+02:00",
            "2026-10-25T02:30:00+02:00",
            "2026-10-25T03:00:00+01:00",
            "2026-10-25T03:30:00+01:00",
        ],
    ),
    "half an hour of gap": (
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00"),
        ["2026-10-03T02:15:00+10:30", "2026-10-04T02:30:00+11:00"],
    ),
    "half an hour of fold": (
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00"),
        ["2026-04-05T01:45:00+11:00", "2026-04-06T01:45:00+10:30"],
    ),
    "no midnight": (
        ("@daily", "America/Havana", "2026-03-07T12:00"),
        ["2026-03-08T01:00:00-04:00", "2026-03-09T00:00:00-04:00"],
    ),
    "two midnights": (
        ("@daily", "America/Havana", "2026-10-31T12:00"),
        ["2026-11-01T00:00:00-04:00", "2026-11-02T00:00:00-05:00"],
    ),
    "a day that is skipped": (
        ("0 12 * * *", "Pacific/Apia", "2011-12-29T00:00"),
        ["2011-12-29T12:00:00-10:00", "2011-12-31T00:00:00+14:00", "2011-12-31T12:00:00+14:00"],
    ),
    "two hours of gap are one tick": (
        ("30 1,2 * * *", "Antarctica/Troll", "2026-03-28T12:00"),
        ["2026-03-29T03:00:00+02:00", "2026-03-30T01:30:00+02:00", "2026-03-30T02:30:00+02:00"],
    ),
    "Ramadan begins": (
        ("30 2 * * *", "Africa/Casablanca", "2026-02-14T12:00"),
        ["2026-02-15T02:30:00+01:00", "2026-02-16T02:30:00+00:00"],
    ),
    "Ramadan is over": (
        ("30 2 * * *", "Africa/Casablanca", "2026-03-21T12:00"),
        ["2026-03-22T03:00:00+01:00", "2026-03-23T02:30:00+01:00"],
    ),
    "an odd offset": (
        ("0 9 * * *", "Asia/Kathmandu", "2026-03-21T12:00"),
        ["2026-03-22T09:00:00+05:45", "2026-03-23T09:00:00+05:45"],
    ),
    "a new offset by half an hour": (
        ("45 2 * * *", "America/Caracas", "2016-04-30T12:00"),
        ["2016-05-01T03:00:00-04:00", "2016-05-02T02:45:00-04:00"],
    ),
    "a fold over midnight": (
        ("0,45 0,23 14,15 8 *", "Asia/Pyongyang", "2015-08-14T12:00"),
        [
            "2015-08-14T23:00:00+09:00",
            "2015-08-14T23:45:00+09:00",
            "2015-08-15T00:00:00+08:30",
            "2015-08-15T00:45:00+08:30",
            "2015-08-15T23:00:00+08:30",
            "2015-08-15T23:45:00+08:30",
        ],
    ),
    "an offset with seconds": (
        ("@daily", "Africa/Monrovia", "1972-01-05T12:00"),
        ["1972-01-06T00:00:00-00:44:30", "1972-01-07T00:44:30+00:00"],
    ),
}


@pytest.mark.parametrize("case", TABLE)
def test_a_change_of_the_clock(case):
    (expression, timezone, start), expected = TABLE[case]
    zone = ZoneInfo(timezone)
    begin = datetime.fromisoformat(start).replace(tzinfo=zone)

    ticks = Cron(expression, timezone).between(begin, begin.astimezone(UTC) + 2 * DAY)

    assert [tick.astimezone(zone).isoformat() for tick in ticks] == expected


@pytest.mark.parametrize(
    "moment", ["2026-10-25T00:30", "2026-10-25T00:45", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T01:59:59"]
)
def test_while_the_clock_repeats_itself_the_next_time_is_behind_that(moment):
    after = Cron("30 2 * * *", "Europe/Berlin").after(datetime.fromisoformat(moment).replace(tzinfo=UTC))

    assert after == datetime(2026, 10, 26, 1, 30, tzinfo=UTC)


def test_just_before_its_first_time_a_repeated_time_is_next():
    after = Cron("30 2 * * *", "Europe/Berlin").after(datetime(2026, 10, 25, 0, 29, 59, 999_999, tzinfo=UTC))

    assert after == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
