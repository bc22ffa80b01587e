"""The canary: all of its parts over a real worker, what it says without one, what it leaves behind."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_durable import client, registry
from django_durable.client import selfcheck
from django_durable.engine import worker
from django_durable.exceptions import InvalidOptionError, TransactionOpenError
from django_durable.models import Execution, Step
from django_durable.testing import DurableKit
from tests.models import rows

LEGS = ["start", "step", "atomic step", "child", "signal", "timer"]
with_real_commits = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("polling")]


def names(report):
    return [leg.name for leg in report.legs]


@pytest.mark.slow
@pytest.mark.usefixtures("running_worker")
def test_every_leg_happens_over_a_worker_with_a_tick():
    report = client.canary(timeout=120)
    assert (report.is_ok, report.status, report.failed, report.fix) == (True, "completed", "", "")
    assert names(report) == LEGS
    assert all(leg.seconds >= 0 for leg in report.legs)


class TestWithoutAWorker:
    pytestmark = with_real_commits

    def test_it_says_that_nobody_took_it_and_what_to_do(self):
        report = client.canary(timeout=0.05)
        assert (report.is_ok, report.failed) == (False, "start")
        assert [leg.seconds for leg in report.legs] == [None] * len(LEGS)
        assert "durable_worker" in report.fix

    def test_it_leaves_nothing_that_a_later_worker_would_do(self):
        report = client.canary(timeout=0.05)
        assert client.get(report.execution_id).status == "terminated"
        assert worker.drain("default", using="default") == 0

    def test_the_command_prints_it_and_ends_with_1(self):
        out = StringIO()
        with pytest.raises(CommandError, match="No start within") as raised:
            call_command("durable_canary", "--timeout", "0.05", stdout=out)
        assert raised.value.returncode == 1
        assert "start         did not happen" in out.getvalue()

    def test_the_command_tells_programs_as_json(self):
        out = StringIO()
        with pytest.raises(CommandError):
            call_command("durable_canary", "--timeout", "0.05", "--json", stdout=out)
        told = json.loads(out.getvalue())
        assert (told["failed"], told["legs"]["timer"]) == ("start", None)

    def test_an_unknown_queue_is_refused_and_nothing_is_written(self):
        with pytest.raises(InvalidOptionError, match="elsewhere"):
            client.canary(queue="elsewhere")
        assert not Execution.objects.exists()


def test_without_a_tick_the_timer_is_what_fails(durable: DurableKit):
    execution = selfcheck.sing.start()
    durable.run_until_idle()
    report = selfcheck.report_of(execution.id, using="default")
    assert report.failed == "timer"
    assert "durable_tick" in report.fix


@pytest.mark.django_db
def test_inside_a_transaction_it_is_refused():
    with pytest.raises(TransactionOpenError):
        client.canary()
    assert not Execution.objects.exists()


def test_finished_runs_beyond_the_last_twenty_are_deleted_with_their_histories(durable: DurableKit):
    other = rows.closed(workflow="orders")
    for _ in range(selfcheck.KEPT + 3):
        selfcheck.sing.start()
        durable.run_until_idle()
    assert Execution.objects.filter(workflow=selfcheck.NAME).count() == selfcheck.KEPT + 3  # none has ended yet
    durable.advance(timedelta(seconds=3))

    execution = selfcheck.sing.start()
    durable.advance(timedelta(seconds=3))

    assert client.get(execution).status == "completed"
    for name in (selfcheck.NAME, selfcheck.ECHO):
        assert Execution.objects.filter(workflow=name).count() == selfcheck.KEPT + 1
    assert Step.objects.filter(execution__workflow=selfcheck.NAME, name="plain").count() == selfcheck.KEPT + 1
    assert Execution.objects.filter(pk=other.pk).exists()


def test_runs_that_are_still_open_are_never_deleted(durable: DurableKit):
    for _ in range(selfcheck.KEPT + 5):
        rows.execution(workflow=selfcheck.NAME)
    selfcheck.clean(using="default")
    assert Execution.objects.filter(workflow=selfcheck.NAME).count() == selfcheck.KEPT + 5


def test_it_is_no_workflow_of_the_project():
    assert registry.knows(selfcheck.NAME, 1)
    assert not [info for info in registry.workflows() if info.name.startswith("durable.")]
