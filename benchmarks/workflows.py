"""The measured workflows: plain steps that do nothing, so that only the engine is measured."""

import time

from benchmarks import stopwatch
from django_durable import Context, SignalType, step, workflow

go = SignalType("benchmarks.go", payload=int)


@step
def nothing(number: int) -> int:
    return number


@step
def look_at_clock() -> float:
    return time.time()


@workflow("benchmarks.steps")
def steps(ctx: Context, count: int) -> int:
    for number in range(count):
        ctx.step(nothing, number)
    return count


@workflow("benchmarks.idle")
def idle(ctx: Context) -> int:
    return ctx.step(nothing, 1)


@workflow("benchmarks.signalled")
def signalled(ctx: Context) -> int | None:
    return ctx.wait_for_signal(go)


@workflow("benchmarks.sleeping")
def sleeping(ctx: Context, seconds: float) -> float:
    """When it went on, by this machine's clock."""
    ctx.sleep(seconds)
    return ctx.step(look_at_clock)


@workflow("benchmarks.replayed")
def replayed(ctx: Context, count: int) -> int | None:
    """Each pass meets its history and then waits again."""
    for number in range(count):
        ctx.step(nothing, number)
    return ctx.wait_for_signal(go)


stopwatch.time_ends_of(idle.name, signalled.name)
