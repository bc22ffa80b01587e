"""Presence: who says that it is there, how often that is written, and that nothing else depends on it."""

import os
import signal
import socket
import threading
from io import StringIO

import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from django_durable import clock, tasks
from django_durable.engine import presence
from django_durable.engine.presence import Announcer, Presence
from django_durable.models import Node, NodeKind
from tests.models import rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("polling")]


@pytest.fixture(autouse=True)
def nothing_said_yet(monkeypatch):
    monkeypatch.setattr(presence, "_ticked_at", {})
    monkeypatch.setattr(tasks, "_ticked_at", {})


@pytest.fixture
def own_signals():
    """The command takes the signals of its process; they are given back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def worker(name="w@here", **options):
    return Presence(**{"kind": NodeKind.WORKER, "name": name, "source": "test", "using": "default", **options})


def test_a_worker_is_noted_with_what_it_reads_and_knows(monkeypatch):
    monkeypatch.setattr(presence, "workflows_here", lambda: {"orders": [1, 2]})
    assert worker(queues=lambda: ["mail", "default"]).say()
    node = Node.objects.get()
    assert (node.kind, node.name, node.pid, node.host) == ("worker", "w@here", os.getpid(), socket.gethostname())
    assert node.queues == ["default", "mail"]
    assert node.knows("orders", 2)
    assert not node.knows("orders", 3)


def test_saying_it_again_is_one_statement_and_moves_the_time():
    with clock.frozen() as frozen:
        worker().say()
        frozen.advance(rows.HOUR)
        with CaptureQueriesContext(connection) as captured:
            worker(queues=lambda: ["mail"]).say()
        assert len(captured) == 1
        node = Node.objects.get()
        assert (node.seen_at - node.started_at, node.queues) == (rows.HOUR, ["mail"])


def test_a_successor_of_the_same_name_begins_anew():
    rows.node(name="w@here", pid=1, workflows={"old": [1]}, queues=["old"])
    worker().say()
    node = Node.objects.get()
    assert (node.pid, node.queues) == (os.getpid(), [])
    assert not node.knows("old", 1)


def test_rows_of_the_long_gone_are_deleted_by_whoever_is_new():
    with clock.frozen() as frozen:
        rows.node(name="gone", seen_at=frozen.now() - 25 * rows.HOUR)
        rows.node(name="silent", seen_at=frozen.now() - 23 * rows.HOUR)
        worker().say()
    assert set(Node.objects.values_list("name", flat=True)) == {"silent", "w@here"}


def test_one_that_stops_takes_its_row_away_and_no_other():
    worker().say()
    worker("other").say()
    worker().leave()
    assert Node.objects.get().name == "other"


@pytest.mark.parametrize("error", [DatabaseError("away"), DatabaseError("read-only")], ids=str)
def test_a_database_that_refuses_is_a_line_in_the_log_and_no_error(monkeypatch, caplog, error):
    def refuse(self):
        raise error

    caplog.set_level("INFO", "django_durable.health")
    monkeypatch.setattr(Presence, "_write", refuse)
    assert worker().say() is False
    assert [record.name for record in caplog.records] == ["django_durable.health"]


def test_of_half_a_minute_of_ticks_three_are_noted_each_by_one_statement_after_the_first(monkeypatch):
    """The idle second of the design, as Celery's task plays it: 31 of them, of which three note it."""
    seconds = iter(range(31))
    now = [0.0]
    monkeypatch.setattr(clock, "process_seconds", lambda: now[0])
    said = []
    for now[0] in map(float, seconds):
        with CaptureQueriesContext(connection) as captured:
            tasks.tick()
        writes = [query["sql"] for query in captured if "django_durable_node" in query["sql"]]
        assert len(captured) - len(writes) <= 4
        said.append(len(writes))
    assert [second for second, number in enumerate(said) if number] == [0, 15, 30]
    assert said[15] == said[30] == 1
    assert Node.objects.get().kind == NodeKind.TICK


def test_every_way_to_tick_notes_it(monkeypatch):
    call_command("durable_tick", stdout=StringIO())
    assert Node.objects.get().source == "durable_tick"
    monkeypatch.setattr(presence, "_ticked_at", {})
    tasks.tick()
    assert Node.objects.get().source == "celery"


@pytest.mark.django_db(transaction=True)
def test_an_announcer_says_it_until_it_is_stopped(monkeypatch):
    monkeypatch.setattr(presence, "SAY_SECONDS", 0.01)
    said, twice = [], threading.Event()
    real = Presence.say

    def say(self):
        said.append(real(self))
        if len(said) == 2:
            twice.set()
        return said[-1]

    monkeypatch.setattr(Presence, "say", say)
    announcer = Announcer(worker())
    announcer.start()
    try:
        assert twice.wait(timeout=120)
        assert Node.objects.get().name == "w@here"
    finally:
        announcer.stop()
    assert all(said)
    assert not Node.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_the_embedded_worker_is_there_while_it_runs(monkeypatch, own_signals):
    seen = []
    run = "django_durable.engine.embedded.EmbeddedWorker.run"
    spoken = threading.Event()
    real = Presence.say

    def say(self):
        told = real(self)
        spoken.set()
        return told

    def running(self, *, until_idle):
        assert spoken.wait(timeout=120)
        seen.extend(Node.objects.filter(kind="worker").values_list("source", "queues"))
        return 0

    monkeypatch.setattr(Presence, "say", say)
    monkeypatch.setattr(run, running)
    call_command("durable_worker", "--queue", "default", stdout=StringIO())
    assert seen == [("durable_worker", ["default"])]
    assert not Node.objects.filter(kind="worker").exists()
