"""Defects that a reviewer's scratch tests have shown, kept so that they stay mended."""

import asyncio
import time
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import pytest
from django.db import InternalError, OperationalError, connection

from django_durable import Cancelled, Retry, SignalType, client, step, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import advance, claims, heartbeat, shutdown, worker
from django_durable.engine.embedded import EmbeddedWorker
from django_durable.models import Execution, Signal, Step, Timer
from tests.authoring import Killed, no_op

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("polling")]


@dataclass
class Renamed:
    number: int


SignalType("hard.renamed", payload=Renamed)


def as_other_code_wrote_it(text):
    return text.replace("Renamed", "NotHereAnyMore")


@contextmanager
def failing(part_of_sql, error, times=1):
    left = [times]

    def statement(execute, sql, params, many, context):
        if part_of_sql in sql and not sql.startswith("SELECT") and left[0]:
            left[0] -= 1
            raise error
        return execute(sql, params, many, context)

    with connection.execute_wrapper(statement):
        yield


def drained():
    worker.drain("default", using="default")
    return Execution.objects.get()


def due_again():
    Timer.objects.filter(due_at__isnull=False).update(due_at=DatabaseNow())


@pytest.mark.parametrize("retry", [Retry(max_attempts=1), Retry(max_attempts=3, initial_seconds=0, jitter=0)])
def test_a_database_that_refuses_a_record_is_no_failure_of_the_step(retry):
    ran = []

    @workflow("hard.readonly")
    def flow(ctx):
        try:
            ctx.step(step(name="charge", retry=retry)(lambda: ran.append("charge")))
        except Exception:
            ctx.step("refund", lambda: ran.append("refund"))

    flow.start()
    refused = InternalError("cannot execute INSERT in a read-only transaction")
    with failing("INSERT INTO", refused), pytest.raises(InternalError):
        drained()
    assert ran == ["charge"]
    assert Step.objects.count() == 0


def test_progress_that_cannot_be_written_decides_nothing():
    ran = []

    @workflow("hard.progress")
    def flow(ctx):
        try:
            ctx.progress(1, 2, "x")
        except Exception:
            ctx.step("refund", lambda: ran.append("refund"))

    flow.start()
    with failing("progress_current", OperationalError("server closed the connection unexpectedly")):
        assert drained().status == "completed"
    assert ran == []


def test_an_input_that_this_code_cannot_read_waits_for_other_code():
    @workflow("hard.input")
    def flow(ctx, given):
        return None

    execution = flow.start(Renamed(1))
    text = Execution.objects.get().input
    Execution.objects.update(input=as_other_code_wrote_it(text))
    assert (drained().status, Execution.objects.get().stuck_reason) == ("stuck", "nondeterminism")
    Execution.objects.update(input=text)
    due_again()
    assert drained().status == "completed"
    assert client.get(execution).error is None


def test_a_result_that_this_code_cannot_read_waits_for_other_code():
    @workflow("hard.result")
    def flow(ctx):
        ctx.step("a", lambda: Renamed(1))
        ctx.wait_for_signal("go")

    flow.start()
    drained()
    Step.objects.filter(name="a").update(result=as_other_code_wrote_it(Step.objects.get(name="a").result))
    due = Timer.objects.get()
    client.signal(due.execution_id, "go")
    assert (drained().status, Signal.objects.get().consumed_by) == ("stuck", "")


def test_a_signal_that_this_code_cannot_read_is_not_consumed():
    @workflow("hard.signal")
    def flow(ctx):
        return ctx.wait_for_signal("go")

    execution = flow.start()
    drained()
    client.signal(execution, "go", Renamed(1))
    Signal.objects.update(payload=as_other_code_wrote_it(Signal.objects.get().payload))
    assert (drained().status, Signal.objects.get().consumed_by) == ("stuck", "")


def test_an_embedded_worker_survives_what_a_pass_raises(monkeypatch):
    failed = []
    real = advance.advance

    def advance_once_badly(claim):
        if not failed:
            failed.append(claim)
            raise RuntimeError("a defect")
        real(claim)

    monkeypatch.setattr(worker, "advance", advance_once_badly)
    monkeypatch.setattr("django_durable.engine.embedded.RECONNECT_SECONDS", 0.01)

    @workflow("hard.embedded")
    def flow(ctx, number):
        return number

    flow.start(1)
    flow.start(2)
    EmbeddedWorker(queues=["default"], threads=1, using="default").run(until_idle=True)
    shutdown.forget()
    assert failed
    assert Execution.objects.filter(status="completed").count() == 1


def test_names_and_keys_that_look_alike_are_apart():
    ran = []

    @workflow("hard.names")
    def flow(ctx):
        ctx.step("Charge", lambda: ran.append("Charge"))
        ctx.step("charge", lambda: ran.append("charge"))
        return [ctx.wait_for_signal("go"), ctx.wait_for_signal("go")]

    first, second = flow.using(key="A").start(), flow.using(key="a").start()
    assert first.id != second.id
    assert [client.signal(first, "go", text, signal_id=text) for text in ("X", "x")] == [True, True]
    worker.drain("default", using="default")
    assert client.result(first) == ["X", "x"]
    assert sorted(ran) == ["Charge", "Charge", "charge", "charge"]


def test_a_long_error_name_does_not_keep_an_execution_open():
    @workflow("hard.long")
    def flow(ctx):
        raise type("E" * 250, (Exception,), {})("x")

    flow.start()
    assert drained().status == "failed"


def test_a_cancelled_coroutine_is_a_failed_step():
    async def body():
        task = asyncio.ensure_future(asyncio.sleep(10))
        task.cancel()
        await task

    @workflow("hard.coroutine")
    def flow(ctx):
        ctx.step("a", body)

    flow.start()
    assert drained().status == "failed"


def test_a_cancel_after_a_death_in_the_first_step_still_cleans_up():
    ran = []

    def body():
        ran.append("charge")
        raise Killed

    @workflow("hard.first")
    def flow(ctx):
        try:
            ctx.step("charge", body)
        except Cancelled:
            ctx.step("refund", lambda: ran.append("refund"))
            raise

    execution = flow.start()
    with pytest.raises(Killed):
        drained()
    client.cancel(execution)
    due_again()
    assert drained().status == "cancelled"
    assert ran == ["charge", "refund"]


def test_clean_up_that_waits_shows_as_cancelling():
    @workflow("hard.cancelling")
    def flow(ctx):
        try:
            ctx.step("a", lambda: client.cancel(ctx.execution_id))
            ctx.step("b", no_op)
        except Cancelled:
            ctx.sleep(100)

    flow.start()
    assert drained().status == "cancelling"


def test_a_refusal_long_ago_does_not_count_after_a_hand_back():
    @workflow("hard.refused")
    def flow(ctx):
        ctx.step("a", shutdown.request_stop)
        ctx.step("b", no_op)

    flow.start()
    Timer.objects.update(refused_since=DatabaseNow())
    try:
        drained()
    finally:
        shutdown.forget()
    assert Timer.objects.get().refused_since is None


def test_the_heartbeat_comes_back_after_an_error_of_any_kind(settings):
    settings.DURABLE = {**settings.DURABLE, "LEASE_SECONDS": 1.0, "HEARTBEAT_SECONDS": 0.05}

    @workflow("hard.heartbeat")
    def flow(ctx):
        return None

    flow.start()
    flow.start()
    beats = heartbeat.Heartbeat()
    first, second = (claims.take_next("default", using="default") for _ in range(2))
    extended = mock.Mock(side_effect=RuntimeError("a driver's defect"))
    with mock.patch.object(claims, "extend", extended):
        beats.add(first)
        assert wait_until(lambda: first.lost)
        beats.remove(first)
        extended.side_effect = None
        extended.return_value = True
        extended.reset_mock()
        beats.add(second)
        assert wait_until(lambda: extended.called)
        beats.remove(second)
    assert not second.lost


def wait_until(is_true, seconds=10):
    ends_at = time.monotonic() + seconds
    while not is_true() and time.monotonic() < ends_at:
        time.sleep(0.01)
    return is_true()
