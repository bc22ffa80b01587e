"""The demo's processes: started in groups of their own, started again when they die, gone when the demo ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

STOP_SECONDS = 4  # to end by themselves after SIGTERM; no work is lost if that is too short
MOST_RESTARTS = 20


@dataclass
class Process:
    """One command with its log file; a new process group, so that nothing it starts can outlive it."""

    name: str
    command: list[str]
    log: Path
    restarts: int = 0
    running: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.running = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def end(self) -> int | None:
        """The exit status once it is over, negative for a signal."""
        return self.running.poll() if self.running else None

    def ask_to_end(self) -> None:
        """SIGTERM to its main process only: a Celery worker ends its pool itself, and waits for it."""
        if self.running is not None:
            self.running.terminate()

    def kill_group(self) -> None:
        if self.running is not None:
            with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
                os.killpg(self.running.pid, signal.SIGKILL)
            self.running.wait()


class Supervisor:
    """Keeps processes running until ``stop()``. ``look()`` must be called often; ``sleep()`` does."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._processes: list[Process] = []

    def start(self, process: Process) -> None:
        self._processes.append(process)
        process.start()

    def look(self) -> None:
        """Start again what has died. Raises RuntimeError for a process that does nothing but die."""
        for process in self._processes:
            end = process.end
            if end is None:
                continue
            # Pool processes outlive a main process that was killed alone; two pools would be one too many.
            process.kill_group()
            if process.restarts >= MOST_RESTARTS or (end > 0 and process.restarts >= 3):
                raise RuntimeError(f"{process.name} keeps ending; read {process.log}")
            process.restarts += 1
            process.start()
            why = signal.Signals(-end).name if end < 0 else f"status {end}"
            self._tell(f"{process.name} ended with {why}; started again")

    def sleep(self, seconds: float) -> None:
        ends_at = time.monotonic() + seconds
        while True:
            self.look()
            rest = ends_at - time.monotonic()
            if rest <= 0:
                return
            time.sleep(min(rest, 0.2))

    def stop(self) -> None:
        """End everything: asked first, then killed, group by group. Safe to call twice."""
        for process in self._processes:
            process.ask_to_end()
        ends_at = time.monotonic() + STOP_SECONDS
        for process in self._processes:
            if process.running is not None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.running.wait(max(ends_at - time.monotonic(), 0))
            process.kill_group()
        self._processes.clear()


def django_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "django", *arguments]


def celery_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "--app", "testproject", *arguments]
