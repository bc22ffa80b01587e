"""Steps, executions and starts per second, each beside as many one-row commits as it cannot do without."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import harmonic_mean

from benchmarks import database, workflows
from benchmarks.database import commits_per_second
from benchmarks.figures import Figure, Target
from benchmarks.measures.quiet import without_hints
from benchmarks.sizes import Size
from benchmarks.workers import Worker
from django_durable.engine import worker as engine
from django_durable.models import Execution


@without_hints
def steps(size: Size) -> list[Figure]:
    """Steps of one execution in one process; floor: one commit per step."""

    def once() -> float:
        execution = workflows.steps.start(size.steps)
        began = time.perf_counter()
        engine.advance_one(execution.id, using="default")
        return size.steps / (time.perf_counter() - began)

    return [_beside_commits("steps", "steps/s", Target(0.75), once, rounds=size.rounds, commits=size.steps)]


def starts(size: Size) -> list[Figure]:
    """Starts outside a transaction, hints published, nobody working; floor: one commit per start."""

    def once() -> float:
        workflows.steps.start(1)  # the broker connection
        began = time.perf_counter()
        for _ in range(size.starts):
            workflows.steps.start(1)
        return size.starts / (time.perf_counter() - began)

    figure = _beside_commits("starts", "starts/s", Target(0.55), once, rounds=size.rounds, commits=size.starts)
    database.clear()
    return [figure]


def executions(size: Size, worker: Worker) -> list[Figure]:
    """Executions of k steps, from the first start to the last end; floor: k + 2 commits each."""

    def once(steps_each: int) -> float:
        started = [workflows.steps.start(steps_each).id for _ in range(size.executions)]
        ended_at = worker.finish(started)
        began_at = Execution.objects.filter(id__in=started).earliest("created_at").created_at
        return size.executions / (ended_at - began_at).total_seconds()

    return [
        _beside_commits(
            f"executions of {count}",
            "executions/s",
            Target(0.55),
            lambda count=count: once(count),
            rounds=size.rounds,
            commits=size.executions,
            each=count + 2,
        )
        for count in (1, 2, 3)
    ]


def _beside_commits(
    name: str, unit: str, target: Target, once: Callable[[], float], *, rounds: int, commits: int, each: int = 1
) -> Figure:
    """Each round between two halves of its floor, so that a machine that slows down slows both.

    each: commits that the floor makes per unit.
    """
    values, floors = [], []
    for _ in range(rounds):
        database.clear()
        before = commits_per_second(commits)
        values.append(once())
        floors.append(harmonic_mean([before, commits_per_second(commits)]) / each)
    return Figure(name, unit, values, floors, target)
