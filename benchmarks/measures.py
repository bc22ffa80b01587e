"""The benchmarks: each returns a figure and the floor of the same minute."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

from django.db import connection

from benchmarks import workflows
from benchmarks.database import commits_per_second
from django_durable.engine import worker
from django_durable.models import Execution

ROUNDS = 5
STEPS = 300
EXECUTIONS = 200
STEPS_EACH = 3
DEADLINE_SECONDS = 120


@dataclass(frozen=True)
class Figure:
    """value and floor: units per second; ratio: value / floor, 1.0 would be free."""

    name: str
    unit: str
    value: float
    floor: float

    @property
    def ratio(self) -> float:
        return self.value / self.floor


def steps_in_one_execution() -> Figure:
    """Steps per second of one execution; floor: one commit per step."""
    rounds = []
    for _ in range(ROUNDS):
        floor = commits_per_second(STEPS)
        execution = workflows.steps.start(STEPS)
        began = time.perf_counter()
        worker.advance_one(execution.id, using="default")
        rounds.append((STEPS / (time.perf_counter() - began), floor))
    return Figure("steps", "steps/s", median(value for value, _ in rounds), median(floor for _, floor in rounds))


def executions_through_celery() -> Figure:
    """Executions of three steps per second through a prefork worker over Redis; floor: k + 2 commits each."""
    with _celery_worker():
        _finish(20)  # connections, imports, forks
        rounds = []
        for _ in range(3):
            floor = commits_per_second(500) / (STEPS_EACH + 2)
            rounds.append((EXECUTIONS / _finish(EXECUTIONS), floor))
    return Figure(
        "executions", "executions/s", median(value for value, _ in rounds), median(floor for _, floor in rounds)
    )


def _finish(count: int) -> float:
    """Start ``count`` executions and wait for all of them; seconds from the first start."""
    began = time.perf_counter()
    started = [workflows.steps.start(STEPS_EACH).id for _ in range(count)]
    while Execution.objects.filter(id__in=started).open().exists():
        if time.perf_counter() - began > DEADLINE_SECONDS:
            raise SystemExit(f"{count} executions did not finish in {DEADLINE_SECONDS} s")
        time.sleep(0.02)
    return time.perf_counter() - began


@contextmanager
def _celery_worker() -> Iterator[None]:
    command = [sys.executable, "-m", "celery", "-A", "testproject", "worker", "-P", "prefork", "-c", "2", "-l", "ERROR"]
    connection.close()
    process = subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


MEASURES: dict[str, Callable[[], Figure]] = {
    "steps": steps_in_one_execution,
    "executions": executions_through_celery,
}
