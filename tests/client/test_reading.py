"""result, get, find, inspect."""

import threading
from datetime import timedelta

import pytest
from django.db import connection, transaction

from django_durable import (
    ExecutionCancelledError,
    ExecutionFailedError,
    ExecutionNotFoundError,
    ExecutionTerminatedError,
    ExecutionTimedOutError,
    InvalidOptionError,
    ResultTimeoutError,
    TransactionOpenError,
    client,
    step,
    workflow,
)
from django_durable.engine import worker


@pytest.fixture
def waits():
    @workflow("read.waits")
    def waits(ctx):
        return ctx.wait_for_signal("go")

    return waits


def test_result_raises_what_ended_the_execution(durable):
    @workflow("read.fails")
    def fails(ctx):
        raise ValueError("no stock")

    execution = fails.start()
    with pytest.raises(ExecutionFailedError) as caught:
        durable.run(execution)
    assert (caught.value.type_name, caught.value.message) == ("builtins.ValueError", "no stock")
    assert "raise ValueError" in caught.value.traceback_text


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (lambda durable, pk: client.cancel(pk, reason="why"), ExecutionCancelledError),
        (lambda durable, pk: client.terminate(pk, reason="why"), ExecutionTerminatedError),
        (lambda durable, pk: durable.advance(timedelta(seconds=61)), ExecutionTimedOutError),
    ],
)
def test_each_end_without_a_result_has_its_own_error(durable, waits, end, error):
    execution = waits.using(timeout=60).start()
    durable.run_until_idle()
    end(durable, execution.id)
    with pytest.raises(error):
        durable.run(execution)


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_result_waits_for_a_worker(waits):
    execution = waits.start()
    client.signal(execution, "go", 42)

    def work():
        try:
            worker.drain("default", using="default")
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        assert client.result(execution, timeout=20) == 42
    finally:
        thread.join()


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_result_gives_up_after_its_timeout_and_changes_nothing(waits):
    execution = waits.start()
    with pytest.raises(ResultTimeoutError, match="still pending"):
        client.result(execution, timeout=0.05)
    assert client.get(execution).status == "pending"


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_result_in_a_transaction_is_refused_at_once(waits):
    execution = waits.start()
    with transaction.atomic(), pytest.raises(TransactionOpenError):
        client.result(execution)


def test_inspect_is_a_whole_and_plain_picture(durable):
    @step
    def charge(order):
        return f"ch_{order}"

    @workflow("read.picture")
    def flow(ctx, order):
        ctx.step(charge, order)
        ctx.wait_for_signal("approve", timeout=3600)

    execution = flow.using(key="k").start(7)
    durable.run_until_idle()
    client.signal(execution, "other", {"n": 1})
    found = client.inspect(execution.id)
    assert (found.status, found.waiting_for) == ("waiting", "signal approve")
    assert found.waiting_until == durable.clock.now() + timedelta(hours=1)
    assert [(s.step_id, s.kind, s.status, s.result) for s in found.history] == [
        ("charge", "step", "completed", "ch_7"),
        ("signal:approve", "wait", "waiting", None),
    ]
    assert [(s.name, s.payload) for s in found.pending_signals] == [("other", {"n": 1})]
    assert (found.timer.queue, found.timer.is_leased) == ("default", False)
    assert found.input == {"args": [7], "kwargs": {}}


def test_find_filters_and_knows_the_statuses(durable, waits):
    execution = waits.using(key="k").start()
    durable.run_until_idle()
    assert [row.id for row in client.find(status="waiting", workflow="read.waits", key="k")] == [execution.id]
    assert not client.find(status="running").exists()
    with pytest.raises(InvalidOptionError, match="give one of"):
        client.find(status="nonsense")


@pytest.mark.parametrize("reader", [client.get, client.inspect, client.result])
def test_what_does_not_exist_is_said_to(durable, reader):
    with pytest.raises(ExecutionNotFoundError):
        reader("01900000-0000-7000-8000-000000000000")
    with pytest.raises(InvalidOptionError, match="give a UUID"):
        reader("not-an-id")
