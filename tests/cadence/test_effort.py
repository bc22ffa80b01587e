"""How much is done for one tick, counted."""

import subprocess
import sys
from datetime import UTC, datetime
from unittest import mock

import pytest

from django_durable import Cron
from django_durable.cadence import walls
from tests.cadence.cases import EXPRESSIONS


def searches(expression, zone, moment):
    with mock.patch.object(walls, "following", wraps=walls.following) as following:
        Cron(expression, zone).after(moment)
    return following.call_count


@pytest.mark.parametrize("moment", [datetime(2026, 3, 29, 0, 59, tzinfo=UTC), datetime(2026, 7, 1, tzinfo=UTC)])
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_a_tick_is_found_by_one_search(expression, moment):
    assert searches(expression, "Europe/Berlin", moment) == 1


def test_while_the_clock_repeats_an_hour_each_of_its_times_is_looked_at_at_most_once():
    assert searches("* * * * *", "Europe/Berlin", datetime(2026, 10, 25, 1, 0, tzinfo=UTC)) == 60


def test_an_expression_is_parsed_once():
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    first = Cron("1 2 3 4 *").after(moment)

    with mock.patch("croniter.croniter.croniter._expand", side_effect=AssertionError("parsed again")):
        assert Cron("1 2 3 APR *").after(moment) == first


def test_who_only_declares_a_cadence_does_not_load_croniter():
    code = (
        "import sys; from django_durable import Cron; Cron('@daily', 'Europe/Berlin'); print('croniter' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)

    assert done.stdout.strip() == "False", done.stderr
