"""Step bodies that tell what ran: shared by the tests that deploy other code under a parked execution."""

from __future__ import annotations

from django_durable import Retry, current_step, step

ran: list[str] = []  # emptied before each test of this directory


def act(name: str) -> str:
    ran.append(name)
    return name


def undo(name: str) -> None:
    ran.append(f"undo {name}")


@step(retry=Retry(max_attempts=3, initial_seconds=60, jitter=0))
def undo_late(name: str) -> None:
    ran.append(f"undo {name}")
    if current_step().attempt == 1:
        raise OSError("not yet")
