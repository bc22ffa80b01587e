"""``client.schedule``: a start for later is an execution like any other, from now on."""

from datetime import UTC, datetime, timedelta

import pytest

from django_durable import Coalesce, ExecutionCancelledError, InvalidOptionError, client, workflow
from django_durable.models import Execution

HOUR = timedelta(hours=1)
DEBOUNCE, THROTTLE = Coalesce.debounce(5, key="k"), Coalesce.throttle(5, key="k")


@pytest.fixture
def report(durable):
    @workflow("client.report")
    def report(ctx, day: str, at: str = "noon") -> str:
        return f"{day} {at}"

    return report


@pytest.mark.parametrize("by_name", [True, False])
def test_it_begins_at_its_time_and_not_before(durable, report, by_name):
    run = client.schedule("client.report" if by_name else report, "monday", at=durable.clock.now() + HOUR)

    durable.advance(HOUR - timedelta(seconds=1))
    assert client.get(run).status == "pending"
    durable.advance(timedelta(seconds=1))
    assert client.result(run) == "monday noon"


def test_a_time_that_is_past_is_now(durable, report):
    run = client.schedule(report, "monday", at=datetime(2001, 1, 1, tzinfo=UTC))
    assert durable.run(run) == "monday noon"


def test_it_is_listed_woken_and_cancelled_before_it_begins(durable, report):
    first, second = (client.schedule(report, day, delay=HOUR) for day in ("monday", "tuesday"))
    assert set(client.find(workflow="client.report", status="pending")) == {first, second}

    client.wake_now(first)
    client.cancel(second)

    assert durable.run(first) == "monday noon"
    with pytest.raises(ExecutionCancelledError):
        client.result(second)


def test_a_prepared_start_brings_its_options_and_arguments(durable, report):
    prepared = report.using(key="monday", labels={"tenant": "acme"}).prepare("monday", at="night")

    run = client.schedule(prepared, delay=HOUR)

    assert (run.key, run.labels) == ("monday", {"tenant": "acme"})
    assert client.schedule(prepared, delay=HOUR) == run
    durable.advance(HOUR)
    assert client.result(run) == "monday night"


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda flow: client.schedule(flow, "monday"), "give at= or delay="),
        (lambda flow: client.schedule(flow, "monday", at=datetime(2026, 1, 1)), "no time zone"),
        (lambda flow: client.schedule(flow, "monday", delay=-1), "duration from 0"),
        (lambda flow: client.schedule(flow, "monday", delay=1, at=datetime.now(UTC)), "not both"),
        (lambda flow: client.schedule(flow.prepare("monday"), "tuesday", delay=1), "has its arguments"),
        (lambda flow: client.schedule(flow.using(delay=1).prepare("monday"), delay=1), "here only"),
        (lambda flow: client.schedule(flow.using(coalesce=DEBOUNCE).prepare("monday"), delay=1), "here only"),
        (lambda flow: client.schedule(flow.using(coalesce=THROTTLE).prepare("monday"), delay=1), "says when to begin"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_written(report, call, told):
    with pytest.raises(InvalidOptionError, match=told):
        call(report)
    assert not Execution.objects.exists()
