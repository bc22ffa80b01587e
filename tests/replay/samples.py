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


@workflow("samples.token")
def token(ctx: Context) -> Any:
    ctx.step("mail", echo, len(ctx.signal_token("approved", expires=timedelta(days=1))))
    return ctx.wait_for_signal("approved", timeout=timedelta(days=1))


@workflow("samples.open")
def open_(ctx: Context) -> None:
    ctx.step(echo, 1)
    ctx.sleep(timedelta(days=30))
    ctx.step("after", echo, 2)
