"""Workflows that leave a trace: one line per event, with the process that it happened in.

The trace is a file named by the workflow's argument; a step may be held up until the test opens its gate.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from django_durable import Context, Retry, current_step, step, workflow
from django_durable.models import Execution

LONGEST_SECONDS = 180.0


def mark(trace: str, event: str) -> None:
    handle = os.open(trace, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(handle, f"{event} {os.getpid()} {os.getppid()} {time.time()}\n".encode())
    finally:
        os.close(handle)


def held_up(trace: str, name: str) -> str:
    """Begin, wait for the gate, end."""
    mark(trace, f"{name}-began")
    ends_at = time.monotonic() + LONGEST_SECONDS
    while not Path(f"{trace}.{name}.open").exists():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"nobody opened the gate of {name}")
        time.sleep(0.02)
    mark(trace, f"{name}-ended")
    return name


@step(retry=Retry(max_attempts=3, initial_seconds=0.05))
def flaky(trace: str) -> int:
    mark(trace, "flaky")
    if current_step().attempt < 3:
        raise ConnectionError("not yet")
    return current_step().attempt


@step(atomic=True)
def count_executions(trace: str) -> bool:
    mark(trace, "atomic")
    return Execution.objects.exists()


@workflow("tests.celery.mixed")
def mixed(ctx: Context, trace: str) -> dict[str, object]:
    ctx.step("first", mark, trace, "first")
    attempts = ctx.step(flaky, trace)
    ctx.sleep(1.2)
    answer = ctx.wait_for_signal("go", timeout=180)
    found = ctx.step(count_executions, trace)
    return {"attempts": attempts, "answer": answer, "found": found}


@workflow("tests.celery.two_steps")
def two_steps(ctx: Context, trace: str) -> list[str]:
    return [ctx.step("one", held_up, trace, "one"), ctx.step("two", held_up, trace, "two")]


def brief(trace: str, name: str) -> None:
    mark(trace, f"began:{name}")
    time.sleep(0.05)


@workflow("tests.celery.five_steps")
def five_steps(ctx: Context, trace: str) -> None:
    for number in range(5):
        ctx.step(f"brief-{number}", brief, trace, f"{ctx.execution_id}:{number}")
