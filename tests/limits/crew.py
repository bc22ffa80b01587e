"""Worker processes that are killed and replaced until all work is done."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connections

from django_durable.engine import worker
from django_durable.engine.tick import tick
from django_durable.models import Execution
from tests.limits import seats

IDLE_SECONDS = 0.02
KILL_EVERY_SECONDS = 0.25


@dataclass(frozen=True)
class Seen:
    """What came of a run. most: bodies that were seen at once. overrun: bodies that found no seat."""

    completed: int
    most: int
    overrun: int
    bodies: int
    kills: int
    seconds: float


def play(
    folder: Path, *, executions: int, workers: int, kills: int, patience: float, seed: int = 1, of: Any = seats.seats
) -> Seen:
    """Run so many executions of one limit by so many processes, of which some are killed and replaced."""
    for _ in range(executions):
        of.start(str(folder))
    chance, killed, began_at = random.Random(seed), 0, time.monotonic()
    with crew(workers) as pids:
        while Execution.objects.open().exists():
            assert time.monotonic() - began_at < patience, f"{Execution.objects.open().count()} are still open"
            time.sleep(KILL_EVERY_SECONDS)
            if killed < kills:
                victim = chance.randrange(len(pids))
                _kill(pids[victim])
                pids[victim] = _begin()
                killed += 1
    told = (folder / "told").read_text().splitlines()
    taken = {int(line.split()[1]) for line in told if line.startswith("seat")}
    return Seen(
        completed=Execution.objects.filter(status="completed").count(),
        most=max(taken) + 1,
        overrun=told.count("no seat"),
        bodies=len(told),
        kills=killed,
        seconds=time.monotonic() - began_at,
    )


@contextmanager
def crew(workers: int) -> Iterator[list[int]]:
    """So many worker processes, by their ids; whoever replaces one changes the list."""
    pids = [_begin() for _ in range(workers)]
    try:
        yield pids
    finally:
        for pid in pids:
            _kill(pid)


def _begin() -> int:
    connections.close_all()
    pid = os.fork()
    if pid == 0:
        _work()
    return pid


def _work() -> None:
    """Never returns: the parent's test must not go on twice."""
    try:
        while True:
            if not worker.drain("default", using="default", seconds=1.0):
                tick(using="default")
                time.sleep(IDLE_SECONDS)
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        os._exit(1)


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
