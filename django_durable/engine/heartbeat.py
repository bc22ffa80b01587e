"""Sign of life: one thread per worker process extends the leases of what is running.

It runs only while something does, opens a connection only when a lease really has to be extended, and stops last.
Zero rows or any database error marks the claim as lost: nothing new is started under it. Whatever still runs is
refused by the fence when it tries to record.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import connections

from django_durable import clock
from django_durable.conf import get_settings
from django_durable.engine import claims
from django_durable.engine.claims import Claim

logger = logging.getLogger("django_durable.heartbeat")


class Heartbeat:
    """The claims of this process and the thread that keeps them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._claims: dict[UUID, tuple[Claim, float]] = {}  # token -> claim, when it is next due (monotonic)
        self._thread: threading.Thread | None = None

    def add(self, claim: Claim) -> None:
        with self._changed:
            if self._thread is None:
                self._start_thread()
            self._claims[claim.token] = (claim, self._next())

    def _start_thread(self) -> None:
        self._thread = threading.Thread(target=self._run, name="durable-heartbeat", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # no more threads allowed: without a sign of life no pass may begin
            self._thread = None
            raise

    def remove(self, claim: Claim) -> None:
        with self._changed:
            self._claims.pop(claim.token, None)

    @staticmethod
    def _next() -> float:
        return clock.monotonic() + get_settings().heartbeat_interval_seconds

    def _run(self) -> None:
        """Look, extend, sleep; ends when it finds nothing running, so an idle process holds no connection."""
        try:
            while True:
                time.sleep(min(get_settings().heartbeat_interval_seconds, 0.5))
                with self._changed:
                    if not self._claims:
                        self._thread = None
                        return
                    now = clock.monotonic()
                    due = [claim for claim, at in self._claims.values() if at <= now]
                for claim in due:
                    self._extend(claim)
        finally:
            connections.close_all()

    def _extend(self, claim: Claim) -> None:
        try:
            held = claims.extend(claim)
        except Exception:  # whatever it is, this lease can no longer be counted on
            logger.warning("No sign of life for %s.", claim.execution_id, exc_info=True)
            connections[claim.using].close()
            held = False
        with self._changed:
            if not held:
                claim.lost = True
                self._claims.pop(claim.token, None)
            elif claim.token in self._claims:
                self._claims[claim.token] = (claim, self._next())


_heartbeat = Heartbeat()


def _after_fork() -> None:
    global _heartbeat
    _heartbeat = Heartbeat()  # threads do not survive a fork, their claims are the parent's


os.register_at_fork(after_in_child=_after_fork)


@contextmanager
def keep(claim: Claim) -> Iterator[None]:
    """Extend this lease for as long as the block runs.

    Not inside a transaction (tests): no other connection could see the row.
    """
    if connections[claim.using].in_atomic_block:
        yield
        return
    heartbeat = _heartbeat
    heartbeat.add(claim)
    try:
        yield
    finally:
        heartbeat.remove(claim)
