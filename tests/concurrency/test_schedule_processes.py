"""Ten processes ensure one schedule at one moment, as ten workers that boot do: there is one, and one has made it."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from django_durable import client
from django_durable.models import AuditEntry, Schedule
from tests.concurrency.processes import at_once
from tests.ledger_app import programs

pytestmark = [
    pytest.mark.slow,
    # The watchdog of faulthandler is a thread; it runs no Python code and holds no lock.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]
BOOTS = 10


def _ensured(hours: int) -> tuple[str, str]:
    done = client.ensure_schedule(programs.item, id="hourly", interval=timedelta(hours=hours), args=(1,))
    return str(done.schedule.id), done.outcome


@pytest.mark.django_db(transaction=True)
def test_one_schedule_comes_of_ten_boots_at_once() -> None:
    told = at_once(lambda _: _ensured(1), BOOTS)

    assert Counter(outcome for _, outcome in told) == {"created": 1, "unchanged": BOOTS - 1}, told
    assert {found for found, _ in told} == {str(Schedule.objects.get().id)}
    assert AuditEntry.objects.filter(kind="schedule_added").count() == 1


@pytest.mark.django_db(transaction=True)
def test_ten_boots_of_two_releases_agree_in_the_end() -> None:
    told = at_once(lambda number: _ensured(1 + number % 2), BOOTS)

    assert {outcome for _, outcome in told} <= {"created", "updated", "unchanged"}, told
    assert Schedule.objects.count() == 1
