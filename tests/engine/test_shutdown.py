"""The stop flag: one byte that forked children share."""

import os

import pytest

from django_durable import workflow
from django_durable.engine import shutdown, worker
from django_durable.models import Timer


@pytest.fixture(autouse=True)
def forgotten():
    yield
    shutdown.forget()


def test_a_forked_child_sees_what_its_parent_asks_for_later():
    asked, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(asked, 1)
        os._exit(7 if shutdown.is_stopping() else 1)
    shutdown.request_stop()
    os.write(tell, b"x")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_the_running_step_finishes_and_the_rest_is_handed_back(durable):
    ran = []

    def first():
        ran.append("first")
        shutdown.request_stop()

    @workflow("shutdown.flow")
    def flow(ctx):
        ctx.step("first", first)
        ctx.step("second", lambda: ran.append("second"))

    execution = flow.start()
    worker.drain("default", using="default")
    assert ran == ["first"]
    assert Timer.objects.due().filter(token=None, pk=execution.id).exists()
    shutdown.forget()
    durable.run(execution)
    assert ran == ["first", "second"]
