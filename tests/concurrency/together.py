"""Running several actors at the same moment, each in a thread with connections of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connections

LONGEST_SECONDS = 180.0


class Gate:
    """Two events for a step body that a test holds: it says when it has come, and waits to be let on."""

    def __init__(self) -> None:
        self.entered, self.opened = threading.Event(), threading.Event()

    def pass_through(self) -> None:
        self.entered.set()
        assert self.opened.wait(LONGEST_SECONDS), "nobody opened the gate"


def together(*actors: Callable[[], Any]) -> list[Any]:
    """Start all actors at one instant; what each returned, or the exception that it raised. Bounded."""
    barrier = threading.Barrier(len(actors))
    outcomes: list[Any] = [TimeoutError("still running")] * len(actors)

    def run(index: int, actor: Callable[[], Any]) -> None:
        try:
            connections["default"].ensure_connection()  # connecting takes longer than the race
            barrier.wait(LONGEST_SECONDS)
            outcomes[index] = actor()
        except Exception as error:
            outcomes[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(actors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONGEST_SECONDS)
    return outcomes


@contextmanager
def in_background(actor: Callable[[], Any]) -> Iterator[list[Any]]:
    """Run one actor beside the block; its outcome is in the list once the block has ended. Bounded."""
    outcomes: list[Any] = []

    def run() -> None:
        try:
            outcomes.append(actor())
        except Exception as error:
            outcomes.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield outcomes
    finally:
        thread.join(LONGEST_SECONDS)
        assert not thread.is_alive(), "the actor still runs"
