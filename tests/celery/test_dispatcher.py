"""A broker that refuses, is silent or cannot even be connected to costs a caller less than a second, never an error."""

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import path
from kombu import Connection

from django_durable import publishing
from django_durable.models import Timer
from django_durable.publishing import Publisher
from django_durable.tasks import CeleryDispatcher, drain
from testproject.celery import app
from tests.celery.workflows import mixed


def begin(request: HttpRequest) -> HttpResponse:
    with transaction.atomic():
        execution = mixed.start("unused")
    return HttpResponse(str(execution.id), status=201)


urlpatterns = [path("begin/", begin)]


@contextmanager
def refusing() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def silent() -> Iterator[int]:
    """Connections are accepted, by the kernel, and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


@contextmanager
def full() -> Iterator[int]:
    """The backlog is full: an attempt to connect hangs."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as stack:
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


@pytest.fixture(params=["redis", "amqp"])
def scheme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=[refusing, silent, full], ids=lambda broker: broker.__name__)
def dead_broker(request: pytest.FixtureRequest, scheme: str, use_broker: Callable[[str], None]) -> Iterator[None]:
    with request.param() as port:
        use_broker(f"{scheme}://127.0.0.1:{port}//")
        yield


def took(call: Callable[[], Any]) -> float:
    began = time.monotonic()
    call()
    return time.monotonic() - began


@pytest.mark.usefixtures("dead_broker")
def test_a_dead_broker_costs_less_than_a_second_and_then_nothing(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = CeleryDispatcher()

    first = took(lambda: dispatcher.wake(uuid4(), queue="default", using="default"))
    following = took(lambda: [dispatcher.drain("default", using="default") for _ in range(100)])

    assert first < 1
    assert following < 0.05
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.usefixtures("dead_broker")
def test_many_threads_wait_for_a_dead_broker_at_once_not_in_turn() -> None:
    dispatcher = CeleryDispatcher()
    times: list[float] = []

    def hint() -> None:
        times.append(took(lambda: dispatcher.drain("default", using="default")))

    in_threads(hint, 20)

    assert len(times) == 20
    assert max(times) < 1


@pytest.mark.usefixtures("dead_broker", "transactional_db")
def test_a_view_that_starts_an_execution_answers_within_a_second(client: Any, settings: Any) -> None:
    settings.ROOT_URLCONF = __name__
    client.get("/warm-up/")
    began = time.monotonic()

    response = client.post("/begin/")

    assert time.monotonic() - began < 1
    assert response.status_code == 201
    assert Timer.objects.due().filter(pk=response.content.decode()).exists()


def test_a_publisher_that_hangs_for_good_is_waited_for_once(caplog: pytest.LogCaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr(publishing, "REST_SECONDS", 0.0)
    forever = threading.Event()
    hangs = fake_task(lambda: forever.wait(10))
    publisher = Publisher()

    assert took(lambda: publisher.send(hangs, [])) < 1
    times = [took(lambda: publisher.send(hangs, [])) for _ in range(2)]
    forever.set()

    assert max(times) < 1


def test_hints_flow_again_after_the_rest(monkeypatch) -> None:
    monkeypatch.setattr(publishing, "REST_SECONDS", 0.05)
    answers = iter([ConnectionError("down"), None])

    def publish() -> None:
        if error := next(answers):
            raise error

    publisher, task = Publisher(), fake_task(publish)

    assert publisher.send(task, []) is False
    assert publisher.send(task, []) is False  # left alone
    time.sleep(0.06)
    assert publisher.send(task, []) is True


def test_an_idle_publisher_ends_its_thread_and_starts_again(monkeypatch) -> None:
    monkeypatch.setattr(publishing, "IDLE_SECONDS", 0.02)
    publisher, task = Publisher(), fake_task(lambda: None)
    assert publisher.send(task, []) is True
    thread = publisher._thread
    if thread is not None:
        thread.join(timeout=5)

    assert publisher._thread is None
    assert publisher.send(task, []) is True


def test_a_forked_child_publishes_through_a_thread_of_its_own() -> None:
    publisher, task = Publisher(), fake_task(lambda: None)
    assert publisher.send(task, []) is True

    publisher.after_fork()

    assert publisher._thread is None
    assert publisher.send(task, []) is True


@pytest.mark.celery
def test_hints_of_many_threads_all_arrive(queue: str) -> None:
    dispatcher = CeleryDispatcher()

    in_threads(lambda: [dispatcher.drain("default", using="default") for _ in range(20)], 8)

    assert waiting_messages(queue) == 160


@pytest.mark.celery
def test_a_connection_that_has_gone_stale_is_renewed(broker_url: str, queue: str) -> None:
    publisher = Publisher()
    assert publisher.send(drain, ["default", "default"]) is True
    for descriptor in broker_sockets(broker_url):
        with socket.socket(fileno=os.dup(descriptor)) as ours:
            ours.shutdown(socket.SHUT_RDWR)

    assert publisher.send(drain, ["default", "default"]) is True
    assert waiting_messages(queue) == 2


@pytest.mark.usefixtures("db")
def test_eager_tasks_run_in_the_caller_and_its_transaction(monkeypatch) -> None:
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    ran_in: list[threading.Thread] = []
    task = fake_task(lambda: ran_in.append(threading.current_thread()))

    assert Publisher().send(task, []) is True

    assert ran_in == [threading.current_thread()]


def fake_task(publish: Callable[[], Any]) -> Any:
    """Stands in for a task: what ``apply_async`` does is the test's to say."""
    task = SimpleNamespace(name="fake", apply_async=lambda *args, **options: publish())
    producer = SimpleNamespace(connection=SimpleNamespace(release=lambda: None))
    task.app = SimpleNamespace(
        tasks={"fake": task},
        conf=app.conf,
        amqp=SimpleNamespace(Producer=lambda *args, **options: producer),
        connection_for_write=lambda **options: None,
    )
    return task


def in_threads(work: Callable[[], Any], count: int) -> None:
    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)


def waiting_messages(queue: str) -> int:
    with app.connection_for_read() as connection:
        return app.amqp.queues[queue](connection.default_channel).queue_declare().message_count


def broker_sockets(broker_url: str) -> list[int]:
    """This process's open sockets to the broker."""
    port = Connection(broker_url).port or 5672
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as candidate:
                if candidate.getpeername()[1] == port:
                    found.append(int(name))
        except OSError:
            continue
    return found
