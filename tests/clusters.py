"""A PostgreSQL server of the test's own, to be stopped and started at will; the shared one belongs to all.

It is a child process in the process group of the test, so nothing outlives a run that is killed with its group.
PostgreSQL refuses to run as root; where the tests do, it runs as the user that Debian's package makes.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from django.core.management import call_command
from django.db import connection

START_SECONDS = 120.0
SERVER_USER = "postgres"


class PostgresCluster:
    """``with PostgresCluster() as cluster``: made, started, and removed at the end; the port stays the same.

    options: server settings, ``fsync="off"`` for one.
    """

    host = "127.0.0.1"
    user = "postgres"

    def __init__(self, **options: str) -> None:
        self.port = free_port()
        self._options = options
        self._folder = Path(tempfile.mkdtemp(prefix="durable-postgres-"))
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            as_server_user(self._folder)
            initdb = [_binary("initdb"), "-D", self._data, "-U", self.user, "-A", "trust", "-E", "UTF8", "--no-sync"]
            subprocess.run(initdb, check=True, stdout=subprocess.DEVNULL, **server_user())
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop_immediate()
        shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Return once the server takes connections, crash recovery included."""
        settings = {"listen_addresses": self.host, "port": str(self.port), "unix_socket_directories": str(self._folder)}
        arguments = [f"--{name}={value}" for name, value in {**settings, **self._options}.items()]
        with self.log.open("ab") as log:
            self._server = subprocess.Popen(
                [_binary("postgres"), "-D", self._data, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **server_user(),
            )
        wait_until(self._answers, lambda: f"PostgreSQL on port {self.port} does not start\n{self.log.read_text()}")

    def stop_immediate(self) -> None:
        """What ``pg_ctl stop -m immediate`` does: every connection drops, the next start recovers from the log."""
        if self._server is not None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(timeout=START_SECONDS)
            self._server = None

    @property
    def log(self) -> Path:
        return self._folder / "log"

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _answers(self) -> bool:
        asked = [_binary("pg_isready"), "-q", "-h", self.host, "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0


@pytest.fixture
def cluster(django_db_blocker: Any) -> Iterator[PostgresCluster]:
    """A server that the test may stop: the default connection of this process leads there until the test ends."""
    entry = connection.settings_dict
    shared = dict(entry)
    with django_db_blocker.unblock(), PostgresCluster(fsync="off") as cluster:
        connection.close()
        entry.update(HOST=cluster.host, PORT=str(cluster.port), USER=cluster.user, PASSWORD="", NAME="postgres")
        try:
            call_command("migrate", verbosity=0)
            yield cluster
        finally:
            connection.close()
            entry.update(shared)


def server_user() -> dict[str, Any]:
    """For subprocess: another user than root, where the tests are root."""
    return {"user": SERVER_USER, "group": SERVER_USER, "extra_groups": []} if os.geteuid() == 0 else {}


def as_server_user(path: Path) -> None:
    if os.geteuid() == 0:
        account = pwd.getpwnam(SERVER_USER)
        os.chown(path, account.pw_uid, account.pw_gid)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def wait_until(condition: Callable[[], bool], why: Callable[[], str], seconds: float = START_SECONDS) -> None:
    ends_at = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends_at:
            raise TimeoutError(why())
        time.sleep(0.05)


def _binary(name: str) -> str:
    """From the newest PostgreSQL of Debian's layout, else from PATH."""
    versions = Path("/usr/lib/postgresql").glob(f"*/bin/{name}")
    newest = max(versions, key=lambda path: int(path.parts[4]), default=None)
    return str(newest or shutil.which(name) or name)
