"""What is refused when a cadence is made, and that the error says where and what to do."""

import time

import pytest

from django_durable import Cron, InvalidOptionError

# expression: (field, character from 1, what the advice says)
TABLE = {
    "0 0 30 2 *": ("day of month", 5, "day 30 never occurs in February"),
    "0 0 31 4,6 *": ("day of month", 5, "day 31 never occurs in April, June"),
    "0 0 30-31 2 MON": ("day of month", 5, "never occurs"),
    "*/0 * * * *": ("minute", 3, "whole number from 1"),
    "*/00 * * * *": ("minute", 3, "whole number from 1"),
    "*/90 * * * *": ("minute", 3, "use an Interval"),
    "59/2 * * * *": ("minute", 4, "the step leaves only 59"),
    "0 0 * * 7/2": ("day of week", 11, "the step leaves only 7; give 7."),
    "0 */24 * * *": ("hour", 5, "at most 23"),
    "60 * * * *": ("minute", 1, "give 0 to 59"),
    "0 24 * * *": ("hour", 3, "give 0 to 23"),
    "0 0 0 * *": ("day of month", 5, "give 1 to 31"),
    "0 0 1 13 *": ("month", 7, "give 1 to 12"),
    "0 0 * * 8": ("day of week", 9, "give 0 to 7"),
    "5,99999999999999999999 * * * *": ("minute", 3, "give 0 to 59"),
    "0-99999999999 * * * *": ("minute", 3, "give 0 to 59"),
    "0 22-6 * * *": ("hour", 3, "give 22-23,0-6"),
    "0 5-5 * * *": ("hour", 3, "give the one value"),
    "0 0 * * 7-SUN": ("day of week", 9, "give the one value"),
    "0 0 * * FRI-MON/2": ("day of week", 9, "one by one"),
    "*-5 * * * *": ("minute", 1, "give two numbers"),
    "-5 * * * *": ("minute", 1, "no negative numbers"),
    "5, * * * *": ("minute", 3, "take out the comma"),
    "1-2-3 * * * *": ("minute", 1, "n-m/step"),
    "*,5 * * * *": ("minute", 1, "give '*' alone"),
    "٣ * * * *": ("minute", 1, "give 0 to 59"),
    "H * * * *": ("minute", 1, "by hash or chance"),
    "H/15 * * * *": ("minute", 1, "by hash or chance"),
    "0 R(1-5) * * *": ("hour", 3, "by hash or chance"),
    "0 0 15W * *": ("day of month", 5, "nearest working day"),
    "0 0 LW * *": ("day of month", 5, "nearest working day"),
    "0 0 L-3 * *": ("day of month", 5, "L stands alone"),
    "0 0 ? * MON": ("day of month", 5, "give '*'"),
    "0 0 * * MON#6": ("day of week", 13, "#1 to #5"),
    "0 0 * * MON#L": ("day of week", 13, "whole number"),
    "0 0 * * L": ("day of week", 9, "FRIL"),
    "0 0 * * XYZ": ("day of week", 9, "names like SUN"),
    "0 0 * FOO *": ("month", 7, "names like JAN"),
    "0 0 */2 * MON": ("day of month", 5, "give 1-31/2"),
    "0 0 13 * */2": ("day of week", 10, "give 0-6/2"),
}


@pytest.mark.parametrize("expression", TABLE)
def test_the_field_and_the_character_are_named(expression):
    field, character, advice = TABLE[expression]

    with pytest.raises(InvalidOptionError) as refused:
        Cron(expression)

    assert f"{field}, character {character}: " in str(refused.value)
    assert advice in str(refused.value)


@pytest.mark.parametrize(
    ("expression", "character", "count"),
    [
        ("", 1, 0),
        ("* * * *", 8, 4),
        ("0 * * * * *", 11, 6),
        ("0 0 1 1 * * 2026", 11, 7),
        ("@daily 3", 9, 2),
        ("0\u00a03 * * *", 10, 4),
    ],
)
def test_another_number_of_fields(expression, character, count):
    with pytest.raises(InvalidOptionError, match=f"character {character}: five fields are expected, not {count}"):
        Cron(expression)


def test_an_unknown_nickname():
    with pytest.raises(InvalidOptionError, match=r"'@reboot' is not taken: give one of @hourly"):
        Cron("@reboot")


@pytest.mark.parametrize("expression", [None, 5, b"* * * * *", ["*"] * 5])
def test_what_is_no_text(expression):
    with pytest.raises(InvalidOptionError, match="text of five fields"):
        Cron(expression)


def test_long_text_is_refused_before_anything_is_made_of_it():
    hostile = ",".join(["0-59/1"] * 1_000_000)
    before = time.process_time()

    with pytest.raises(InvalidOptionError, match="at most 200"):
        Cron(f"{hostile} * * * *")

    assert time.process_time() - before < 0.1


@pytest.mark.parametrize(
    "timezone", [None, "", "Europe/Berln", "europe/berlin", "../etc/passwd", "localtime", "right/UTC", 5]
)
def test_an_unknown_zone(timezone):
    with pytest.raises(InvalidOptionError, match=r"timezone=.* is not known"):
        Cron("@daily", timezone)


def test_the_closest_zones_are_named():
    with pytest.raises(InvalidOptionError, match="did you mean 'Europe/Berlin'"):
        Cron("@daily", "Europe/Berln")
