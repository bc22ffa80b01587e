"""The embedded worker: threads in one process that poll, claim and advance. Same claim and advance as Celery's task."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence

from django.db import connections

from django_durable.dispatch import TICK_SECONDS
from django_durable.engine import presence, shutdown, worker
from django_durable.engine.tick import tick

logger = logging.getLogger("django_durable.worker")

POLL_SECONDS = 0.2
RECONNECT_SECONDS = 1.0


class EmbeddedWorker:
    """Runs until ``stop``; every thread has its own database connection."""

    def __init__(self, *, queues: Sequence[str], threads: int, using: str) -> None:
        self._queues = list(queues)
        self._threads = threads
        self._using = using
        self._stopping = threading.Event()
        self._counted = threading.Lock()
        self._working = 0  # threads
        self._passes = 0

    def stop(self) -> None:
        """Finish the running steps, hand the executions back, return from ``run``. Safe in a signal handler."""
        shutdown.request_stop()
        self._stopping.set()

    def run(self, *, until_idle: bool = False) -> int:
        """Work in this thread and ``threads - 1`` others; returns how many passes were made.

        until_idle: return once nothing is due, schedules included.
        """
        shutdown.forget()
        if until_idle:  # it may be over before the first regular tick
            self._tick_once()
        loops = [threading.Thread(target=self._loop, args=(until_idle,)) for _ in range(self._threads)]
        ticker = threading.Thread(target=self._tick, daemon=True)
        self._working = len(loops)
        for thread in (ticker, *loops):
            thread.start()
        for thread in (*loops, ticker):
            thread.join()
        return self._passes

    def _loop(self, until_idle: bool) -> None:
        try:
            while not self._stopping.is_set():
                worked = self._drain_all()
                if worked == 0 and until_idle:
                    return
                if worked == 0:
                    self._stopping.wait(POLL_SECONDS)
        finally:
            connections.close_all()
            with self._counted:
                self._working -= 1
                if (
                    not self._working
                ):  # the last one ends the ticker; the main thread may be in the signal handler's set()
                    self._stopping.set()

    def _drain_all(self) -> int | None:
        """Passes made on all queues; None if the database failed: then nobody knows what is due."""
        try:
            worked = sum(worker.drain(queue, using=self._using) for queue in self._queues)
        except Exception:  # a database that is away, or one execution's trouble: the loop goes on
            logger.warning("A pass failed; trying again.", exc_info=True)
            connections[self._using].close()
            self._stopping.wait(RECONNECT_SECONDS)
            return None
        with self._counted:
            self._passes += worked
        return worked

    def _tick(self) -> None:
        try:
            while not self._stopping.wait(TICK_SECONDS):
                self._tick_once()
        finally:
            connections.close_all()

    def _tick_once(self) -> None:
        try:
            tick(using=self._using)
            presence.ticked("durable_worker", using=self._using)
        except Exception:
            logger.warning("The tick failed; trying again.", exc_info=True)
            connections[self._using].close()
