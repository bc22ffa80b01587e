"""Starting, killing and watching the processes of a test; each in a process group of its own, none outlives it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from django.conf import settings
from django.db import connection

# Far more than a busy machine needs: who waits for what does come waits no longer than it takes.
PATIENCE_SECONDS = 120.0
LONG_LEASE = {"DURABLE_TEST_LEASE_SECONDS": "600"}  # whoever waits for its end comes too late for the test


@dataclass
class Running:
    """One worker or beat, and what it printed."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def kill_all(self) -> None:
        """SIGKILL to the main process and its children alike."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(timeout=PATIENCE_SECONDS)

    def text(self) -> str:
        return self.log.read_text(errors="replace")


class Fleet:
    """The workers and beats of one test: same broker, same queue, same database as the test itself."""

    def __init__(self, broker_url: str, queue: str, folder: Path) -> None:
        self._broker_url, self._queue, self._folder = broker_url, queue, folder
        self._running: list[Running] = []

    def worker(
        self,
        pool: str = "prefork",
        *,
        concurrency: int = 2,
        apps: str = "tests.celery",
        node: str = "",
        **environment: str,
    ) -> Running:
        """Start a worker; returns once it consumes. node: the name of one that is to be succeeded."""
        name = f"w{len(self._running)}"
        options = [
            "-P",
            pool,
            "-c",
            str(concurrency),
            "-n",
            self._node(node or name),
            "--without-gossip",
            "--without-mingle",
        ]
        found = self._start(name, ["worker", *options], {"DURABLE_TEST_APPS": apps, **environment})
        self.eventually(lambda: " ready." in found.text(), f"{name} is ready")
        return found

    def refused(self, **environment: str) -> Running:
        """Start a worker that ends before it consumes."""
        found = self._start(
            "refused", ["worker", "-n", self._node("refused")], {"DURABLE_TEST_APPS": "", **environment}
        )
        found.process.wait(timeout=PATIENCE_SECONDS)
        return found

    def _node(self, name: str) -> str:
        """RabbitMQ lets no two workers of one name in, and other databases are tested beside this one."""
        return f"{name}-{self._queue}@%h"

    def beat(self, **environment: str) -> Running:
        name = f"beat{len(self._running)}"
        options = ["--pidfile", "", "-s", str(self._folder / f"{name}.schedule")]
        return self._start(name, ["beat", *options], {"DURABLE_TEST_APPS": "tests.celery", **environment})

    def plain_beat(self) -> Running:
        return self.beat(DURABLE_TEST_PLAIN_BEAT="1")

    def _start(self, name: str, arguments: list[str], environment: dict[str, str]) -> Running:
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "testproject", *arguments, "-l", "INFO"],
                cwd=settings.BASE_DIR,
                env={**os.environ, **self._environment(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(Running(process, log))
        return self._running[-1]

    def _environment(self) -> dict[str, str]:
        return {
            "DJANGO_SETTINGS_MODULE": "tests.celery.settings",
            "DURABLE_TEST_DATABASE_NAME": str(connection.settings_dict["NAME"]),
            "CELERY_BROKER_URL": self._broker_url,
            "DURABLE_TEST_QUEUE": self._queue,
            **server_of_the_test(),
        }

    def eventually(self, condition: Callable[[], Any], what: str) -> Any:
        """Ask until the answer is true, and return it; fail with every process's log when time is up."""
        ends_at = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = condition()
            if found:
                return found
            if time.monotonic() > ends_at:
                raise AssertionError(f"Not within {PATIENCE_SECONDS:.0f} s: {what}\n{self.logs()}")
            time.sleep(0.05)

    def logs(self) -> str:
        return "\n".join(f"==== {one.log.name}\n{one.text()[-6000:]}" for one in self._running)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for one in self._running:
            one.kill_all()


def server_of_the_test() -> dict[str, str]:
    """Environment that leads another process to the PostgreSQL server that this one uses now."""
    if connection.vendor != "postgresql":
        return {}
    entry = connection.settings_dict
    return {f"DURABLE_TEST_POSTGRES_{key}": str(entry[key]) for key in ("HOST", "PORT", "USER", "PASSWORD")}


def leader_of(pid: int) -> int:
    """The process group of a process: the main process of the worker that it belongs to."""
    return os.getpgid(pid)


def processes_of(group: int) -> list[int]:
    """Living members of a process group, zombies not counted."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] not in {"Z", "X"}:
                found.append(int(entry.name))
    return found
