"""Signals: buffered in order, consumed once, refused when nobody will ever read them."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import transaction

from django_durable import SignalType, client, workflow
from django_durable.exceptions import ExecutionClosedError, ExecutionNotFoundError
from django_durable.models import Signal
from tests.authoring import Killed, no_op


@dataclass(frozen=True)
class Approval:
    by: str


approved = SignalType("orders.approved", payload=Approval)


@pytest.fixture
def waiting():
    """A workflow that takes three signals and returns them."""

    @workflow("flow")
    def flow(ctx):
        return [ctx.wait_for_signal("go") for _ in range(3)]

    return flow


def test_a_wait_frees_the_worker_until_the_signal_comes(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.wait_for_signal("go")

    execution = flow.start()
    durable.run_until_idle()
    found = durable.inspect(execution)
    assert (found.status, found.waiting_for, found.timer.due_at) == ("waiting", "signal go", None)
    durable.signal(execution, "go", {"by": "ada"})
    assert client.result(execution) == {"by": "ada"}


def test_signals_sent_before_the_wait_are_kept_in_order(durable, waiting):
    execution = waiting.start()
    for number in (1, 2, 3):
        client.signal(execution, "go", number)
    assert durable.run(execution) == [1, 2, 3]


def test_signals_are_consumed_in_order_one_wait_at_a_time(durable, waiting):
    execution = waiting.start()
    for number in (1, 2, 3):
        durable.signal(execution, "go", number)
    assert client.result(execution) == [1, 2, 3]
    assert [signal.consumed_by for signal in Signal.objects.order_by("seq")] == [
        "signal:go",
        "signal:go#2",
        "signal:go#3",
    ]


def test_a_signal_of_another_name_wakes_but_is_kept(durable):
    @workflow("flow")
    def flow(ctx):
        return [ctx.wait_for_signal("first"), ctx.wait_for_signal("second")]

    execution = flow.start()
    durable.signal(execution, "second", 2)
    assert durable.inspect(execution).status == "waiting"
    assert [signal.name for signal in durable.inspect(execution).pending_signals] == ["second"]
    durable.signal(execution, "first", 1)
    assert client.result(execution) == [1, 2]


def test_a_wait_that_times_out_gives_the_default_in_every_run(durable):
    seen = []

    @workflow("flow")
    def flow(ctx):
        seen.append(ctx.wait_for_signal("go", timeout=timedelta(days=3), default="nobody"))
        ctx.sleep(60)

    execution = flow.start()
    durable.advance(timedelta(days=2))
    assert seen == []
    durable.advance(timedelta(days=2))
    assert seen == ["nobody", "nobody"]
    assert client.get(execution).status == "completed"


def test_a_wait_without_time_takes_what_is_there(durable):
    @workflow("flow")
    def flow(ctx):
        return [ctx.wait_for_signal("go", timeout=0), ctx.wait_for_signal("go", timeout=0, default="empty")]

    execution = flow.start()
    client.signal(execution, "go", 1)
    assert durable.run(execution) == [1, "empty"]


def test_a_signal_after_the_time_out_is_left_for_the_next_wait(durable):
    @workflow("flow")
    def flow(ctx):
        return [ctx.wait_for_signal("go", timeout=60), ctx.wait_for_signal("go")]

    execution = flow.start()
    durable.advance(timedelta(minutes=2))
    durable.signal(execution, "go", "late")
    assert client.result(execution) == [None, "late"]


def test_the_timeout_runs_from_the_first_look(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.wait_for_signal("go", timeout=60, default="nobody")

    execution = flow.start()
    durable.run_until_idle()
    durable.advance(timedelta(seconds=50))
    durable.signal(execution, "other")
    durable.advance(timedelta(seconds=10))
    assert client.result(execution) == "nobody"


def test_none_is_a_payload_and_no_time_out(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.wait_for_signal("go", timeout=60, default="nobody")

    execution = flow.start()
    durable.signal(execution, "go", None)
    assert client.result(execution) is None


def test_a_typed_signal_arrives_as_its_class(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.wait_for_signal(approved).by

    execution = flow.start()
    durable.signal(execution, approved, Approval("ada"))
    assert client.result(execution) == "ada"


def test_a_signal_that_comes_while_the_worker_parks_is_not_lost(durable):
    started = []

    def meanwhile():
        client.signal(started[0], "go", "in time")

    @workflow("flow")
    def flow(ctx):
        ctx.step("race", meanwhile)
        return ctx.wait_for_signal("go")

    started.append(flow.start())
    assert durable.run(started[0]) == "in time"


def test_a_consumed_signal_is_not_read_again_after_a_crash(durable):
    deaths = [Killed()]

    def dies_once():
        if deaths:
            raise deaths.pop()

    @workflow("flow")
    def flow(ctx):
        first = ctx.wait_for_signal("go")
        ctx.step("die", dies_once)
        return [first, ctx.wait_for_signal("go")]

    execution = flow.start()
    client.signal(execution, "go", 1)
    client.signal(execution, "go", 2)
    with pytest.raises(Killed):
        durable.run_until_idle()
    durable.advance(timedelta(minutes=1))
    assert client.result(execution) == [1, 2]


def test_the_same_signal_id_is_accepted_once(durable, waiting):
    execution = waiting.start()
    assert client.signal(execution, "go", 1, signal_id="mail-7") is True
    assert client.signal(execution, "go", 2, signal_id="mail-7") is False
    assert [signal.payload for signal in durable.inspect(execution).pending_signals] == [1]


def test_the_same_signal_id_for_two_executions_are_two_signals(durable, waiting):
    first, second = waiting.start(), waiting.start()
    assert client.signal(first, "go", 1, signal_id="mail-7") is True
    assert client.signal(second, "go", 1, signal_id="mail-7") is True


def test_repeating_an_accepted_signal_after_the_end_is_no_error(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.wait_for_signal("go")

    execution = flow.start()
    client.signal(execution, "go", 1, signal_id="mail-7")
    durable.run(execution)
    assert client.signal(execution, "go", 1, signal_id="mail-7") is False
    with pytest.raises(ExecutionClosedError, match="is completed"):
        client.signal(execution, "go", 1, signal_id="mail-8")


def test_a_closed_execution_takes_no_signal(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.step("a", no_op)

    execution = flow.start()
    durable.run(execution)
    with pytest.raises(ExecutionClosedError, match="is completed"):
        client.signal(execution, "go")
    assert not Signal.objects.exists()


def test_an_unknown_execution_takes_no_signal(durable):
    with pytest.raises(ExecutionNotFoundError, match="No execution"):
        client.signal(uuid.uuid4(), "go")
    assert not Signal.objects.exists()


def test_a_signal_in_a_transaction_that_rolls_back_was_never_sent(durable, waiting):
    execution = waiting.start()
    durable.run_until_idle()
    with transaction.atomic():
        client.signal(execution, "go", 1)
        transaction.set_rollback(True)
    assert durable.run_until_idle() == 0
    assert not Signal.objects.exists()
