"""Real pollers, each a process of its own on a host whose wall clock is an hour off, and the database's real clock."""

from __future__ import annotations

import time
from datetime import timedelta
from itertools import pairwise

import pytest
import time_machine
from django.db import connection

from django_durable import client, clock
from django_durable.engine.schedules import firing
from django_durable.models import Execution, Schedule, ScheduleTick
from tests import invariants
from tests.concurrency.processes import at_once
from tests.ledger_app import programs

pytestmark = [
    pytest.mark.slow,
    # The watchdog of faulthandler is a thread; it runs no Python code and holds no lock.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning"),
]
SECONDS = 5.0
HOURS = (-1, 1, 1, -1)


def _poll(number: int) -> tuple[str, str]:
    """Fire what is due, again and again for some seconds of the monotonic clock."""
    fired = 0
    with time_machine.travel(clock.now() + HOURS[number] * timedelta(hours=1), tick=True):
        ends_at = time.monotonic() + SECONDS
        while time.monotonic() < ends_at:
            fired += firing.fire_due(using="default")
            time.sleep(0.02)  # leaves the processor to the others
    return "fired", str(fired)


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(connection.vendor == "sqlite", reason="a host is a process, and on SQLite there are threads only")
def test_hosts_an_hour_off_fire_each_second_once_and_never_early() -> None:
    client.ensure_schedule(programs.item, id="each-second", interval=1, args=(1,), overlap="allow")
    told = at_once(_poll, len(HOURS))

    assert {what for what, _ in told} == {"fired"}, told
    ticks = list(ScheduleTick.objects.order_by("nominal_at"))
    assert len(ticks) >= SECONDS - 1
    assert {(tick.kind, tick.outcome, tick.count) for tick in ticks} == {("regular", "started", 1)}
    assert {after.nominal_at - before.nominal_at for before, after in pairwise(ticks)} == {timedelta(seconds=1)}
    assert all(timedelta(0) <= tick.created_at - tick.nominal_at < timedelta(seconds=30) for tick in ticks)
    assert Execution.objects.count() == Schedule.objects.get().runs == len(ticks)
    assert list(invariants.schedules("default")) == []
