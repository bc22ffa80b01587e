"""The worker that takes part in a measure: Celery prefork with beat over Redis, or ``durable_worker`` on SQLite."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from uuid import UUID

from django.conf import settings
from django.db import connection

from benchmarks import workflows
from benchmarks.stopwatch import VARIABLE, Ends
from django_durable.models import Execution

DEADLINE_SECONDS = 120.0
STOP_SECONDS = 30.0
LOG = settings.VAR_DIR / "benchmarks-worker.log"
CELERY = ["celery", "-A", "testproject", "worker", "-P", "prefork", "-c", "2", "-l", "WARNING"]


class Worker:
    """A running worker, and the ends that it reports."""

    def __init__(self, process: subprocess.Popen[bytes], ends: Ends) -> None:
        self._process = process
        self.ends = ends

    def finish(self, started: list[UUID]) -> datetime:
        """Wait until all of these have ended; when the last one did, by the database's clock."""
        self.until(lambda: not Execution.objects.filter(id__in=started).open().exists(), "all executions ended")
        return Execution.objects.filter(id__in=started).latest("finished_at").finished_at

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """The pause costs no accuracy: nothing is timed by when this returns."""
        ends_at = time.monotonic() + DEADLINE_SECONDS
        while not condition():
            if self._process.poll() is not None:
                raise SystemExit(f"the worker ended with {self._process.returncode}; see {LOG}")
            if time.monotonic() > ends_at:
                raise SystemExit(f"not within {DEADLINE_SECONDS:.0f} s: {what}; see {LOG}")
            time.sleep(0.05)


@contextmanager
def running() -> Iterator[Worker]:
    """One worker, warm: its imports, forks and connections are made."""
    with tempfile.TemporaryDirectory() as folder:
        ends = Ends(Path(folder) / "ends")
        process = _start(Path(folder))
        worker = Worker(process, ends)
        try:
            worker.finish([workflows.steps.start(1).id for _ in range(20)])
            yield worker
        finally:
            _stop(process)
            ends.close()


def _start(folder: Path) -> subprocess.Popen[bytes]:
    command = ["manage.py", "durable_worker"]
    if connection.vendor != "sqlite":
        command = ["-m", *CELERY, "--without-gossip", "--without-mingle", "-B", "-s", str(folder / "beat")]
    connection.close()  # not shared with a child
    with LOG.open("wb") as log:
        return subprocess.Popen(
            [sys.executable, *command],
            cwd=settings.BASE_DIR,
            env={**os.environ, VARIABLE: str(folder / "ends")},
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        raise SystemExit(f"the worker did not stop in {STOP_SECONDS:.0f} s; see {LOG}") from None
