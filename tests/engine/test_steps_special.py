"""Steps with a contract of their own: atomic, at most once, and within a time."""

import threading
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError

from django_durable import Retry, StepInterrupted, StepTimedOut, client, current_step, step, workflow
from django_durable.engine import worker
from django_durable.exceptions import CodecError, ExecutionFailedError
from django_durable.models import StepStatus
from tests.authoring import Killed, only_step, started

STEADY = {"initial_seconds": 10, "multiplier": 1, "jitter": 0}


class Boom(Exception):
    pass


# -- atomic steps --------------------------------------------------------------------------------------


def test_an_atomic_body_and_its_checkpoint_are_there_together(durable):
    execution = started(lambda: Group.objects.create(name="kept").name, atomic=True)
    assert durable.run(execution) == "kept"
    assert Group.objects.filter(name="kept").count() == 1
    assert only_step(execution).status == StepStatus.COMPLETED


def test_an_error_in_an_atomic_body_undoes_its_writes_and_is_recorded(durable):
    def body():
        Group.objects.create(name="undone")
        raise Boom("no")

    execution = started(body, atomic=True)
    with pytest.raises(ExecutionFailedError, match="Boom: no"):
        durable.run(execution)
    assert not Group.objects.exists()
    row = only_step(execution)
    assert (row.status, row.attempts) == (StepStatus.FAILED, 1)


def test_an_atomic_step_that_is_tried_again_counts_once(durable):
    failures = [Boom()]

    def body():
        Group.objects.create(name="once")
        if failures:
            raise failures.pop()
        return "done"

    execution = started(body, atomic=True, retry=Retry(max_attempts=2, **STEADY))
    durable.advance(timedelta(minutes=1))
    assert client.result(execution) == "done"
    assert Group.objects.filter(name="once").count() == 1
    assert only_step(execution).attempts == 2


def test_a_checkpoint_that_cannot_be_stored_undoes_the_writes(durable):
    def body():
        return Group.objects.create(name="undone")  # a model instance

    execution = started(body, atomic=True)
    with pytest.raises(ExecutionFailedError, match=CodecError.__name__):
        durable.run(execution)
    assert not Group.objects.exists()


def test_a_database_error_that_an_atomic_body_swallows_fails_the_step(durable):
    def body():
        Group.objects.create(name="twice")
        try:
            Group.objects.create(name="twice")
        except IntegrityError:
            return "looks fine"

    execution = started(body, atomic=True)
    with pytest.raises(ExecutionFailedError):
        durable.run(execution)
    assert not Group.objects.exists()
    assert only_step(execution).status == StepStatus.FAILED


def test_a_worker_that_dies_in_an_atomic_body_leaves_nothing(durable):
    deaths = [Killed()]

    def body():
        Group.objects.create(name="once")
        if deaths:
            raise deaths.pop()
        return "done"

    execution = started(body, atomic=True)
    with pytest.raises(Killed):
        durable.run_until_idle()
    assert not Group.objects.exists()
    durable.advance(timedelta(minutes=1))
    assert client.result(execution) == "done"
    assert Group.objects.filter(name="once").count() == 1


# -- at-most-once steps --------------------------------------------------------------------------------


def test_an_at_most_once_step_runs_and_is_recorded(durable):
    execution = started(lambda: "sent", at_most_once=True)
    assert durable.run(execution) == "sent"
    assert only_step(execution).attempts == 1


def test_an_at_most_once_step_whose_worker_died_is_not_started_again(durable):
    caught, runs = [], []

    def body():
        runs.append(1)
        raise Killed

    @workflow("flow")
    def flow(ctx):
        try:
            ctx.step(step(name="mail", at_most_once=True)(body))
        except StepInterrupted as error:
            caught.append(error.step_id)
        ctx.sleep(60)
        return "asked a person"

    execution = flow.start()
    with pytest.raises(Killed):
        durable.run_until_idle()
    assert only_step(execution).status == StepStatus.STARTED
    durable.advance(timedelta(minutes=5))
    assert client.result(execution) == "asked a person"
    assert runs == [1]
    assert caught == ["mail", "mail"]


# -- time limits ---------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_body_that_hangs_is_abandoned_and_its_late_answer_refused(polling):
    go_on, ended = threading.Event(), threading.Event()

    def hangs():
        go_on.wait(10)
        ended.set()
        return "too late"

    execution = started(hangs, timeout=0.1)
    worker.drain("default", using="default")
    with pytest.raises(ExecutionFailedError, match=r"took longer than 0.1 s"):
        client.result(execution)
    go_on.set()
    assert ended.wait(10)
    row = only_step(execution)
    assert (row.status, row.result) == (StepStatus.FAILED, None)


@pytest.mark.django_db(transaction=True)
def test_a_timed_out_attempt_may_be_tried_again(polling):
    go_on, runs = threading.Event(), []

    def hangs_once():
        runs.append(current_step().attempt)
        if len(runs) == 1:
            go_on.wait(10)
        return "done"

    execution = started(hangs_once, timeout=0.2, retry=Retry(initial_seconds=0))
    worker.drain("default", using="default")
    go_on.set()
    assert client.result(execution) == "done"
    assert runs == [1, 2]


@pytest.mark.django_db(transaction=True)
def test_a_body_in_time_returns_from_its_thread(polling):
    execution = started(lambda: threading.current_thread().name, timeout=30)
    worker.drain("default", using="default")
    assert client.result(execution) == "step only"


@pytest.mark.django_db(transaction=True)
def test_a_timeout_error_of_the_body_itself_is_its_own(polling):
    def fails():
        raise TimeoutError("the socket")

    execution = started(fails, timeout=30)
    worker.drain("default", using="default")
    with pytest.raises(ExecutionFailedError, match="TimeoutError: the socket"):
        client.result(execution)


def test_the_workflow_catches_a_timeout_as_itself_in_every_run(durable):
    caught = []

    @workflow("flow")
    def flow(ctx):
        try:
            ctx.step(step(name="slow", timeout=5)(lambda: durable.clock.advance(timedelta(seconds=6))))
        except StepTimedOut as error:
            caught.append((error.step_id, error.attempts))
        ctx.sleep(60)

    flow.start()
    durable.advance(timedelta(minutes=2))
    assert caught == [("slow", 1)] * 2


def test_an_atomic_body_over_its_time_is_undone(durable):
    def body():
        Group.objects.create(name="undone")
        durable.clock.advance(timedelta(seconds=6))

    execution = started(body, atomic=True, timeout=5)
    with pytest.raises(ExecutionFailedError, match="took longer than 5 s"):
        durable.run(execution)
    assert not Group.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_an_atomic_body_over_its_time_is_undone_in_its_own_transaction_too(polling):
    def body():
        Group.objects.create(name="undone")
        threading.Event().wait(0.06)

    execution = started(body, atomic=True, timeout=0.03)
    worker.drain("default", using="default")
    with pytest.raises(ExecutionFailedError, match="took longer"):
        client.result(execution)
    assert not Group.objects.exists()
