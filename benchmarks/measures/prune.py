"""What pruning does to the work that goes on beside it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from contextlib import suppress

from django.conf import settings
from django.db import connection

from benchmarks import copies, crowd, database, workflows
from benchmarks.figures import Figure, Target
from benchmarks.sizes import Size
from benchmarks.workers import Worker
from django_durable.models import Execution, Signal, Step

EXPIRED = "benchmarks.expired"
STEPS = 2  # of each execution of the load, and of each that is deleted


def prune(size: Size, worker: Worker) -> list[Figure]:
    """Executions per second while ``durable_prune`` deletes beside them; floor: the same load while it is halted.

    One round of each in turn, until all is deleted. Raises AssertionError if the load has suffered otherwise.
    """
    database.clear()
    _load(size, worker)
    _make_expired(size.expired, worker)
    process = _pruner()
    with_prune, without, deleted = [], [], []
    try:
        while process.poll() is None or not with_prune:
            _halt(process, signal.SIGSTOP)
            without.append(_load(size, worker))
            left, began = _left(), time.perf_counter()
            _halt(process, signal.SIGCONT)
            with_prune.append(_load(size, worker))
            deleted.append((left - _left()) / (time.perf_counter() - began))
    finally:
        process.kill()
    assert process.wait() == 0, "the prune failed"
    _check_load()
    database.clear()
    rate = Figure("prune, deleted", "executions/s", deleted)
    return [Figure("prune, load beside it", "executions/s", with_prune, without, Target(0.8)), rate]


def _load(size: Size, worker: Worker) -> float:
    started = [workflows.steps.start(STEPS).id for _ in range(size.executions)]
    ended_at = worker.finish(started)
    began_at = Execution.objects.filter(id__in=started).earliest("created_at").created_at
    return size.executions / (ended_at - began_at).total_seconds()


def _make_expired(wanted: int, worker: Worker) -> None:
    """Copies of one that has ended, with its checkpoints, in SQL."""
    template = workflows.steps.start(STEPS).id
    worker.finish([template])
    executions = connection.ops.quote_name(Execution._meta.db_table)
    steps = connection.ops.quote_name(Step._meta.db_table)
    one = f"WHERE {executions}.id = {copies.literal(template)}"
    copies.copy(Execution, {"id": copies.new_id(), "workflow": f"'{EXPIRED}'"}, one)
    while (missing := wanted - _left()) > 0:
        copies.copy(Execution, {"id": copies.new_id()}, f"WHERE workflow = '{EXPIRED}' LIMIT {missing}")
    bare = f"(SELECT id AS bare FROM {executions} WHERE workflow = '{EXPIRED}') s"
    own = f"WHERE {steps}.execution_id = {copies.literal(template)}"
    copies.copy(Step, {"id": copies.new_id(), "execution_id": "s.bare"}, own, f", {bare}")
    crowd.analyze(Execution, Step, Signal)


def _left() -> int:
    return Execution.objects.filter(workflow=EXPIRED).count()


def _pruner() -> subprocess.Popen[bytes]:
    """It has begun to delete when this returns, or has nothing left."""
    left = _left()
    command = ["manage.py", "durable_prune", "--workflow", EXPIRED, "--before", "2100-01-01T00:00:00+00:00"]
    connection.close()
    process = subprocess.Popen([sys.executable, *command], cwd=settings.BASE_DIR, stdout=subprocess.DEVNULL)
    while left and _left() == left and process.poll() is None:
        time.sleep(0.01)
    return process


def _halt(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def _check_load() -> None:
    load = Execution.objects.filter(workflow=workflows.steps.name)
    assert not load.exclude(status="completed").exists(), "some of the load did not complete"
    assert Step.objects.filter(execution__in=load).count() == STEPS * load.count(), "checkpoints of the load are gone"
    assert not Step.objects.exclude(execution__in=Execution.objects.all()).exists(), "checkpoints were left behind"
