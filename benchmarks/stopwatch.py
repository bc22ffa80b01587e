"""Ends, timed inside the worker and sent through a named pipe: no polling interval is added to a latency.

The client reads; workers find the pipe in their environment. Both sides use this machine's wall clock.
"""

from __future__ import annotations

import os
import select
import time
from functools import cache
from pathlib import Path
from typing import Any

from django_durable import signals

VARIABLE = "DURABLE_BENCH_ENDS"
DEADLINE_SECONDS = 60.0


def time_ends_of(*workflows: str) -> None:
    """In a worker: mark the end of these workflows' executions, after the commit of that end."""

    def ended(execution_id: Any, workflow: str, **_: Any) -> None:
        if workflow in workflows:
            mark(str(execution_id))

    if VARIABLE in os.environ:
        signals.execution_closed.connect(ended, weak=False, dispatch_uid="benchmarks.stopwatch")


def mark(name: str) -> None:
    os.write(_pipe(), f"{name} {time.time():.6f}\n".encode())


@cache
def _pipe() -> int:
    return os.open(os.environ[VARIABLE], os.O_WRONLY)


class Ends:
    """The reading end of the pipe."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self._file = os.open(path, os.O_RDWR)  # never at its end, whatever the workers do
        self._text = b""

    def wait_for(self, name: str) -> float:
        """When that ended: seconds of ``time.time()``. What ended before is passed over."""
        while True:
            line, newline, rest = self._text.partition(b"\n")
            if newline:
                self._text = rest
                found, at = line.decode().split()
                if found == name:
                    return float(at)
            elif select.select([self._file], [], [], DEADLINE_SECONDS)[0]:
                self._text += os.read(self._file, 65_536)
            else:
                raise SystemExit(f"{name} did not end in {DEADLINE_SECONDS:.0f} s")

    def close(self) -> None:
        os.close(self._file)
