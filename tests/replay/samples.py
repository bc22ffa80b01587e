"""Workflows that every release must still replay. Add new ones; never change one of these."""

from __future__ import annotations

import asyncio
import uuid
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django_durable import (
    AsyncContext,
    Cancelled,
    ChildFailed,
    ChildNotEndedError,
    Context,
    LoopLimitError,
    Retry,
    StepFailed,
    current_step,
    step,
    workflow,
)


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


mended: set[str] = set()  # by the stories, while they last


@step
def until_mended() -> str:
    if not mended:
        raise OSError("not yet")
    return "mended"


@workflow("samples.retried")
def retried(ctx: Context) -> list[Any]:
    """Undone, then retried: what was recorded is set aside and made again."""
    drawn = ctx.random().randrange(10**9)
    ctx.step("look", echo, drawn)
    ctx.step("car", echo, "car", compensate=undo)
    ctx.sleep(timedelta(hours=1))
    return [drawn, ctx.step(until_mended)]


@step
def undo_in_vain(value: Any) -> None:
    raise OSError("the line is down")


@workflow("samples.going_back", on_failure="leave")
def going_back(ctx: Context) -> None:
    """Left as it is; then it goes back, and a compensation gives up on the way."""
    ctx.step("car", echo, "car", compensate=undo_in_vain)
    ctx.parallel({"hotel": lambda ctx: ctx.step("book", echo, "hotel", compensate=undo), "flight": lambda ctx: None})
    ctx.step(decline)


@workflow("samples.forked")
def forked(ctx: Context) -> list[Any]:
    """Copied with another result; the copy draws the numbers of its original."""
    drawn = [ctx.random().randrange(10**9), ctx.uuid4()]
    car = ctx.step("car", echo, drawn)
    said = ctx.wait_for_signal("go")
    return [drawn, car, said, ctx.random().randrange(10**9)]


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


@workflow("samples.state")
def state(ctx: Context) -> Any:
    """Changed by the code, by updates and in branches; what each place sees decides what is called next."""

    def waiting(ctx: Context) -> Any:
        held = ctx.wait_until(lambda state: len(state["basket"]) >= 2, timeout=timedelta(days=1))
        return [held, *(ctx.step(echo, item) for item in ctx.state["basket"])]

    def working(ctx: Context) -> Any:
        ctx.state.set(work="begun")
        ctx.wait_for_signal("go")
        ctx.state.set(work=f"done with {len(ctx.state['basket'])}")

    ctx.state.set(basket=["apple"], price=Decimal("1.50"))
    waited = ctx.parallel({"waiting": waiting, "working": working})["waiting"]
    for item in ctx.state["basket"]:
        ctx.step("pack", echo, item)
    late = ctx.wait_until(lambda state: "never" in state, timeout=60)
    ctx.state.replace({"left": ctx.state["work"]})
    return [waited, late, dict(ctx.state)]


@state.update("add")
def add(state: dict[str, Any], item: str) -> int:
    if item == "stone":
        raise Declined(item)
    state["basket"].append(item)
    return len(state["basket"])


@workflow("samples.coroutines")
async def coroutines(ctx: AsyncContext) -> Any:
    """Tasks that end in another order than they began in, one that is called off, and branches."""

    async def nap(hours: int) -> list[Any]:
        await ctx.sleep(timedelta(hours=hours))
        return [hours, ctx.random().randrange(10**9)]

    async def slow(ctx: AsyncContext) -> Any:
        return await asyncio.gather(ctx.sleep(timedelta(hours=1)), ctx.step(echo, "gathered"))

    waiting = asyncio.create_task(ctx.wait_for_signal("never"))
    naps = [asyncio.create_task(nap(hours)) for hours in (2, 1)]
    order = [await each for each in asyncio.as_completed(naps)]
    waiting.cancel()
    named = await ctx.parallel({"slow": slow, "quick": lambda ctx: ctx.step(echo, "quick")})
    return [order, named, waiting.cancelled()]


@workflow("samples.child")
def child(ctx: Context, number: int) -> int:
    return ctx.wait_for_signal("go") + number


@workflow("samples.parent")
def parent(ctx: Context) -> Any:
    """Two children, one fails, and a wait that gives up."""
    first = ctx.start_child("first", child, 1)
    try:
        ctx.wait_for_execution(first, timeout=timedelta(hours=1))
    except ChildNotEndedError:
        ctx.note("late")
    try:
        return ctx.call(fails)
    except ChildFailed as failed:
        return [failed.status, failed.message, ctx.wait_for_execution(first)]


@workflow("samples.emits")
def emits(ctx: Context) -> Any:
    """Events before and after a wait, in a branch too; what they carried is not part of the history."""
    ctx.note("before")
    ctx.emit("samples.began", {"at": ctx.now()})
    ctx.gather(lambda ctx: ctx.emit("samples.began"), lambda ctx: ctx.sleep(timedelta(hours=1)))
    ctx.emit("samples.began")
    return ctx.step(echo, "told")


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


def before_the_inserts(ctx: Context) -> Any:
    """Parked by a child and by a race whose loser tidies."""

    def loser(ctx: Context) -> None:
        ctx.step("held", echo, 1, compensate=echo)
        try:
            ctx.sleep(86400)
        finally:
            ctx.wait_for_signal("go")

    started = ctx.start_child("helper", child, False)
    ctx.signal_token("go", expires=3600)
    ctx.race({"loser": loser, "winner": lambda ctx: ctx.step("won", echo, 2)})
    return started


@workflow("samples.tolerant_parts", on_change="tolerate")
def tolerant_parts(ctx: Context) -> Any:
    """Steps inserted in the winner of a race and before a child; the token is removed."""

    def loser(ctx: Context) -> None:
        ctx.step("held", echo, 1, compensate=echo)
        try:
            ctx.sleep(86400)
        finally:
            ctx.wait_for_signal("go")

    values = [ctx.step("inserted", echo, 0)]
    started = ctx.start_child("helper", child, False)
    won = ctx.race({"loser": loser, "winner": lambda ctx: [ctx.step("won", echo, 2), ctx.step("more", echo, 3)]})
    try:
        return [*values, won, ctx.wait_for_execution(started, timeout=60)]
    except ChildNotEndedError:
        return [*values, won]


@workflow("samples.looped")
def looped(ctx: Context) -> Any:
    """Rounds with a wait, a limit that is reached, and waits on several things."""

    def body(ctx: Context, number: int) -> int:
        ctx.sleep(timedelta(minutes=10))
        return ctx.step(echo, number + 1)

    rounds = ctx.loop("rounds", lambda number: number < 2, body, initial=0)
    try:
        ctx.loop("endless", lambda value: True, lambda ctx, value: ctx.note("round"), max_iterations=1)
    except LoopLimitError:
        ctx.note("enough")
    first = ctx.wait_any({"approved": "approved", "time": timedelta(hours=1)})
    came = ctx.wait_all({"time": timedelta(minutes=5), "never": "never"}, timeout=timedelta(minutes=10))
    return [rounds, first, came]


@workflow("samples.continued")
def continued(ctx: Context, number: int) -> Any:
    """Goes on as another one, with a step on the way out."""
    answer = ctx.wait_for_signal("go")
    try:
        ctx.switch("again", answer, {"yes": lambda ctx: ctx.continue_as_new(number + 1)}, default=lambda ctx: None)
    finally:
        ctx.step("last", echo, number)
    return answer


@step
def total(numbers: Any) -> int:
    return sum(numbers)


@workflow("samples.mapped")
def mapped(ctx: Context) -> Any:
    """Children for items: summed up, then one of them fails."""
    added = ctx.step(total, ctx.map(child, [1, 2]))
    try:
        ctx.map("failing", divide, [1, 0], settle=False)
    except ChildFailed as failed:
        return [added, failed.status, failed.message]


@workflow("samples.divide")
def divide(ctx: Context, number: int) -> float:
    return 1 / number


@workflow("samples.open")
def open_(ctx: Context) -> None:
    ctx.step(echo, 1)
    ctx.sleep(timedelta(days=30))
    ctx.step("after", echo, 2)
