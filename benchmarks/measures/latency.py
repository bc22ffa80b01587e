"""How soon an idle worker is done: after a start, after a signal, after a sleep."""

from __future__ import annotations

import random
import time

from django.db import connection

from benchmarks import tasks, workflows
from benchmarks.figures import Figure, Target, percentile
from benchmarks.sizes import Size
from benchmarks.workers import Worker
from django_durable import client
from django_durable.models import Execution, Kind, Step

SHORTEST_SLEEP = 0.2


def idle(size: Size, worker: Worker) -> list[Figure]:
    """start() to the commit of the end, one step; floor: Celery's own task that does nothing."""
    samples, floors = [], []
    for number in range(size.latencies):
        if connection.vendor != "sqlite":
            _rest()
            began = time.time()
            tasks.noop.delay(f"noop-{number}")
            floors.append(_milliseconds(began, worker.ends.wait_for(f"noop-{number}")))
        _rest()
        began = time.time()
        execution = workflows.idle.start()
        samples.append(_milliseconds(began, worker.ends.wait_for(str(execution.id))))
    return [
        Figure("idle, start to end", "ms", samples, floors, Target(6, of="value", at_most=True)),
        Figure("idle, p99", "ms", [percentile(samples, 99)], [percentile(floors, 99)] if floors else []),
    ]


def signal(size: Size, worker: Worker) -> list[Figure]:
    """signal() to the commit of the end, of an execution that has parked."""
    waiting = [workflows.signalled.start() for _ in range(size.latencies)]
    ids = [execution.id for execution in waiting]
    worker.until(lambda: not Execution.objects.filter(id__in=ids, timer__due_at__isnull=False).exists(), "all wait")
    samples = []
    for execution in waiting:
        _rest()
        began = time.time()
        client.signal(execution, workflows.go, 1)
        samples.append(_milliseconds(began, worker.ends.wait_for(str(execution.id))))
    return [
        Figure("signal to end", "ms", samples, target=Target(8, of="value", at_most=True)),
        Figure("signal, p99", "ms", [percentile(samples, 99)]),
    ]


def sleep(size: Size, worker: Worker) -> list[Figure]:
    """How late the step after a sleep begins: this machine's clock against the due time that was recorded."""
    lengths = [random.uniform(SHORTEST_SLEEP, size.longest_sleep) for _ in range(size.sleeps)]
    started = [workflows.sleeping.start(length).id for length in lengths]
    worker.finish(started)
    due = dict(Step.objects.filter(execution_id__in=started, kind=Kind.SLEEP).values_list("execution_id", "due_at"))
    late = [_milliseconds(due[id_].timestamp(), client.result(id_)) for id_ in started]
    return [
        Figure("sleep, lateness", "ms", late, target=Target(50, of="value", at_most=True)),
        Figure("sleep, p99", "ms", [percentile(late, 99)]),
        Figure("sleep, earliest", "ms", [min(late)], target=Target(0, of="value")),
    ]


def _rest() -> None:
    """Let the worker become idle; a random time, so that no rhythm of the machine is met each time."""
    time.sleep(random.uniform(0.01, 0.04))


def _milliseconds(began: float, ended: float) -> float:
    return (ended - began) * 1000
