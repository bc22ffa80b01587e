"""Run tests on PostgreSQL through PgBouncer in transaction mode, with five server connections for each database.

    python -m tests.pgbouncer tests/engine tests/client -x

The server is the one that the suite would use without PgBouncer, see ``testproject.settings``.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg

from testproject.settings import database
from tests.clusters import as_server_user, free_port, server_user, wait_until
from tests.pgbouncer import TELLS

SERVER = database("postgres")
POOL_SIZE = 5


def main(arguments: list[str]) -> int:
    """Pass the arguments to pytest; return its exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that PgBouncer is stopped
    with tempfile.TemporaryDirectory(prefix="durable-pgbouncer-") as folder, running(Path(folder)) as port:
        environment = {
            **os.environ,
            "DURABLE_TEST_DATABASE": "postgres",
            "DURABLE_TEST_POSTGRES_HOST": "127.0.0.1",
            "DURABLE_TEST_POSTGRES_PORT": str(port),
            TELLS: "1",
        }
        # The pool's connections would be in the way of DROP DATABASE: it is dropped below.
        pytest = [sys.executable, "-m", "pytest", "--create-db", "--reuse-db", *arguments]
        status = subprocess.run(pytest, env=environment, check=False).returncode
    drop_test_database()
    return status


@contextmanager
def running(folder: Path) -> Iterator[int]:
    """The port of a PgBouncer. It refuses to run as root."""
    port = free_port()
    settings = folder / "pgbouncer.ini"
    settings.write_text(ini(port, folder / "log"))
    for path in (folder, settings):
        as_server_user(path)
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            ["/usr/sbin/pgbouncer", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            **server_user(),
        )
    try:
        wait_until(lambda: answers(port), lambda: f"PgBouncer does not start\n{(folder / 'output').read_text()}")
        yield port
    finally:
        process.terminate()
        process.wait(timeout=20)


def ini(port: int, log: Path) -> str:
    password = f" password={SERVER['PASSWORD']}" if SERVER["PASSWORD"] else ""
    return f"""
[databases]
* = host={SERVER["HOST"]} port={SERVER["PORT"]} user={SERVER["USER"]}{password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {POOL_SIZE}
max_client_conn = 500
logfile = {log}
"""


def answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def drop_test_database() -> None:
    with psycopg.connect(
        host=SERVER["HOST"],
        port=SERVER["PORT"],
        user=SERVER["USER"],
        password=SERVER["PASSWORD"],
        dbname="postgres",
        autocommit=True,
    ) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{SERVER["TEST"]["NAME"]}" WITH (FORCE)')


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
