"""Whether a worker process grows with the executions it has run."""

from __future__ import annotations

import subprocess
import sys

from django.conf import settings
from django.db import connection

from benchmarks import database, workflows
from benchmarks.figures import Figure, Target
from benchmarks.measures.quiet import without_hints
from benchmarks.sizes import Size

BATCHES = 20
MEBIBYTE = 1024 * 1024


@without_hints
def memory(size: Size) -> list[Figure]:
    """Resident memory of a process that only drains, after a tenth of the executions and after all."""
    database.clear()
    connection.close()
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.drainer"],
        cwd=settings.BASE_DIR,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as drainer:
        assert drainer.stdin is not None
        assert drainer.stdout is not None
        resident = []
        for _ in range(BATCHES):
            for _ in range(size.worked // BATCHES):
                workflows.steps.start(1)
            print("drain", file=drainer.stdin, flush=True)
            resident.append(int(drainer.stdout.readline()) / MEBIBYTE)
        drainer.stdin.close()
    early = resident[BATCHES // 10 - 1]
    name = f"memory, {size.worked:,} executions"
    return [Figure(name, "MiB", [resident[-1]], [early], Target(1.05, at_most=True))]
