"""Real workers: everything finishes, whatever the pool and the broker, whoever stops or dies, whatever is lost."""

import os
import signal
import time

import pytest

from django_durable import client
from django_durable.models import Step, StepStatus, Timer
from tests.celery.extra.workflows import newer
from tests.celery.observing import Trace, holder_pid, result_of
from tests.celery.processes import LONG_LEASE, Fleet, processes_of
from tests.celery.workflows import mixed, two_steps

# What no broker can change is looked at over one of them, to keep the suite short.
over_redis = pytest.mark.parametrize("broker_url", ["redis"], indirect=True)
pytestmark = [pytest.mark.celery, pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_mixed_workload_finishes(fleet: Fleet, trace: Trace, pool: str) -> None:
    fleet.plain_beat()
    fleet.worker(pool)

    executions = [mixed.start(str(trace)) for _ in range(4)]
    for number, execution in enumerate(executions):
        client.signal(execution, "go", number)

    for number, execution in enumerate(executions):
        assert result_of(fleet, execution) == {"attempts": 3, "answer": number, "found": True}
    assert len(trace.of("first")) == 4
    assert len(trace.of("flaky")) == 12
    assert len(trace.of("atomic")) == 4
    assert not Timer.objects.exists()


def test_after_a_killed_child_the_execution_goes_on_long_before_its_lease_ends(fleet: Fleet, trace: Trace) -> None:
    fleet.worker(**LONG_LEASE)  # and no beat: the worker itself must notice
    execution = two_steps.start(str(trace))
    began = fleet.eventually(lambda: trace.of("one-began"), "the first step runs")[0]

    os.kill(began.pid, signal.SIGKILL)
    killed_at = time.time()

    again = fleet.eventually(lambda: trace.of("one-began")[1:], "the step runs again")[0]
    print(f"went on {again.at - killed_at:.2f} s after the kill")
    assert again.pid != began.pid
    trace.open("one")
    trace.open("two")
    assert result_of(fleet, execution) == ["one", "two"]


@over_redis
@pytest.mark.parametrize("victims", ["all its processes", "its main process"])
def test_a_killed_worker_is_replaced_by_a_restart_long_before_its_lease_ends(
    fleet: Fleet, trace: Trace, victims: str
) -> None:
    first = fleet.worker(**LONG_LEASE)
    execution = two_steps.start(str(trace))
    fleet.eventually(lambda: trace.of("one-began"), "the first step runs")
    if victims == "its main process":
        first.process.kill()
        fleet.eventually(lambda: not processes_of(first.pid), "the children die with it")
    first.kill_all()
    assert holder_pid(execution)  # nobody could give it back

    fleet.worker(**LONG_LEASE)
    ready_at = time.time()

    again = fleet.eventually(lambda: trace.of("one-began")[1:], "the step runs again")[0]
    print(f"went on {again.at - ready_at:.2f} s after the restart")
    trace.open("one")
    trace.open("two")
    assert result_of(fleet, execution) == ["one", "two"]


@over_redis
def test_another_worker_takes_over_from_one_that_was_killed_as_a_whole(fleet: Fleet, trace: Trace) -> None:
    first = fleet.worker(**LONG_LEASE)
    fleet.plain_beat()
    execution = two_steps.start(str(trace))
    fleet.eventually(lambda: trace.of("one-began"), "the first step runs")
    fleet.worker("threads", **LONG_LEASE)
    first.kill_all()
    killed_at = time.time()

    again = fleet.eventually(lambda: trace.of("one-began")[1:], "the step runs again")[0]
    print(f"went on {again.at - killed_at:.2f} s after the kill")
    trace.open("one")
    trace.open("two")
    assert result_of(fleet, execution) == ["one", "two"]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_terminated_worker_hands_over_after_the_running_step(fleet: Fleet, trace: Trace, pool: str) -> None:
    first = fleet.worker(pool)
    execution = two_steps.start(str(trace))
    one = fleet.eventually(lambda: trace.of("one-began"), "the first step runs")[0]
    first.terminate()
    fleet.eventually(lambda: "shutdown (MainProcess)" in first.text(), "the worker knows")
    trace.open("one")
    fleet.eventually(lambda: first.process.poll() is not None, "the worker ends")

    timer = Timer.objects.get(pk=execution.pk)
    assert (timer.token, timer.holder, timer.claims) == (None, "", 0)
    assert Timer.objects.due().filter(pk=execution.pk).exists()
    assert [event.what for event in trace.events()] == ["one-began", "one-ended"]

    trace.open("two")
    fleet.worker(pool)
    assert result_of(fleet, execution) == ["one", "two"]
    two = trace.of("two-began")
    assert len(two) == len(trace.of("one-began")) == 1
    assert two[0].pid != one.pid


@over_redis
def test_a_worker_leaves_what_it_does_not_know_to_one_that_does(fleet: Fleet, trace: Trace) -> None:
    fleet.worker(concurrency=1)
    fleet.plain_beat()
    execution = newer.start(str(trace))
    fleet.eventually(lambda: Timer.objects.get(pk=execution.pk).refused_since, "the older worker refuses it")

    knows = fleet.worker(concurrency=1, apps="tests.celery tests.celery.extra")

    assert result_of(fleet, execution) == "done"
    assert trace.of("only")[0].parent == knows.pid
    assert client.get(execution).status == "completed"


def test_with_every_hint_lost_the_tick_finishes_everything(fleet: Fleet, trace: Trace, settings) -> None:
    lossy = "tests.celery.dispatchers.LosesWakes"
    settings.DURABLE = {"DISPATCHER": lossy}
    fleet.worker(DURABLE_TEST_DISPATCHER=lossy)
    fleet.plain_beat()

    executions = [mixed.start(str(trace)) for _ in range(3)]
    for execution in executions:
        client.signal(execution, "go", "lost")

    for execution in executions:
        assert result_of(fleet, execution)["answer"] == "lost"
    assert Step.objects.exclude(status=StepStatus.COMPLETED).count() == 0


@over_redis
def test_the_execution_of_a_dead_broker_runs_when_a_broker_is_back(
    fleet: Fleet, trace: Trace, monkeypatch, queue: str
) -> None:
    with monkeypatch.context() as patched:
        patched.setenv("CELERY_BROKER_URL", "redis://127.0.0.1:1/0")
        execution = mixed.start(str(trace))
        client.signal(execution, "go", 1)
    fleet.worker("threads")
    fleet.plain_beat()

    assert result_of(fleet, execution)["answer"] == 1
