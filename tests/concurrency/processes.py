"""Many processes at one moment, each with a connection of its own; threads on SQLite, whose one file has one writer."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable
from typing import Any

from django.db import connection, connections

from tests.concurrency.together import together

Told = tuple[str, str]


def at_once(act: Callable[[int], Told], count: int) -> list[Told]:
    """What each was told: two texts; "failed" and a traceback if it failed."""
    if connection.vendor == "sqlite":
        return together(*[lambda number=number: act(number) for number in range(count)])
    connections.close_all()
    gate, open_gate = os.pipe()
    callers = [_fork(lambda number=number: act(number), gate, open_gate) for number in range(count)]
    os.close(gate)
    os.close(open_gate)  # the end of the file lets all of them go
    answers: list[Any] = []
    for pid, reader in callers:
        with os.fdopen(reader) as pipe:
            answers.append(json.loads(pipe.read()))
        os.waitpid(pid, 0)
    return [tuple(answer) for answer in answers]


def _fork(act: Callable[[], Told], gate: int, open_gate: int) -> tuple[int, int]:
    """A process that connects, waits at the gate, acts and tells."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    try:
        os.close(open_gate)
        connection.ensure_connection()
        os.read(gate, 1)
        os.write(writer, json.dumps(act()).encode())
    except BaseException:
        os.write(writer, json.dumps(["failed", traceback.format_exc()]).encode())
    finally:
        os._exit(0)
