"""A worker that was killed as a whole, and who gets what it held: its successor at once, anybody else by the lease."""

import time
from collections import Counter
from uuid import uuid4

import pytest

from django_durable import clock
from django_durable.engine import holders
from django_durable.models import Execution, Status, Timer
from tests.celery.observing import Trace, holder_pid, result_of
from tests.celery.processes import LONG_LEASE, Fleet, leader_of
from tests.celery.workflows import five_steps, two_steps
from tests.models import rows

pytestmark = [
    pytest.mark.celery,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.parametrize("broker_url", ["redis"], indirect=True),
]
CHILDREN = 8
EXECUTIONS = 50
SHORT_LEASE = {"DURABLE_TEST_LEASE_SECONDS": "3"}
ELSEWHERE = {"DURABLE_TEST_MACHINE": "elsewhere"}


@pytest.mark.parametrize("machine", [{}, ELSEWHERE], ids=["same machine", "restarted container"])
def test_a_successor_finishes_what_its_predecessor_was_killed_over(fleet: Fleet, trace: Trace, machine: dict) -> None:
    first = fleet.worker(node="web", concurrency=CHILDREN, **LONG_LEASE)
    for _ in range(EXECUTIONS):
        five_steps.start(str(trace))
    fleet.eventually(lambda: len(trace.events()) >= EXECUTIONS * 5 / 2, "half of the steps began")
    first.kill_all()
    in_flight = Timer.objects.leased().count()
    assert in_flight > 0
    assert Execution.objects.filter(status=Status.COMPLETED).count() < EXECUTIONS

    fleet.worker(node="web", concurrency=CHILDREN, **LONG_LEASE, **machine)
    ready_at = time.time()

    completed = Execution.objects.filter(status=Status.COMPLETED)
    fleet.eventually(lambda: completed.count() == EXECUTIONS, "everything completes")
    took = time.time() - ready_at
    runs = Counter(event.what for event in trace.events())
    again = sum(runs.values()) - EXECUTIONS * 5
    print(f"{again} bodies ran again of {in_flight} in flight; completed {took:.2f} s after the successor was ready")
    assert len(runs) == EXECUTIONS * 5
    assert again <= in_flight <= CHILDREN


def test_a_namesake_that_lives_on_the_same_machine_keeps_what_it_holds(fleet: Fleet, trace: Trace) -> None:
    first = fleet.worker(node="web")
    execution = two_steps.start(str(trace))
    fleet.eventually(lambda: trace.of("one-began"), "the first step runs")
    held_by = holder_pid(execution)
    dead = rows.timer(token=uuid4(), holder=f"{holders.machine()}:1:0:web", due_at=clock.now() + rows.HOUR)

    fleet.worker(node="web")

    fleet.eventually(lambda: not Timer.objects.filter(pk=dead.pk).leased(), "the second has looked at the leases")
    assert holder_pid(execution) == held_by
    assert leader_of(held_by) == first.pid
    trace.open("one")
    trace.open("two")
    assert result_of(fleet, execution) == ["one", "two"]
    assert len(trace.of("one-began")) == 1


def test_a_namesake_that_lives_elsewhere_loses_it_once_and_records_nothing(fleet: Fleet, trace: Trace) -> None:
    fleet.worker(node="web", concurrency=1, **ELSEWHERE)
    execution = two_steps.start(str(trace))
    fleet.eventually(lambda: trace.of("one-began"), "the first step runs")

    second = fleet.worker(node="web", concurrency=1)
    fleet.plain_beat()  # the hint about what was returned may have gone to the first, which is busy

    fleet.eventually(lambda: len(trace.of("one-began")) > 1, "the step runs again")
    assert leader_of(holder_pid(execution)) == second.pid
    trace.open("one")
    trace.open("two")
    assert result_of(fleet, execution) == ["one", "two"]
    assert len(trace.of("one-began")) == 2


def test_a_worker_of_another_name_elsewhere_takes_over_when_the_lease_runs_out(fleet: Fleet, trace: Trace) -> None:
    first = fleet.worker(**SHORT_LEASE)
    fleet.plain_beat()
    execution = two_steps.start(str(trace))
    fleet.eventually(lambda: trace.of("one-began"), "the first step runs")
    fleet.worker("threads", **SHORT_LEASE, **ELSEWHERE)
    first.kill_all()
    lease_ends_at = Timer.objects.get(pk=execution.pk).due_at.timestamp()

    again = fleet.eventually(lambda: trace.of("one-began")[1:], "the step runs again")[0]
    print(f"taken over {again.at - lease_ends_at:.2f} s after the end of the lease")
    assert again.at >= lease_ends_at
    trace.open("one")
    trace.open("two")
    assert result_of(fleet, execution) == ["one", "two"]
