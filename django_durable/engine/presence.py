"""Presence: workers and ticks say now and then that they are there, so that the health report can tell who is not.

Never a part of anybody's work: it has its own statements, at most one write per process in ``SAY_SECONDS``, and a
failure is one line in the log. Nothing is decided by these rows; leases alone say whether a worker lives.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import DatabaseError, InterfaceError, connections

from django_durable import __version__, clock
from django_durable.clock import DatabaseNow
from django_durable.definitions import registry
from django_durable.models import Node, NodeKind

logger = logging.getLogger("django_durable.health")

SAY_SECONDS = 15.0
SILENT_SECONDS = 4 * SAY_SECONDS  # said nothing for so long: not there
FORGOTTEN_SECONDS = 24 * 3600.0  # then the row goes: the names of containers do not come back

_ticked_at: dict[tuple[int, str], float] = {}  # by process and alias: a forked child has not said anything yet


@dataclass(frozen=True, slots=True, kw_only=True)
class Presence:
    """Who speaks. queues: asked each time, since a worker may be told to read another one."""

    kind: NodeKind
    name: str
    source: str
    using: str
    queues: Callable[[], Iterable[str]] = field(default=tuple)

    def say(self) -> bool:
        """Write that it is there; False if the database does not take it."""
        return self._attempt(self._write)

    def leave(self) -> bool:
        """Take the row away: it stops, and is not merely silent."""
        return self._attempt(lambda: self._row().delete())

    def _attempt(self, write: Callable[[], object]) -> bool:
        try:
            write()
        except (DatabaseError, InterfaceError) as error:
            logger.info("%s %s could not be noted as present: %s", self.kind, self.name, str(error).strip())
            if not connections[self.using].in_atomic_block:
                connections[self.using].close()
            return False
        return True

    def _row(self) -> Any:
        return Node.objects.using(self.using).named(self.kind, self.name)

    def _write(self) -> None:
        said = {"pid": os.getpid(), "source": self.source, "queues": sorted(self.queues()), "seen_at": DatabaseNow()}
        known = self._row().filter(pid=os.getpid(), host=socket.gethostname())
        if known.update(**said):
            return
        # A predecessor's of the same name, and those of the long gone.
        (self._row() | Node.objects.using(self.using).silent_for(FORGOTTEN_SECONDS)).delete()
        first = Node(kind=self.kind, name=self.name, host=socket.gethostname(), started_at=DatabaseNow(), **said)
        first.version = __version__
        first.workflows = workflows_here() if self.kind == NodeKind.WORKER else {}
        Node.objects.using(self.using).bulk_create([first], ignore_conflicts=True)


def workflows_here() -> dict[str, list[int]]:
    """The versions of each workflow that this process registers."""
    versions = defaultdict(list)
    for definition in registry:
        versions[definition.name].append(definition.version)
    return {name: sorted(found) for name, found in sorted(versions.items())}


def ticked(source: str, *, using: str) -> None:
    """Note that this host ticks, unless this process has done so within ``SAY_SECONDS``."""
    here, now = (os.getpid(), using), clock.process_seconds()
    if now - _ticked_at.get(here, float("-inf")) < SAY_SECONDS:
        return
    _ticked_at[here] = now
    Presence(kind=NodeKind.TICK, name=socket.gethostname(), source=source, using=using).say()


class Announcer:
    """Says it again and again from a thread of its own, until it is stopped; then takes the row away."""

    def __init__(self, presence: Presence) -> None:
        self._presence = presence
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="durable-presence", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Not in a signal handler. Waits a moment for the row to go."""
        self._stopping.set()
        self._thread.join(timeout=2)

    def _run(self) -> None:
        using = connections[self._presence.using]
        try:
            while True:
                self._presence.say()
                using.close()  # an idle worker keeps no connection
                if self._stopping.wait(SAY_SECONDS):
                    break
            self._presence.leave()
        finally:
            connections.close_all()
