"""Pollers that stop, that are several, and whose hosts have wrong clocks: the database's clock decides."""

from datetime import timedelta
from unittest import mock

import pytest
import time_machine

from django_durable import clock, workflow
from django_durable.engine.schedules import firing
from django_durable.engine.tick import tick
from django_durable.models import Execution, Schedule, ScheduleTick
from tests.schedules.making import HOUR, MINUTE, SECOND, START, make, outcomes

DAY = timedelta(days=1)


class Fleet:
    """Hosts whose wall clocks are so many hours off; the database's is the kit's."""

    def __init__(self, kit, hours):
        self.kit, self.hours = kit, hours

    def poll(self):
        for hours in self.hours:
            with time_machine.travel(clock.now() + hours * HOUR, tick=False), _wall_clock(hours):
                firing.fire_due(using="default")

    def run(self, by, every):
        until = clock.now() + by
        while clock.now() < until:
            self.kit.clock.advance(min(every, until - clock.now()))
            self.poll()


def _wall_clock(hours):
    """What ``clock.now`` says there; ``DatabaseNow`` does not ask it."""
    right = clock.now
    return mock.patch.object(clock, "now", lambda: right() + hours * HOUR)


@pytest.fixture
def plain():
    @workflow("plain")
    def plain(ctx):
        return 1

    return plain


@pytest.mark.parametrize("hours", [(-1,), (1,), (0, 0), (-1, 1, 0), (1, -1) * 5], ids=str)
def test_a_stop_of_three_days_loses_doubles_and_hastens_nothing(at_start, plain, hours):
    fleet = Fleet(at_start, hours)
    schedule = make(plain, overlap="allow", catch_up="all", catch_up_seconds=DAY.total_seconds())
    fleet.run(5 * HOUR, 20 * MINUTE)
    assert outcomes(schedule) == "s" * 5
    at_start.clock.advance(3 * DAY)
    fleet.poll()
    fleet.run(5 * HOUR, 20 * MINUTE)
    assert outcomes(schedule) == "s" * 5 + "m" * 47 + "s" * 25 + "s" * 5
    assert Execution.objects.count() == 35
    nominal = [tick.nominal_at for tick in ScheduleTick.objects.order_by("nominal_at")]
    assert nominal == [START + n * HOUR for n in range(1, 83)]


@pytest.mark.parametrize("hours", [-1, 1])
def test_nothing_is_early_by_the_real_clock_of_the_database_either(transactional_db, polling, plain, hours):
    schedule = make(plain)
    later = clock.DatabaseNow() + MINUTE
    Schedule.objects.update(next_at=later, due_at=later)
    with time_machine.travel(clock.now() + hours * HOUR, tick=True):
        tick(using="default")
        assert outcomes(schedule) == ""
        Schedule.objects.update(next_at=clock.DatabaseNow() - SECOND, due_at=clock.DatabaseNow() - SECOND)
        tick(using="default")
    assert outcomes(schedule) == "s"
