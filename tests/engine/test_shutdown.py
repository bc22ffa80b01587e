"""Stopping: a pass ends at the next step and the execution goes back at once."""

import os

import pytest

from django_durable import client, workflow
from django_durable.engine import shutdown, worker
from django_durable.models import Timer
from tests.authoring import no_op


def test_asking_is_seen_until_it_is_forgotten(stopping):
    assert shutdown.is_stopping()
    shutdown.forget()
    assert not shutdown.is_stopping()


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_children_see_what_the_parent_asks_after_the_fork(stopping):
    shutdown.forget()
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.read(reading, 1)  # until the parent has asked
            os._exit(7 if shutdown.is_stopping() else 1)
        finally:
            os._exit(1)
    shutdown.request_stop()
    os.write(writing, b".")
    _, status = os.waitpid(pid, 0)
    os.close(reading)
    os.close(writing)
    assert os.waitstatus_to_exitcode(status) == 7


def test_the_running_step_is_finished_and_the_execution_handed_back(durable, stopping):
    shutdown.forget()
    ran = []

    @workflow("flow")
    def flow(ctx):
        ctx.step("first", lambda: shutdown.request_stop() or ran.append("first"))
        ctx.step("second", lambda: ran.append("second"))
        return "done"

    execution = flow.start()
    durable.run_until_idle()
    row = Timer.objects.get()
    assert (ran, row.token, row.holder, row.claims) == (["first"], None, "", 0)
    assert Timer.objects.due().exists()
    shutdown.forget()
    assert durable.run(execution) == "done"
    assert ran == ["first", "second"]


def test_a_stopping_worker_claims_nothing(durable, stopping):
    @workflow("flow")
    def flow(ctx):
        ctx.step("a", no_op)

    execution = flow.start()
    assert worker.drain("default", using="default") == 0
    assert worker.advance_one(execution.id, using="default") is False
    assert client.get(execution).status == "pending"


def test_a_wait_parks_as_ever_while_the_worker_stops(durable, stopping):
    shutdown.forget()

    @workflow("flow")
    def flow(ctx):
        ctx.step("first", shutdown.request_stop)
        ctx.wait_for_signal("go")

    execution = flow.start()
    durable.run_until_idle()
    assert client.get(execution).status == "waiting"
