"""The witness: as many locked files as a limit has slots. A killed process loses its lock in the same instant.

Not called ``workflows.py``: nothing but a test may register these.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from django_durable import Context, Limit, Rate, Retry, step, workflow

SEATS = 5
STEP_SEATS = 2  # few, so that they are all taken though a slot is for a while on its way from body to body
BODY_SECONDS = 0.05  # long enough to be met in it
STEP_SECONDS = 0.15
MEETING_SECONDS = 20.0  # how long the first ones stay for the others, so that a slow machine too has all seats taken


@step
def sit(folder: str) -> None:
    _sit(folder, SEATS, BODY_SECONDS)


def _sit(folder: str, seats: int, seconds: float) -> None:
    """Take a seat that nobody has; there must be one."""
    for seat in range(seats):
        with (Path(folder) / f"seat-{seat}").open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            _tell(folder, f"seat {seat}")
            _stay(Path(folder) / "all were taken", seconds, is_last=seat == seats - 1)
            return
    _tell(folder, "no seat")


def _stay(met: Path, seconds: float, *, is_last: bool) -> None:
    """Whoever has the last seat has met all the others."""
    if is_last:
        met.touch()
    ends_at = time.monotonic() + MEETING_SECONDS
    while not met.exists() and time.monotonic() < ends_at:
        time.sleep(BODY_SECONDS)
    time.sleep(seconds)


@step
def begin(folder: str) -> None:
    _tell(folder, f"begun {time.monotonic()}")


def _tell(folder: str, line: str) -> None:
    told = os.open(Path(folder) / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(told, f"{line}\n".encode())  # one write, so that lines of several processes do not mix
    finally:
        os.close(told)


@workflow("limits.seats", concurrency=Limit(SEATS))
def seats(ctx: Context, folder: str) -> None:
    ctx.step("one", sit, folder)
    ctx.step("two", sit, folder)


@workflow("limits.rate", rate=Rate(100, per=60))
def rate(ctx: Context, folder: str) -> None:
    ctx.step(begin, folder)


@step(limit=Limit(STEP_SEATS, name="seats"), retry=Retry(max_attempts=None, initial_seconds=0.01))
def sit_by_turns(folder: str) -> None:
    _sit(folder, STEP_SEATS, STEP_SECONDS)


@workflow("limits.step_seats")
def step_seats(ctx: Context, folder: str) -> None:
    ctx.gather(*[lambda ctx: ctx.step(sit_by_turns, folder)] * 2)
    ctx.step(sit_by_turns, folder)
