"""The databases and brokers that the suite can run on, and whether each answers from here.

A probe returns the server's version, or raises: what it raises is the reason given for "not covered".
"""

import importlib
import os
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from kombu import Connection

from testproject.settings import database


@dataclass(frozen=True)
class Service:
    """One server by the name used on command lines, and its name in print."""

    name: str
    title: str
    probe: Callable[[], str]


@dataclass(frozen=True)
class Broker(Service):
    """A broker; the suite reads its address from ``url_variable``, which is empty when it does not answer."""

    url_variable: str
    default_url: str

    @property
    def url(self) -> str:
        return os.environ.get(self.url_variable) or self.default_url


class Unavailable(Exception):
    """Why a service cannot be covered, in one line."""


def answer(service: Service) -> str:
    """Return the version of a service, or raise Unavailable with the reason."""
    try:
        return service.probe()
    except Exception as error:  # drivers have no common base class; whatever it is, it is the reason
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise Unavailable(lines[0]) from error


def _sqlite() -> str:
    return sqlite3.sqlite_version


def _postgres() -> str:
    entry = database("postgres")
    psycopg = _driver("psycopg", "psycopg is not installed")
    with psycopg.connect(
        host=entry["HOST"],
        port=entry["PORT"],
        user=entry["USER"],
        password=entry["PASSWORD"],
        dbname="postgres",
        connect_timeout=5,
    ) as connection:
        return str(connection.execute("SHOW server_version").fetchone()[0])


def _mariadb() -> str:
    entry = database("mariadb")
    driver = _driver(
        "MySQLdb",
        "mysqlclient is not installed: it is built from source and needs a C compiler, pkg-config and the"
        " libmariadb-dev headers; with these in place, `make clean test` tries again",
    )
    connection = driver.connect(
        host=entry["HOST"],
        port=int(entry["PORT"]),
        user=entry["USER"],
        password=entry["PASSWORD"],
        connect_timeout=5,
    )
    try:
        return str(connection.get_server_info())
    finally:
        connection.close()


def _driver(module: str, missing: str):
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise Unavailable(missing) from error


def _broker(name: str) -> str:
    with Connection(BROKERS[name].url, connect_timeout=5) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0.2, timeout=5)
        return f"at {connection.as_uri()}"


DATABASES = {
    "sqlite": Service("sqlite", "SQLite", _sqlite),
    "postgres": Service("postgres", "PostgreSQL", _postgres),
    "mariadb": Service("mariadb", "MariaDB", _mariadb),
}
BROKERS = {
    "redis": Broker(
        "redis",
        "Redis",
        lambda: _broker("redis"),
        url_variable="DURABLE_TEST_REDIS_URL",
        default_url="redis://127.0.0.1:6379/9",
    ),
    "rabbitmq": Broker(
        "rabbitmq",
        "RabbitMQ",
        lambda: _broker("rabbitmq"),
        url_variable="DURABLE_TEST_RABBITMQ_URL",
        default_url="amqp://guest:guest@127.0.0.1:5672//",
    ),
}
