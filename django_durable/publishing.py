"""Sending hints to the broker without making the caller wait for a broker that does not answer.

One daemon thread per process publishes over a connection of its own; the caller waits for it, but never longer than
``WAIT_SECONDS``. Celery's own publishing was measured against brokers that refuse, accept and stay silent, or let
the connection attempt hang: 6 and 11 s, 4 s, and for Redis no end at all. Time-outs in the connection's options
bring that to 0.4 s each for Redis and RabbitMQ; the thread bounds their sum, name look-ups and other transports.
"""

from __future__ import annotations

import logging
import os
import queue
import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

from django_durable import clock

logger = logging.getLogger("django_durable.dispatch")

WAIT_SECONDS = 0.7
REST_SECONDS = 5.0  # a broker that failed is left alone for so long; the tick finds what is dropped meanwhile
IDLE_SECONDS = 30.0  # then the thread ends and its connection is closed
MOST_WAITING = 100
SOCKET_SECONDS = 0.4
TRANSPORT_OPTIONS = {
    "max_retries": 0,  # kombu tries again for as long as it takes, whatever retry=False says
    "socket_connect_timeout": SOCKET_SECONDS,  # Redis
    "socket_timeout": SOCKET_SECONDS,
    "read_timeout": SOCKET_SECONDS,  # AMQP
    "write_timeout": SOCKET_SECONDS,
}


@dataclass(slots=True)
class _Message:
    task: Any
    args: list[str]
    options: dict[str, str]
    handled: threading.Event = field(default_factory=threading.Event)
    given_up: bool = False
    error: Exception | None = None


class _Line:
    """A broker connection: made when it is needed, dropped when it fails."""

    def __init__(self) -> None:
        self._producer: Any = None

    def publish(self, message: _Message) -> None:
        """Raises whatever the transport raises; a connection that stood open and has gone stale is renewed once."""
        was_open = self._producer is not None
        try:
            self._publish(message)
        except Exception:
            self.close()
            if not was_open:
                raise
            self._publish(message)

    def _publish(self, message: _Message) -> None:
        if self._producer is None:
            app = message.task.app
            connection = app.connection_for_write(connect_timeout=SOCKET_SECONDS, transport_options=TRANSPORT_OPTIONS)
            self._producer = app.amqp.Producer(connection, auto_declare=False)
        message.task.apply_async(message.args, producer=self._producer, retry=False, **message.options)

    def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.connection.release()
        except Exception:  # it is given up because it failed; how it fails now tells nothing
            logger.debug("Closing the broker connection failed.", exc_info=True)


class Publisher:
    """Thread-safe. ``send`` answers within ``WAIT_SECONDS`` and does not raise."""

    def __init__(self) -> None:
        self._begin()
        _publishers.add(self)

    def _begin(self) -> None:
        self._changed = threading.Lock()
        self._waiting: queue.SimpleQueue[_Message] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._rests_until = 0.0

    def send(self, task: Any, args: list[str], **options: str) -> bool:
        """Publish one hint; False: the broker did not take it, or is being left alone after it failed."""
        message = _Message(task.app.tasks[task.name], args, options)
        if message.task.app.conf.task_always_eager:  # the caller's thread, transaction and errors, as it asked for
            message.task.apply_async(args, **options)
            return True
        if clock.monotonic() < self._rests_until or self._waiting.qsize() >= MOST_WAITING:
            return False
        self._hand_over(message)
        if not message.handled.wait(WAIT_SECONDS):
            message.given_up = True
            self._rest(TimeoutError(f"no answer within {WAIT_SECONDS} s"))
            return False
        if message.error is not None:
            self._rest(message.error)
            return False
        return True

    def _hand_over(self, message: _Message) -> None:
        with self._changed:
            self._waiting.put(message)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="durable-publisher", daemon=True)
                self._thread.start()

    def _rest(self, error: Exception) -> None:
        self._rests_until = clock.monotonic() + REST_SECONDS
        logger.warning("The broker took no hint (%s); the tick will find the work.", error)

    def _run(self) -> None:
        line = _Line()
        try:
            while True:
                message = self._next()
                if message is None:
                    return
                if not message.given_up:
                    self._handle(message, line)
        finally:
            line.close()

    def _next(self) -> _Message | None:
        """None: nothing came for a while, and this thread is no longer the one that is waited for."""
        try:
            return self._waiting.get(timeout=IDLE_SECONDS)
        except queue.Empty:
            with self._changed:
                if not self._waiting.empty():
                    return self._waiting.get()
                self._thread = None
                return None

    @staticmethod
    def _handle(message: _Message, line: _Line) -> None:
        try:
            line.publish(message)
        except Exception as error:
            line.close()
            message.error = error
        finally:
            message.handled.set()

    def after_fork(self) -> None:
        """The thread and its connection stayed with the parent, and a lock may have been held."""
        self._begin()


_publishers: weakref.WeakSet[Publisher] = weakref.WeakSet()


def _after_fork() -> None:
    for publisher in _publishers:
        publisher.after_fork()


os.register_at_fork(after_in_child=_after_fork)
