"""The storm's own servers, in its own folder and on free ports, to be hurt at will. Default durability."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import redis

from tests.clusters import PostgresCluster, free_port, wait_until

NEEDED = {
    "postgres": ["/usr/lib/postgresql", "pg_ctl"],
    "mariadb": ["mariadbd", "/usr/sbin/mariadbd"],
    "sqlite": [],
    "redis": ["redis-server"],
}


class MissingServer(Exception):
    """What the storm cannot do without."""


class Redis:
    """Keeps nothing: after a restart every message is lost."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._client = redis.Redis(port=self.port)
        self.start()

    def start(self) -> None:
        options = ["--port", str(self.port), "--save", "", "--appendonly", "no", "--dir", str(self._folder)]
        self._server = _spawn(["redis-server", *options], self._folder / "redis.log")
        wait_until(self._answers, lambda: (self._folder / "redis.log").read_text())

    def flush(self) -> None:
        self._client.flushall()

    def restart(self) -> None:
        self.stop()
        self.start()

    def stop(self) -> None:
        self._server.kill()
        self._server.wait(timeout=10)

    def _answers(self) -> bool:
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False


class Postgres:
    """``crash`` and ``start``: what ``pg_ctl stop -m immediate`` and a start do."""

    def __init__(self, folder: Path) -> None:
        self._cluster = PostgresCluster(max_connections="100").__enter__()
        self.port = self._cluster.port
        for sql in ("CREATE DATABASE storm", "CREATE ROLE storm SUPERUSER LOGIN"):
            self._psql(sql)

    def _psql(self, sql: str) -> None:
        import psycopg

        with psycopg.connect(host="127.0.0.1", port=self.port, user="postgres", autocommit=True) as connection:
            connection.execute(sql)

    def crash(self) -> None:
        self._cluster.stop_immediate()

    def start(self) -> None:
        self._cluster.start()

    def stop(self) -> None:
        self._cluster.__exit__(None, None, None)


class MariaDB:
    """``crash`` is SIGKILL."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._folder, self._data = folder, folder / "mariadb"
        self._log = folder / "mariadb.log"
        self._data.mkdir()
        self._as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as_user = {"user": "mysql", "group": "mysql", "extra_groups": []}
            shutil.chown(self._data, "mysql", "mysql")
        install = ["--no-defaults", f"--datadir={self._data}", "--auth-root-authentication-method=normal"]
        with self._log.open("ab") as log:
            subprocess.run(
                ["mariadb-install-db", *install, "--skip-test-db"], check=True, stdout=log, stderr=log, **self._as_user
            )
        self.start()
        for sql in ("CREATE DATABASE storm CHARACTER SET utf8mb4", "CREATE USER storm@'127.0.0.1'"):
            self._execute(sql)
        self._execute("GRANT ALL ON *.* TO storm@'127.0.0.1'")

    def start(self) -> None:
        places = [f"--datadir={self._data}", f"--socket={self._data}/socket", f"--pid-file={self._data}/pid"]
        network = [f"--port={self.port}", "--bind-address=127.0.0.1", "--skip-name-resolve"]
        self._server = _spawn([_mariadbd(), "--no-defaults", *places, *network], self._log, **self._as_user)
        wait_until(self._answers, self._log.read_text, 40)

    def _answers(self) -> bool:
        import MySQLdb

        try:
            MySQLdb.connect(host="127.0.0.1", port=self.port, user="root").close()
        except MySQLdb.OperationalError:
            return False
        return True

    def _execute(self, sql: str) -> None:
        import MySQLdb

        connection = MySQLdb.connect(host="127.0.0.1", port=self.port, user="root")
        connection.cursor().execute(sql)
        connection.close()

    def crash(self) -> None:
        self._server.kill()
        self._server.wait(timeout=20)

    def stop(self) -> None:
        self.crash()


class SQLite:
    """A file in the folder: no server that could crash."""

    port = 0

    def __init__(self, folder: Path) -> None:
        pass

    def stop(self) -> None:
        pass


DATABASES: dict[str, type[Any]] = {"postgres": Postgres, "mariadb": MariaDB, "sqlite": SQLite}


def require(*names: str) -> None:
    """Raise MissingServer unless everything that these need is installed."""
    for name in names:
        places = NEEDED[name]
        if places and not any(shutil.which(place) or Path(place).exists() for place in places):
            raise MissingServer(f"{name} is not installed: none of {', '.join(places)} was found.")


def _mariadbd() -> str:
    return shutil.which("mariadbd") or "/usr/sbin/mariadbd"


def _spawn(command: list[str], log: Path, **options: Any) -> subprocess.Popen[bytes]:
    """In our process group, so that nothing outlives a run which is killed with its group."""
    with log.open("ab") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, **options)
