"""Sending hints to the broker without making anybody wait for it.

One daemon thread per process publishes over a connection of its own; the caller only hands over. Celery's own
publishing was measured against brokers that refuse, accept and stay silent, or let the connection attempt hang: 6 and
11 s, 4 s, and for Redis no end at all. Time-outs in the connection's options bring that to 0.4 s each for Redis and
RabbitMQ; nobody but the thread waits for them.

The first hint of a queue is sent at once, those of the next moment as one: whoever follows a hint drains the queue.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from django_durable import clock

logger = logging.getLogger("django_durable.dispatch")

FOLD_SECONDS = 0.02
REST_SECONDS = 5.0  # a broker that failed is left alone for so long; the tick finds what is dropped meanwhile
IDLE_SECONDS = 30.0  # then the thread ends and its connection is closed
FLUSH_SECONDS = 0.7  # how long the end of the process waits for what is not yet sent
SOCKET_SECONDS = 0.4
TRANSPORT_OPTIONS = {
    "max_retries": 0,  # kombu tries again for as long as it takes, whatever retry=False says
    "socket_connect_timeout": SOCKET_SECONDS,  # Redis
    "socket_timeout": SOCKET_SECONDS,
    "read_timeout": SOCKET_SECONDS,  # AMQP
    "write_timeout": SOCKET_SECONDS,
}


@dataclass(frozen=True, slots=True)
class Hint:
    """One message. Those of one subject stand for each other: what follows the first is sent as ``again``, if at all.

    delay_seconds: kept here for so long, by this process's own clock; a broker's countdown goes by the worker's.
    """

    subject: Hashable
    task: Any
    args: list[str]
    options: dict[str, Any] = field(default_factory=dict)
    again: Hint | None = None
    delay_seconds: float = 0.0


class Folding:
    """What is to be sent when, by subject. After each message no further one of its subject goes out for a moment."""

    def __init__(self) -> None:
        self._moments: dict[Hashable, tuple[float, Hint | None]] = {}

    def add(self, hint: Hint) -> bool:
        """Whether there is now more to be sent: at once, after its delay, or when its subject's moment is over."""
        now = clock.process_seconds()
        until, planned = self._moments.get(hint.subject, (0.0, None))
        if planned is None and until <= now:
            self._moments[hint.subject] = (now + hint.delay_seconds, hint)
            return True
        self._moments[hint.subject] = (until, hint.again or planned)
        return planned is None and hint.again is not None

    def due(self, *, at_the_end: bool = False) -> list[Hint]:
        """Take what is to be sent now. at_the_end: also what is held back, but not what would come too early."""
        now = clock.process_seconds()
        over = [
            (subject, hint)
            for subject, (until, hint) in self._moments.items()
            if until <= now or (at_the_end and hint is not None and not hint.delay_seconds)
        ]
        for subject, hint in over:
            del self._moments[subject]
            if hint is not None:
                self._moments[subject] = (now + FOLD_SECONDS, None)
        return [hint for _, hint in over if hint is not None]

    def seconds_left(self) -> float | None:
        """Until something is to be sent; None: nothing is."""
        planned = [until for until, hint in self._moments.values() if hint is not None]
        return max(min(planned) - clock.process_seconds(), 0.0) if planned else None


class _Line:
    """A broker connection: made when it is needed, dropped when it fails."""

    def __init__(self) -> None:
        self._producer: Any = None

    def publish(self, hint: Hint) -> None:
        """Raises whatever the transport raises; a connection that stood open and has gone stale is renewed once."""
        was_open = self._producer is not None
        try:
            self._publish(hint)
        except Exception:
            self.close()
            if not was_open:
                raise
            self._publish(hint)

    def _publish(self, hint: Hint) -> None:
        if self._producer is None:
            app = hint.task.app
            connection = app.connection_for_write(connect_timeout=SOCKET_SECONDS, transport_options=TRANSPORT_OPTIONS)
            self._producer = app.amqp.Producer(connection, auto_declare=False)
        hint.task.apply_async(hint.args, producer=self._producer, retry=False, **hint.options)

    def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is None:
            return
        try:
            producer.connection.release()
        except Exception:  # it is given up because it failed; how it fails now tells nothing
            logger.debug("Closing the broker connection failed.", exc_info=True)


class Publisher:
    """Thread-safe. ``send`` neither waits nor raises."""

    def __init__(self) -> None:
        self._begin()
        _publishers.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._folding = Folding()
        self._thread: threading.Thread | None = None
        self._flushes = self._sends = False
        self._applying = threading.local()
        self._rests_until = 0.0

    def send(self, hint: Hint) -> None:
        """Hand over a hint. It is dropped when the broker is being left alone after it failed."""
        if hint.task.app.conf.task_always_eager:
            self._apply(hint)
            return
        if clock.process_seconds() < self._rests_until:
            return
        with self._changed:
            if self._folding.add(hint):
                self._changed.notify_all()
            if self._thread is None:
                self._start_thread()

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name="durable-publisher", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads allowed; perhaps the next hint has more luck
            self._thread = None
            raise

    def _apply(self, hint: Hint) -> None:
        """Eager: in the caller's thread and transaction, with its errors, as it asked for.

        Not inside of another of the subject: whoever is further up drains that queue, and would be called without end.
        """
        applying: set[Hashable] = self._applying.__dict__.setdefault("subjects", set())
        if hint.subject in applying:
            return
        applying.add(hint.subject)
        try:
            hint.task.apply_async(hint.args)
        finally:
            applying.remove(hint.subject)

    def flush(self, seconds: float = FLUSH_SECONDS) -> bool:
        """Wait until everything handed over was sent or dropped; False: not within that time."""
        with self._changed:
            self._flushes = self._thread is not None
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not (self._flushes or self._sends), seconds)

    def _run(self) -> None:
        line, me = _Line(), threading.current_thread()
        try:
            while self._thread is me:
                for hint in self._next():
                    self._publish(line, hint)
        finally:
            line.close()

    def _next(self) -> list[Hint]:
        """Wait for hints to send. Nothing for a long time ends the thread."""
        with self._changed:
            self._sends = False
            self._changed.notify_all()
            left = self._folding.seconds_left()
            is_told = left == 0 or self._flushes or self._changed.wait(IDLE_SECONDS if left is None else left)
            hints = self._folding.due(at_the_end=self._flushes)
            self._flushes, self._sends = False, bool(hints)
            is_idle = left is None and not is_told
            if is_idle and self._folding.seconds_left() is None:  # a hint may have come in the very instant it gave up
                self._thread = None
            return hints

    def _publish(self, line: _Line, hint: Hint) -> None:
        if clock.process_seconds() < self._rests_until:
            return
        try:
            line.publish(hint)
        except Exception as error:
            line.close()
            self._rests_until = clock.process_seconds() + REST_SECONDS
            logger.warning("The broker took no hint (%s); the tick will find the work.", error)

    def after_fork(self) -> None:
        """The thread and its connection stayed with the parent, and a lock may have been held."""
        self._begin()


_publishers: weakref.WeakSet[Publisher] = weakref.WeakSet()


def flush() -> None:
    """At the end of a process."""
    for publisher in _publishers:
        publisher.flush()


def _after_fork() -> None:
    for publisher in _publishers:
        publisher.after_fork()


atexit.register(flush)
os.register_at_fork(after_in_child=_after_fork)
