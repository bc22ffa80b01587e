"""Workflows that every release must still replay. Add new ones; never change one of these."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django_durable import Cancelled, Context, Retry, StepFailed, current_step, step, workflow


class Declined(Exception):
    pass


@step
def values() -> dict[str, Any]:
    return {
        "moment": datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=UTC),
        "money": Decimal("10.10"),
        "id": uuid.UUID(int=7),
        "pair": (1, 2),
        "tags": {"b", "a"},
        "raw": b"\x00\xff",
        "span": timedelta(days=1, microseconds=1),
        "text": "naïve \u0000 \ud83d\ude00",
        "z before a": {"z": 1, "a": 2},
        "nothing": None,
    }


@step(retry=Retry(max_attempts=3, initial_seconds=2, jitter=0))
def flaky() -> int:
    if current_step().attempt < 2:
        raise OSError("not yet")
    return current_step().attempt


@step(raises=(Declined,))
def decline() -> None:
    raise Declined("card")


@step
def broken() -> None:
    raise ZeroDivisionError("always")


@step
def echo(value: Any) -> Any:
    return value


@workflow("samples.every_value")
def every_value(ctx: Context) -> Any:
    return ctx.step(values)


@workflow("samples.order")
def order(ctx: Context, number: int, *, rush: bool = False) -> dict[str, Any]:
    """The usual one: steps with repeats, a retry, a sleep, a signal, facts."""
    ctx.note("began")
    began = ctx.now()
    lines = [ctx.step(echo, line) for line in range(number)]
    attempts = ctx.step(flaky)
    ctx.sleep(timedelta(hours=1))
    answer = ctx.wait_for_signal("approved", timeout=timedelta(days=3))
    ctx.step("ship", echo, "rush" if rush else "slow")
    return {"lines": lines, "attempts": attempts, "answer": answer, "late": ctx.now() - began, "id": ctx.uuid4()}


@workflow("samples.timeout")
def timeout(ctx: Context) -> Any:
    return ctx.wait_for_signal("never", timeout=60, default="nobody came")


@workflow("samples.errors")
def errors(ctx: Context) -> list[str]:
    told = []
    for body in (decline, broken):
        try:
            ctx.step(body)
        except (Declined, StepFailed) as error:
            told.append(f"{type(error).__name__}: {error}")
    return told


@workflow("samples.fails")
def fails(ctx: Context) -> None:
    ctx.step(decline)


@workflow("samples.cancelled")
def cancelled(ctx: Context) -> None:
    try:
        ctx.wait_for_signal("never")
    except Cancelled:
        ctx.step("clean_up", echo, "done")
        raise


def undo(value: Any) -> None:
    pass


@step(retry=Retry(max_attempts=2, initial_seconds=2, jitter=0))
def undo_flaky(value: Any) -> None:
    if current_step().attempt < 2:
        raise OSError("not yet")


@workflow("samples.saga")
def saga(ctx: Context) -> None:
    """Undone after a wait, one of them in its second attempt."""
    ctx.step("car", echo, "car", compensate=undo)
    ctx.step("hotel", echo, ["hotel"], compensate=undo_flaky)
    ctx.sleep(timedelta(hours=1))
    ctx.step(decline)


@workflow("samples.rolled_back")
def rolled_back(ctx: Context) -> str:
    """Undone and gone on; what came after is undone at the end."""
    ctx.step("car", echo, "car", compensate=undo)
    ctx.rollback()
    return ctx.step("train", echo, "train", compensate=undo)


@workflow("samples.token")
def token(ctx: Context) -> Any:
    ctx.step("mail", echo, len(ctx.signal_token("approved", expires=timedelta(days=1))))
    return ctx.wait_for_signal("approved", timeout=timedelta(days=1))


@workflow("samples.branches")
def branches(ctx: Context, way: str) -> Any:
    """A chosen branch with branches of its own, of which one fails, is undone and settled; names and random numbers."""

    def left(ctx: Context) -> Any:
        def slow(ctx: Context) -> Any:
            ctx.sleep(timedelta(hours=1))
            return ctx.step(echo, ctx.random().randrange(10**9))

        def failing(ctx: Context) -> None:
            ctx.step("car", echo, "car", compensate=undo)
            ctx.rollback()
            ctx.step(decline)

        ended = ctx.parallel("both", {"slow": slow, "failing": failing}, settle=True)
        return {name: each.value if each.is_ok else str(each.error) for name, each in ended.items()}

    def right(ctx: Context) -> Any:
        return ctx.map(lambda ctx, item: ctx.step(echo, [item, ctx.uuid4()]), ["a", "b"])

    ctx.note("before")
    chosen = ctx.switch("way", way, {"left": left, "right": right})
    answers = ctx.gather(lambda ctx: ctx.wait_for_signal("approved"), lambda ctx: ctx.step(echo, 1))
    return [chosen, answers]


def before_the_patch(ctx: Context) -> Any:
    ctx.step("old", echo, "old")
    return ctx.wait_for_signal("go")


@workflow("samples.patched")
def patched(ctx: Context) -> Any:
    """Asked at a start, in a branch and in a loop; ``before_the_patch`` is what executions were parked by before."""
    values = [ctx.step("new", echo, "new") if ctx.patched("way") else ctx.step("old", echo, "old")]
    values.append(ctx.wait_for_signal("go"))
    values.append(ctx.parallel({"left": lambda ctx: [ctx.patched("way"), ctx.patched("left"), ctx.step(echo, 1)]}))
    for number in range(2):
        values.append(ctx.patched("loop"))
        ctx.step("turn", echo, number)
    return values


def before_the_insert(ctx: Context) -> Any:
    ctx.step("first", echo, 1)
    ctx.step("removed", echo, 2)
    return ctx.wait_for_signal("go")


@workflow("samples.tolerant", on_change="tolerate")
def tolerant(ctx: Context) -> Any:
    """A step inserted, one removed; ``before_the_insert`` is what executions were parked by before."""
    values = [ctx.step("inserted", echo, 0), ctx.step("first", echo, 1), ctx.patched("way")]
    return [*values, ctx.wait_for_signal("go"), ctx.step("last", echo, 3)]


@workflow("samples.open")
def open_(ctx: Context) -> None:
    ctx.step(echo, 1)
    ctx.sleep(timedelta(days=30))
    ctx.step("after", echo, 2)
