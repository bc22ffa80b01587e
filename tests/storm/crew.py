"""The processes that do the work: Celery workers, embedded workers, beats and a pruner, each at a post with a name.

Who dies is replaced under the same name. Each is the leader of a process group, so nothing outlives the storm.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.celery.processes import Running, processes_of
from tests.clusters import wait_until
from tests.storm import pruner

CHILDREN = 2
START_SECONDS = 60.0
ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Post:
    name: str
    command: list[str]
    environment: dict[str, str]
    ready: str  # what its log says when it works
    running: Running | None = None
    log_begins: int = 0
    was_ready: bool = False

    def man(self, folder: Path) -> None:
        """Start the process; its log goes on where the predecessor's ended."""
        log = folder / f"{self.name}.log"
        with log.open("ab") as output:
            self.log_begins, self.was_ready = output.tell(), False
            process = subprocess.Popen(
                [sys.executable, *self.command],
                cwd=ROOT,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self.running = Running(process, log)

    def leave(self) -> None:
        if self.running is not None:
            self.running.kill_all()
            self.running = None

    @property
    def is_ready(self) -> bool:
        if self.running is not None and not self.was_ready:
            self.was_ready = self.ready in self.log()
        return self.running is not None and self.was_ready

    def log(self) -> str:
        """What the present process has said."""
        if self.running is None:
            return ""
        with self.running.log.open("rb") as file:
            file.seek(self.log_begins)
            return file.read().decode(errors="replace")

    @property
    def pids(self) -> list[int]:
        return [] if self.running is None else processes_of(self.running.pid)

    @property
    def children(self) -> list[int]:
        """The processes that run steps; none of a worker that still starts, which Celery gives up when one dies."""
        if not self.is_ready:
            return []
        pool = [pid for pid in self.pids if pid != self.running.pid]
        return [self.running.pid] if self.name.startswith("embedded") else sorted(pool)


class Crew:
    """Two Celery workers of two children, beats and a pruner; or one, and an embedded worker in the other's place.

    clocks: seconds by which each worker's clock is ahead. reuse: each one's CELERY_DB_REUSE_MAX.
    """

    def __init__(
        self,
        folder: Path,
        *,
        embedded: bool,
        worker: dict[str, str],
        clocks: tuple[int, int] = (0, 0),
        reuse: tuple[int, int] = (100, 0),
    ) -> None:
        self._folder = folder
        environments = [
            {**worker, "STORM_CLOCK_SECONDS": str(clock), "STORM_REUSE": str(tasks)}
            for clock, tasks in zip(clocks, reuse, strict=True)
        ]
        second = _embedded(environments[1]) if embedded else _worker("w1", environments[1])
        self.workers = [_worker("w0", environments[0]), second]
        self.beats = [_beat(f"beat{number}", folder) for number in range(2)]
        self.pruner = Post("pruner", ["-m", "tests.storm.pruner"], worker, pruner.READY)

    def start(self) -> None:
        """Return once everybody works; Celery may need a second start when it was hurt during the first."""
        self.keep_beats(1)
        wait_until(self._all_ready, lambda: "\n".join(post.log()[-3000:] for post in self._supervised), START_SECONDS)

    @property
    def _supervised(self) -> list[Post]:
        return [*self.workers, self.pruner]

    def _all_ready(self) -> bool:
        self.fill()
        return all(post.is_ready for post in self._supervised)

    def fill(self) -> None:
        """What a supervisor does: man every post, but a beat's, that is empty or whose process has ended."""
        for post in self._supervised:
            if post.running is None or post.running.process.poll() is not None:
                post.leave()
                post.man(self._folder)

    def keep_beats(self, count: int) -> None:
        for number, post in enumerate(self.beats):
            if number >= count:
                post.leave()
            elif post.running is None:
                post.man(self._folder)

    def stop(self) -> None:
        for post in (*self._supervised, *self.beats):
            post.leave()


def _worker(name: str, environment: dict[str, str]) -> Post:
    options = ["-P", "prefork", "-c", str(CHILDREN), "-n", f"{name}@storm", "--without-gossip", "--without-mingle"]
    command = ["-m", "celery", "-A", "testproject", "worker", *options, "-l", "INFO"]
    return Post(name, command, environment, " ready.")


def _embedded(environment: dict[str, str]) -> Post:
    command = ["manage.py", "durable_worker", "--threads", str(CHILDREN)]
    return Post("embedded", command, {**environment, "PYTHONUNBUFFERED": "1"}, "durable worker on")


def _beat(name: str, folder: Path) -> Post:
    options = ["--pidfile", "", "-s", str(folder / f"{name}.schedule"), "-l", "WARNING"]
    return Post(name, ["-m", "celery", "-A", "testproject", "beat", *options], {}, "")


def stopped(pid: int) -> bool:
    """SIGSTOP has taken effect, or the process is gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return True
    return state in {"T", "t", "Z", "X"}


def freeze(pids: list[int]) -> None:
    """Stop processes and return once none of them can do anything any more."""
    for pid in pids:
        _signal(pid, signal.SIGSTOP)
    for pid in pids:
        wait_until(lambda pid=pid: stopped(pid), lambda pid=pid: f"{pid} does not stop")


def thaw(pids: list[int]) -> None:
    for pid in pids:
        _signal(pid, signal.SIGCONT)


def kill(pids: list[int]) -> None:
    for pid in pids:
        _signal(pid, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)
