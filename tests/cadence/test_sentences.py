"""A cadence as one sentence."""

from collections import defaultdict
from datetime import UTC, datetime

import pytest

from django_durable import Cron, Interval
from tests.cadence.cases import EXPRESSIONS

TABLE = {
    "0 3 * * MON-FRI": "At 03:00 on Monday to Friday, Europe/Berlin",
    "@daily": "At 00:00 every day, Europe/Berlin",
    "@hourly": "At minute 0 of every hour, Europe/Berlin",
    "@weekly": "At 00:00 on Sunday, Europe/Berlin",
    "* * * * *": "Every minute, Europe/Berlin",
    "*/15 * * * *": "Every 15 minutes, Europe/Berlin",
    "*/7 * * * *": "At minutes 0 to 59 in steps of 7 of every hour, Europe/Berlin",
    "*/15 9-17 * * 1-5": "Every 15 minutes of hours 9 to 17 on Monday to Friday, Europe/Berlin",
    "0 */2 * * *": "At minute 0 of every 2nd hour, Europe/Berlin",
    "0 22-23,0-6 * * *": "At minute 0 of hours 22 to 23 and 0 to 6, Europe/Berlin",
    "0 9,12,17 * jan *": "At 09:00, 12:00 and 17:00 every day in January, Europe/Berlin",
    "30 4 1,15 * 5": "At 04:30 on days 1 and 15 of the month or on Friday, Europe/Berlin",
    "0 0 L * *": "At 00:00 on the last day of the month, Europe/Berlin",
    "0 0 1,L 3-5 *": "At 00:00 on day 1 and the last day of the month in March to May, Europe/Berlin",
    "0 9 * */3 MON#2,5L": "At 09:00 on the second Monday of the month and the last Friday of the month "
    "in January, April, July and October, Europe/Berlin",
}


@pytest.mark.parametrize("expression", TABLE)
def test_the_sentence_of_an_expression(expression):
    assert Cron(expression, "Europe/Berlin").describe() == TABLE[expression]


def test_what_ticks_at_other_times_has_another_sentence():
    meanings = defaultdict(set)
    for expression in EXPRESSIONS:
        cron = Cron(expression)
        meanings[cron.describe()].add(cron.fingerprint())

    assert {sentence: len(found) for sentence, found in meanings.items() if len(found) > 1} == {}


@pytest.mark.parametrize(
    ("every", "sentence"),
    [(1, "Every second"), (3600, "Every hour"), (5400, "Every 1 hour and 30 minutes"), (172_800, "Every 2 days")],
)
def test_the_sentence_of_an_interval(every, sentence):
    assert Interval(every).describe() == sentence


def test_an_anchor_is_told():
    anchor = datetime(2026, 1, 1, 0, 20, tzinfo=UTC)

    assert Interval(3600, anchor=anchor).describe() == "Every hour, counted from 2026-01-01 00:20:00 UTC"
