"""Publishing hints: a broker that refuses, is silent or cannot even be connected to costs a caller nothing."""

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

from django_durable import clock, publishing
from django_durable.models import Timer
from django_durable.publishing import Hint, Publisher
from django_durable.tasks import CeleryDispatcher
from testproject.celery import app
from tests.celery.processes import PATIENCE_SECONDS
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


class Standing:
    """The process's clock, moved by hand."""

    seconds = 1000.0

    def advance(self, seconds: float) -> None:
        self.seconds += seconds


@pytest.fixture
def time_stands(monkeypatch: pytest.MonkeyPatch) -> Standing:
    standing = Standing()
    monkeypatch.setattr(clock, "process_seconds", lambda: standing.seconds)
    return standing


@pytest.fixture
def connecting(monkeypatch: pytest.MonkeyPatch) -> list[threading.Thread]:
    """Which threads have tried to connect somewhere. No clock tells as well who waits: the machine may be busy."""
    threads: list[threading.Thread] = []
    real = socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        threads.append(threading.current_thread())
        real(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    return threads


@pytest.mark.usefixtures("dead_broker")
def test_a_dead_broker_costs_the_caller_nothing_and_the_end_of_the_process_a_second(
    caplog: pytest.LogCaptureFixture, connecting: list[threading.Thread]
) -> None:
    dispatcher = CeleryDispatcher()

    for _ in range(100):
        dispatcher.wake(uuid4(), queue="default", using="default")
    sender = dispatcher._publisher._thread
    dispatcher._publisher.flush()

    assert publishing.FLUSH_SECONDS <= 1  # longer than that nobody waited
    eventually(
        lambda: [record.levelno for record in caplog.records if record.thread == sender.ident] == [logging.WARNING]
    )
    assert set(connecting) == {sender}
    dispatcher.drain("default", using="default")
    assert dispatcher._publisher.flush() is True  # nothing was handed over: the broker is left alone


@pytest.mark.usefixtures("dead_broker", "transactional_db")
def test_a_view_that_starts_an_execution_does_not_wait(
    client: Any, settings: Any, connecting: list[threading.Thread]
) -> None:
    settings.ROOT_URLCONF = __name__

    response = client.post("/begin/")

    eventually(lambda: connecting)
    assert threading.current_thread() not in connecting
    assert response.status_code == 201
    assert Timer.objects.due().filter(pk=response.content.decode()).exists()


def test_a_publisher_that_hangs_for_good_stops_nobody() -> None:
    forever = threading.Event()
    publisher, hangs = Publisher(), hint_of(lambda: forever.wait(PATIENCE_SECONDS))

    for hint in [hangs, *[hint_of(lambda: None) for _ in range(100)]]:
        publisher.send(hint)
    assert publisher.flush(0.05) is False
    forever.set()
    assert publisher.flush(PATIENCE_SECONDS) is True


def test_hints_flow_again_after_the_rest(time_stands: Standing) -> None:
    answers, sent = iter([ConnectionError("down"), None]), []

    def publish() -> None:
        sent.append(time_stands.seconds)
        if error := next(answers):
            raise error

    publisher, hint = Publisher(), hint_of(publish)

    for pause in (0, publishing.REST_SECONDS / 2, publishing.REST_SECONDS / 2):  # fails; is dropped; arrives
        time_stands.advance(pause)
        publisher.send(hint)
        publisher.flush(PATIENCE_SECONDS)
    assert sent == [1000, 1000 + publishing.REST_SECONDS]


def test_an_idle_publisher_ends_its_thread_and_starts_again(monkeypatch) -> None:
    monkeypatch.setattr(publishing, "IDLE_SECONDS", 0.02)
    sent: list[int] = []
    publisher, hint = Publisher(), hint_of(lambda: sent.append(1))
    publisher.send(hint)
    eventually(lambda: publisher._thread is None)

    publisher.send(hint)

    eventually(lambda: len(sent) == 2)


def test_a_forked_child_publishes_through_a_thread_of_its_own() -> None:
    sent: list[int] = []
    publisher, hint = Publisher(), hint_of(lambda: sent.append(1))
    publisher.send(hint)
    assert publisher.flush(PATIENCE_SECONDS)

    publisher.after_fork()

    assert publisher._thread is None
    publisher.send(hint)
    assert publisher.flush(PATIENCE_SECONDS)
    assert len(sent) == 2


# -- folding: what one message stands for --------------------------------------------------------------


def test_the_first_goes_at_once_and_the_next_ones_as_one(time_stands: Standing) -> None:
    folding, again = publishing.Folding(), Hint("q", None, [])
    hint = Hint("q", None, [], again=again)

    assert folding.add(hint) is True
    assert folding.due() == [hint]
    assert [folding.add(hint) for _ in range(4)] == [True, False, False, False]
    assert folding.add(Hint("other", None, [])) is True
    assert [found.subject for found in folding.due()] == ["other"]
    assert folding.seconds_left() == pytest.approx(publishing.FOLD_SECONDS)
    time_stands.advance(0.03)
    assert folding.due() == [again]
    assert folding.add(hint) is True  # that message opened the next moment
    assert folding.due() == []
    time_stands.advance(0.03)
    assert folding.due() == [again]
    time_stands.advance(0.03)
    assert (folding.due(), folding.seconds_left()) == ([], None)
    folding.add(hint)
    assert folding.due() == [hint]


def test_two_that_wait_for_the_publisher_become_one_for_the_queue(time_stands: Standing) -> None:
    """A message about one execution does nothing for another if the first is taken already."""
    folding, again = publishing.Folding(), Hint("q", None, [])
    folding.add(Hint("q", None, ["first"], again=again))
    folding.add(Hint("q", None, ["second"], again=again))
    assert folding.due() == [again]


def test_at_the_end_nothing_is_held_back_but_what_would_come_too_early(time_stands: Standing) -> None:
    folding, again = publishing.Folding(), Hint("q", None, [])
    folding.add(again)
    folding.due()
    folding.add(Hint("q", None, [], again=again))
    folding.add(Hint("later", None, [], delay_seconds=1))
    assert folding.due(at_the_end=True) == [again]


def test_what_is_due_in_the_same_moment_is_one_message_at_its_end(
    time_stands: Standing, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Hint] = []
    monkeypatch.setattr(Publisher, "send", lambda self, hint: sent.append(hint))
    for seconds in (0.501, 0.519, 0.9):
        CeleryDispatcher().drain("default", using="default", delay_seconds=seconds)
    folding = publishing.Folding()
    assert [folding.add(hint) for hint in sent] == [True, False, True]
    assert 0.519 < folding.seconds_left() < 0.53
    assert folding.due() == []
    time_stands.advance(0.53)
    assert folding.due() == [sent[0]]
    time_stands.advance(0.4)
    assert folding.due() == [sent[2]]
    assert not any("countdown" in hint.options for hint in sent)


def test_a_thread_that_cannot_start_costs_one_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[int] = []
    publisher = Publisher()

    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as limited, pytest.raises(RuntimeError):
        limited.setattr(threading.Thread, "start", refuse)
        publisher.send(hint_of(lambda: sent.append(1)))
    publisher.send(hint_of(lambda: sent.append(2)))
    assert publisher.flush(PATIENCE_SECONDS)
    assert 2 in sent


@pytest.mark.celery
def test_hints_of_many_threads_arrive_as_a_few(queue: str) -> None:
    dispatcher = CeleryDispatcher()

    began = time.monotonic()
    in_threads(lambda: [dispatcher.drain("default", using="default") for _ in range(20)], 8)
    seconds = time.monotonic() - began
    publishing.flush()

    eventually(lambda: waiting_messages(queue) >= 2)  # RabbitMQ counts what it has taken a moment later
    assert waiting_messages(queue) <= 3 + seconds / publishing.FOLD_SECONDS


@pytest.mark.celery
def test_a_connection_that_has_gone_stale_is_renewed(broker_url: str, queue: str) -> None:
    dispatcher = CeleryDispatcher()
    dispatcher.drain("default", using="default")
    publishing.flush()
    for descriptor in broker_sockets(broker_url):
        with socket.socket(fileno=os.dup(descriptor)) as ours:
            ours.shutdown(socket.SHUT_RDWR)

    dispatcher.drain("default", using="other")
    publishing.flush()

    eventually(lambda: waiting_messages(queue) == 2)


@pytest.mark.usefixtures("db")
def test_eager_tasks_run_in_the_caller_and_its_transaction(monkeypatch) -> None:
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    ran_in: list[threading.Thread] = []

    Publisher().send(hint_of(lambda: ran_in.append(threading.current_thread())))

    assert ran_in == [threading.current_thread()]


@pytest.mark.usefixtures("db")
def test_eager_tasks_do_not_call_each_other_without_end(monkeypatch) -> None:
    monkeypatch.setitem(app.conf, "task_always_eager", True)
    publisher, depths = Publisher(), []

    def publish() -> None:
        depths.append(len(depths))
        publisher.send(hint)

    hint = hint_of(publish)
    publisher.send(hint)
    publisher.send(hint)
    assert depths == [0, 1]


def eventually(condition: Callable[[], Any]) -> None:
    ends_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < ends_at
        time.sleep(0.01)


def hint_of(publish: Callable[[], Any]) -> Hint:
    return Hint(object(), fake_task(publish), [])


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
        thread.join(timeout=PATIENCE_SECONDS)


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
