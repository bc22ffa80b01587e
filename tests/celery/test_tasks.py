"""The tasks and the main process's receivers, without a worker around them."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import celery.concurrency.gevent
import celery.concurrency.prefork
import pytest
from celery import signals
from django.db import OperationalError, connections

from django_durable import celery_worker, clock, dispatch, tasks
from django_durable.engine import claims, holders, shutdown, worker


@pytest.fixture
def not_stopping() -> Iterator[None]:
    yield
    shutdown.forget()


@pytest.mark.usefixtures("not_stopping")
def test_a_stopping_worker_passes_a_hint_on_and_claims_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    passed_on: list[Any] = []
    monkeypatch.setattr(dispatch, "wake", lambda execution_id, *, queue, using: passed_on.append(execution_id))
    monkeypatch.setattr(dispatch, "drain", lambda queue, *, using: passed_on.append(queue))
    monkeypatch.setattr(claims, "take", lambda *args, **kwargs: pytest.fail("claimed"))
    monkeypatch.setattr(claims, "take_next", lambda *args, **kwargs: pytest.fail("claimed"))
    execution_id = uuid4()
    signals.worker_shutting_down.send(sender="w@h", sig="SIGTERM", how="Warm", exitcode=0)

    tasks.advance(str(execution_id), "default", "default")
    tasks.drain("default", "default")

    assert passed_on == [execution_id, "default"]


@pytest.mark.usefixtures("not_stopping")
def test_a_worker_that_starts_is_not_stopping_any_more() -> None:
    shutdown.request_stop()

    celery_worker.start()

    assert not shutdown.is_stopping()


@pytest.fixture
def of_no_worker() -> Iterator[None]:
    yield
    holders.join("")


@pytest.mark.usefixtures("of_no_worker", "not_stopping")
def test_leases_carry_the_name_of_the_worker() -> None:
    celery_worker.start(sender=SimpleNamespace(hostname="w@h", pool_cls="prefork"))

    assert holders.this_process().endswith(":w@h")


class Derived(celery.concurrency.gevent.TaskPool):
    pass


@pytest.mark.parametrize("pool", ["gevent", "eventlet", "celery.concurrency.gevent:TaskPool", Derived])
def test_a_pool_of_greenlets_is_refused_at_the_start(pool: object) -> None:
    with pytest.raises(SystemExit, match=r"pool '(gevent|eventlet)' is not supported; use prefork, threads or solo"):
        celery_worker.start(sender=SimpleNamespace(hostname="w@h", pool_cls=pool))


def test_spawned_children_are_refused_at_the_start() -> None:
    worker = SimpleNamespace(hostname="w@h", pool_cls="prefork", pool_start_method="spawn")
    with pytest.raises(SystemExit, match="'spawn' is not supported; use fork"):
        celery_worker.start(sender=worker)


@pytest.mark.parametrize(
    "pool", ["prefork", "processes", "threads", "solo", celery.concurrency.prefork.TaskPool, "", None]
)
def test_every_other_pool_may_start(pool: object) -> None:
    assert celery_worker.refused_pool(pool) == ""


@pytest.mark.django_db(transaction=True)
def test_a_kept_connection_that_died_costs_one_more_try(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = iter([OperationalError("gone"), 0])

    def drain(queue: str, *, using: str) -> int:
        outcome = next(outcomes)
        if isinstance(outcome, Exception):
            raise outcome
        assert connections[using].connection is None
        return outcome

    monkeypatch.setattr(worker, "drain", drain)
    connections["default"].ensure_connection()

    tasks.drain("default", "default")

    assert next(outcomes, "both used") == "both used"


@pytest.mark.django_db
def test_inside_a_transaction_nothing_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    def drain(queue: str, *, using: str) -> int:
        raise OperationalError("gone")

    monkeypatch.setattr(worker, "drain", drain)

    with pytest.raises(OperationalError):
        tasks.drain("default", "default")


def test_a_database_that_fails_does_not_end_the_watch(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def release_dead(*, using: str, is_starting: bool) -> int:
        raise OperationalError("away")

    monkeypatch.setattr(claims, "release_dead", release_dead)

    celery_worker.release_dead()

    assert [record.levelno for record in caplog.records] == [logging.WARNING]


class Replacing:
    @property
    def info(self) -> Any:
        raise AttributeError("_pool")


@pytest.mark.parametrize(
    ("pool", "pids"),
    [
        (SimpleNamespace(info={"processes": [7, 8]}), [7, 8]),
        (SimpleNamespace(info={"threads": 2}), []),
        (Replacing(), []),
        (None, []),
    ],
)
def test_only_pools_of_processes_are_watched(pool: Any, pids: list[int]) -> None:
    assert celery_worker._pids(pool) == pids


def test_a_dead_child_is_noticed_once_and_its_replacement_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = iter([[1], [1], [1], [], [3], [3]])  # dead but not yet missed, gone, replaced
    living = iter([True, False])
    released: list[bool] = []
    monkeypatch.setattr(celery_worker, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(celery_worker, "_pids", lambda pool: next(rounds))
    monkeypatch.setattr(celery_worker.holders, "name_of", lambda pid: f"pid {pid}")  # alive when first seen
    monkeypatch.setattr(celery_worker.holders, "is_dead", lambda name: name == "pid 1" and not next(living, True))
    monkeypatch.setattr(celery_worker, "release_dead", lambda is_starting=False: released.append(is_starting))

    with pytest.raises(StopIteration):
        celery_worker._watch(None)

    assert released == [True, False]  # at the start, and for the dead one


def test_of_ticks_that_gathered_one_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setattr(tasks, "run_tick", lambda *, using: ran.append(using))
    monkeypatch.setattr(tasks.presence, "ticked", lambda source, *, using: None)
    monkeypatch.setattr(tasks, "_ticked_at", {})
    monkeypatch.setattr(clock, "process_seconds", lambda: 1000.0)
    for _ in range(5):
        tasks.tick("default")
    tasks.tick("other")
    monkeypatch.setattr(clock, "process_seconds", lambda: 1000.6)
    tasks.tick("default")
    assert ran == ["default", "other", "default"]
