"""The embedded worker: threads that poll, claim and advance until they are told to stop."""

import logging
import threading
import time

import pytest
from django.db import OperationalError, connection

from django_durable import client, workflow
from django_durable.engine import embedded, shutdown
from django_durable.engine.embedded import EmbeddedWorker
from django_durable.models import Execution
from tests.pgbouncer import has_own_sessions

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("polling")]


@pytest.fixture(autouse=True)
def forget_the_stop():
    yield
    shutdown.forget()


def make(**options):
    return EmbeddedWorker(**{"queues": ["default"], "threads": 2, "using": "default", **options})


@pytest.fixture
def flow():
    @workflow("flow")
    def flow(ctx, number):
        return ctx.step("double", lambda: 2 * number)

    return flow


def test_until_idle_runs_everything_due_and_returns(flow):
    started = [flow.start(number) for number in range(6)]
    assert make().run(until_idle=True) == 6
    assert [client.result(execution) for execution in started] == [0, 2, 4, 6, 8, 10]


def test_with_nothing_due_it_returns_at_once():
    assert make().run(until_idle=True) == 0


def test_it_keeps_to_its_queues(settings, flow):
    settings.DURABLE = {**settings.DURABLE, "QUEUES": ("default", "slow")}
    flow.using(queue="slow").start(1)
    assert make().run(until_idle=True) == 0
    assert make(queues=["default", "slow"]).run(until_idle=True) == 1


def test_no_two_threads_advance_the_same_execution(flow):
    ran, counted = [], threading.Lock()

    @workflow("counted")
    def counted_flow(ctx, number):
        def body():
            with counted:
                ran.append(number)

        ctx.step("count", body)

    for number in range(10):
        counted_flow.start(number)
    make(threads=3).run(until_idle=True)
    assert sorted(ran) == list(range(10))


def test_it_polls_until_it_is_stopped(flow):
    worker = make()
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        execution = flow.start(4)
        assert client.result(execution, timeout=20) == 8
    finally:
        worker.stop()
        thread.join(20)
    assert not thread.is_alive()


def test_a_stop_hands_back_what_has_more_steps(monkeypatch):
    @workflow("flow")
    def flow(ctx):
        ctx.step("first", lambda: worker.stop())
        ctx.step("second", lambda: None)

    worker = make(threads=1)
    execution = flow.start()
    assert worker.run() == 1
    row = client.get(execution)
    assert (row.status, row.timer.token, row.steps.count()) == ("pending", None, 1)


def test_it_goes_on_after_the_database_failed(flow, monkeypatch, caplog):
    real, failures = embedded.worker.drain, [OperationalError("gone")]

    def drain(queue, *, using):
        if failures:
            raise failures.pop()
        return real(queue, using=using)

    monkeypatch.setattr(embedded.worker, "drain", drain)
    monkeypatch.setattr(embedded, "RECONNECT_SECONDS", 0.01)
    execution = flow.start(1)
    with caplog.at_level(logging.WARNING, "django_durable.worker"):
        make(threads=1).run(until_idle=True)
    assert client.result(execution) == 2
    assert "A pass failed; trying again." in caplog.text


def test_it_ticks_and_survives_a_tick_that_fails(monkeypatch, caplog):
    ticked = threading.Event()
    calls = []

    def tick(*, using):
        calls.append(using)
        if len(calls) == 1:
            raise OperationalError("gone")
        ticked.set()

    monkeypatch.setattr(embedded, "tick", tick)
    monkeypatch.setattr(embedded, "TICK_SECONDS", 0.01)
    worker = make(threads=1)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        assert ticked.wait(20)
    finally:
        worker.stop()
        thread.join(20)
    assert "The tick failed; trying again." in caplog.text


@has_own_sessions
def test_its_threads_leave_no_connection_behind(flow):
    if connection.vendor != "postgresql":
        pytest.skip("PostgreSQL can be asked")
    flow.start(1)
    make(threads=3).run(until_idle=True)
    assert Execution.objects.get().status == "completed"

    def others():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            return cursor.fetchone()[0]

    ends_at = time.monotonic() + 5  # the server notices a closed connection a moment later
    while others() and time.monotonic() < ends_at:
        time.sleep(0.01)
    assert others() == 0
