"""Signs of life: a running pass keeps its lease, an idle process has no thread, a lost lease is marked."""

import threading
import time
import uuid
from datetime import timedelta
from unittest import mock

import pytest
from django.db import OperationalError

from django_durable import client, clock, workflow
from django_durable.engine import claims, heartbeat, worker
from django_durable.engine.advance import advance
from django_durable.engine.heartbeat import Heartbeat
from django_durable.models import Timer

THREAD = "durable-heartbeat"


@pytest.fixture
def claim(durable):
    @workflow("flow")
    def flow(ctx):
        pass

    return claims.take(flow.start().id, using="default")


def eventually(condition):
    ends_at = time.monotonic() + 10
    while not condition() and time.monotonic() < ends_at:
        time.sleep(0.01)
    return condition()


def beating():
    return any(thread.name == THREAD for thread in threading.enumerate())


def test_a_beat_extends_the_lease(durable, claim):
    durable.clock.advance(timedelta(seconds=20))
    Heartbeat()._extend(claim)
    assert Timer.objects.get().due_at == clock.now() + timedelta(seconds=30)
    assert not claim.lost


def test_a_beat_without_the_lease_marks_it_as_lost(durable, claim):
    claim.token = uuid.uuid4()
    Heartbeat()._extend(claim)
    assert claim.lost


def test_a_beat_that_the_database_refuses_marks_it_as_lost(durable, claim, caplog):
    connections = mock.MagicMock()
    with (
        mock.patch.object(claims, "extend", side_effect=OperationalError("gone")),
        mock.patch.object(heartbeat, "connections", connections),
    ):
        Heartbeat()._extend(claim)
    assert claim.lost
    connections["default"].close.assert_called_once()
    assert "No sign of life" in caplog.text


def test_inside_a_transaction_no_thread_is_started(durable, claim):
    with heartbeat.keep(claim):
        assert not beating()


@pytest.mark.django_db(transaction=True)
def test_a_long_pass_keeps_its_lease_and_leaves_no_thread(settings):
    settings.DURABLE = {
        "DISPATCHER": "django_durable.dispatch.NullDispatcher",
        "LEASE_SECONDS": 30,
        "HEARTBEAT_SECONDS": 0.05,
    }
    ends = []

    def end():
        return Timer.objects.get().due_at

    def outlives_its_heartbeat():
        ends.append(end())
        ends.append(eventually(lambda: end() > ends[0]))

    @workflow("flow")
    def flow(ctx):
        ctx.step("long", outlives_its_heartbeat)

    execution = flow.start()
    worker.drain("default", using="default")
    assert client.result(execution) is None
    assert ends[1]
    assert eventually(lambda: not beating())


@pytest.mark.django_db(transaction=True)
def test_a_pass_that_lost_its_lease_starts_nothing_new(polling):
    ran = []

    @workflow("flow")
    def flow(ctx):
        ctx.step("first", lambda: ran.append("first"))
        ctx.step("second", lambda: ran.append("second"))

    execution = flow.start()
    claim = claims.take(execution.id, using="default")
    claim.lost = True
    advance(claim)
    assert ran == []
    assert client.get(execution).status == "pending"
