"""The test kit, as its users have it: in a plain TestCase, rolled back, under a clock that the test moves."""

import unittest
from datetime import timedelta

import pytest
from django.db import connection
from django.test import TestCase

from django_durable import Retry, client, clock, conf, dispatch, step, workflow
from django_durable.exceptions import ExecutionFailedError, TransactionOpenError
from django_durable.models import Execution
from django_durable.testing import DurableKit, DurableTestMixin, NotIdleError
from tests.authoring import Deployed, no_op
from tests.schedules.making import make


@step(retry=Retry(initial_seconds=60, jitter=0))
def charge(order_id):
    raise AssertionError("the outside world")


def fulfil_code(ctx, order_id):
    charged = ctx.step(charge, order_id)
    answer = ctx.wait_for_signal("approved", timeout=timedelta(days=3), default="nobody")
    ctx.sleep(timedelta(hours=1))
    return [charged, answer]


@pytest.fixture
def fulfil():
    return Deployed("kit.fulfil", fulfil_code).workflow


# -- in a TestCase -------------------------------------------------------------------------------------


class ShopTests(DurableTestMixin, TestCase):
    """Exactly what a user writes."""

    def setUp(self):
        super().setUp()
        self.fulfil = Deployed("kit.fulfil", fulfil_code).workflow

    def test_a_story_of_four_days(self):
        with self.durable.stub(charge, "ch_1") as calls:
            execution = self.fulfil.start(7)
            self.durable.run_until_idle()
            self.assertEqual(calls, [((7,), {})])
            self.assertEqual(self.durable.inspect(execution).waiting_for, "signal approved")
            self.durable.signal(execution, "approved", "ada")
            self.durable.advance(timedelta(hours=1))
        self.assertEqual(client.result(execution), ["ch_1", "ada"])

    def test_nothing_is_left_of_the_other_tests(self):
        self.assertEqual(Execution.objects.count(), 0)
        self.assertTrue(connection.in_atomic_block)
        self.fulfil.start(7)

    def test_the_broker_is_not_asked(self):
        self.assertIsInstance(dispatch.get_dispatcher(), dispatch.NullDispatcher)

    def test_waiting_says_what_to_call_instead(self):
        with self.assertRaisesRegex(TransactionOpenError, "run_until_idle"):
            client.result(self.fulfil.start(7))


@pytest.mark.django_db
def test_a_test_case_in_the_middle_of_a_suite_leaves_clock_and_settings_alone():
    before = conf.get_settings()
    suite = unittest.defaultTestLoader.loadTestsFromName(f"{__name__}.ShopTests.test_the_broker_is_not_asked")
    result = unittest.TestResult()
    suite.run(result)
    assert result.wasSuccessful(), result.errors
    assert not clock.is_frozen()
    assert conf.get_settings() == before


# -- running -------------------------------------------------------------------------------------------


def test_run_returns_the_result_or_raises_the_failure(durable):
    deployed = Deployed("flow", lambda ctx, number: 6 / number)
    assert durable.run(deployed.workflow.start(2)) == 3
    with pytest.raises(ExecutionFailedError, match="ZeroDivisionError"):
        durable.run(deployed.workflow.start(0))


def test_run_until_idle_counts_the_passes_and_ends(durable):
    deployed = Deployed("flow", no_op)
    for _ in range(3):
        deployed.workflow.start()
    assert durable.run_until_idle() == 3
    assert durable.run_until_idle() == 0


def test_every_queue_is_run(durable):
    @workflow("flow", queue="reports")
    def flow(ctx):
        return "done"

    assert durable.run(flow.start()) == "done"


def test_the_clock_stands_still_by_itself(durable):
    assert clock.now() == durable.clock.now() == clock.now()


def test_time_fires_every_timer_at_its_own_moment(durable):
    began, seen = clock.now(), []

    def code(ctx, seconds):
        for _ in range(2):
            ctx.sleep(seconds)
            seen.append((clock.now() - began).total_seconds())
            ctx.step("a", no_op)

    deployed = Deployed("flow", code)
    for seconds in (100, 60):
        deployed.workflow.start(seconds)
    durable.advance(timedelta(hours=1))
    assert sorted(set(seen)) == [60, 100, 120, 200]
    assert clock.now() == began + timedelta(hours=1)


def test_time_that_fires_nothing_only_passes(durable):
    began = clock.now()
    assert durable.advance(timedelta(days=1)) == 0
    assert clock.now() == began + timedelta(days=1)


def test_time_does_not_go_back(durable):
    with pytest.raises(ValueError, match="forward"):
        durable.clock.advance(timedelta(seconds=-1))


def test_a_timer_on_a_queue_that_nobody_reads_is_an_error_and_no_loop(durable, settings):
    given = settings.DURABLE
    settings.DURABLE = {**given, "QUEUES": ("default", "forgotten")}
    Deployed("flow", no_op).workflow.using(queue="forgotten", delay=60).start()
    settings.DURABLE = given
    with pytest.raises(NotIdleError, match="queue that nobody reads"):
        durable.advance(timedelta(minutes=5))


def test_what_never_gets_idle_is_an_error(durable, monkeypatch):
    monkeypatch.setattr("django_durable.testing.kit.MOST_PASSES", 3)
    for _ in range(5):
        Deployed(f"flow{_}", no_op).workflow.start()
    with pytest.raises(NotIdleError, match="loop without a wait"):
        durable.run_until_idle()


# -- stubs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", [charge, "charge"], ids=["function", "step id"])
def test_a_stub_stands_for_a_step_and_its_result_is_recorded(durable, fulfil, named):
    execution = fulfil.start(7)
    with durable.stub(named, "ch_1") as calls:
        durable.run_until_idle()
    durable.advance(timedelta(days=4))
    assert client.result(execution) == ["ch_1", "nobody"]
    assert calls == [((7,), {})]


def test_a_stub_may_compute_its_result(durable, fulfil):
    execution = fulfil.start(7)
    with durable.stub(charge, lambda order_id: f"ch_{order_id}"):
        durable.advance(timedelta(days=4))
    assert client.result(execution) == ["ch_7", "nobody"]


def test_a_stub_that_raises_goes_through_the_retry_policy(durable, fulfil):
    execution = fulfil.start(7)
    with durable.stub(charge, raises=ConnectionError("down")) as calls:
        durable.run_until_idle()
        assert client.get(execution).status == "retrying"
    with durable.stub(charge, "ch_1"):
        durable.advance(timedelta(days=4))
    assert client.result(execution) == ["ch_1", "nobody"]
    assert len(calls) == 1


def test_after_the_block_the_real_step_is_back(durable, fulfil):
    with durable.stub(charge, "ch_1"):
        pass
    execution = fulfil.start(7)
    durable.run_until_idle()
    assert "the outside world" in durable.inspect(execution).history[0].error


def test_running_something_that_still_waits_says_what_it_waits_for(durable):
    execution = Deployed("flow", lambda ctx: ctx.wait_for_signal("go")).workflow.start()
    with pytest.raises(AssertionError, match="is waiting, waiting for signal go"):
        durable.run(execution)


def test_two_kits_in_turn_do_not_disturb_each_other(db):
    with DurableKit() as first:
        at = first.clock.now()
        first.advance(timedelta(days=1))
    with DurableKit() as second:
        assert second.clock.now() < at + timedelta(days=1)
    assert not clock.is_frozen()


# -- schedules -----------------------------------------------------------------------------------------


def test_time_that_passes_fires_schedules_on_the_way(durable):
    seen = []

    @workflow("kit.hourly")
    def hourly(ctx, at):
        seen.append(at)
        ctx.sleep(timedelta(minutes=20))
        seen.append(ctx.now())

    began = durable.clock.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    durable.clock.move_to(began)
    schedule = make(hourly, "{scheduled_at}", after=began)
    assert durable.advance(timedelta(hours=25, minutes=30)) > 50
    wanted = [began + timedelta(hours=hour) for hour in range(1, 26)]
    assert seen[::3] == [at.isoformat() for at in wanted]
    assert seen[2::3] == [at + timedelta(minutes=20) for at in wanted]
    assert schedule.ticks.filter(outcome="started").count() == 25


def test_idle_schedules_cost_the_kit_one_statement(durable, django_assert_num_queries):
    with django_assert_num_queries(4):  # of which one asks the queue, and two for slots
        durable.run_until_idle()
