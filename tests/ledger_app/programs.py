"""Steps that leave a witness, and the workflows made of them.

Not called ``workflows.py``: nothing but a test may register these.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django_durable import Cancelled, Context, Retry, StepFailed, StepInterrupted, current_step, step, workflow
from tests.ledger_app import ledger
from tests.ledger_app.models import LedgerRow

WITNESSED: dict[str, Any] = {}  # step definitions by the name under which checkpoints keep them
SHORT = Retry(max_attempts=3, initial_seconds=0.01, multiplier=1, jitter=0)


class Broken(Exception):
    """The outside world failed; worth another attempt."""


class Refused(Exception):
    """The outside world said no."""


def witnessed(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``@step`` for a body that calls ``effect`` or ``insert``."""

    def register(body: Callable[..., Any]) -> Any:
        definition = step(**options)(body)
        WITNESSED[definition.name] = definition
        return definition

    return register


def effect() -> None:
    info = current_step()
    ledger.current().write(
        "effect", info.execution_id, step=info.step_id, attempt=info.attempt, key=info.idempotency_key
    )


def insert() -> None:
    info = current_step()
    LedgerRow.objects.create(execution_id=info.execution_id, step=info.step_id, attempt=info.attempt)


def seen(ctx: Context, name: str, value: Any) -> Any:
    """Witness a value on its way into the workflow; every replay must write the same line."""
    ledger.current().write("seen", ctx.execution_id, name=name, value=f"{type(value).__name__} {value!r}")
    return value


# -- steps ---------------------------------------------------------------------------------------------


@witnessed()
def append(value: Any = None) -> Any:
    effect()
    return value


@witnessed()
def linger(seconds: float) -> None:
    """Be found in the middle of a body by whoever kills."""
    effect()
    time.sleep(seconds)


@witnessed(at_most_once=True)
def append_once(value: Any) -> Any:
    effect()
    return value


@witnessed(retry=SHORT)
def fail_first(times: int) -> int:
    effect()
    if current_step().attempt <= times:
        raise Broken(f"attempt {current_step().attempt}")
    return current_step().attempt


@witnessed(raises=(Refused,), retry=SHORT)
def refuse() -> None:
    effect()
    raise Refused("no")


@witnessed(atomic=True)
def insert_row() -> str:
    insert()
    return "row"


@witnessed(atomic=True, retry=SHORT)
def insert_row_after_failures(times: int) -> str:
    insert()
    if current_step().attempt <= times:
        raise Broken(f"attempt {current_step().attempt}")
    return "row"


_shelf = ["apple"]


@witnessed()
def take_basket() -> list[str]:
    """Gives away a list that it keeps: what the workflow does to its own copy must not come back here."""
    effect()
    return _shelf


# -- workflows -----------------------------------------------------------------------------------------


@workflow("ledger.plain")
def plain(ctx: Context, number: int) -> list[Any]:
    first = seen(ctx, "first", ctx.step(append, number))
    second = seen(ctx, "second", ctx.step("second", append, {"b": (1, 2), "a": {number}}))
    basket = seen(ctx, "basket", ctx.step(take_basket))
    basket.append("pear")
    return [first, second["b"], basket]


@workflow("ledger.atomic")
def atomic(ctx: Context) -> str:
    ctx.step(insert_row)
    ctx.step("between", append)
    return seen(ctx, "row", ctx.step("again", insert_row))


@workflow("ledger.atomic_once")
def atomic_once(ctx: Context) -> str:
    return ctx.step(insert_row)


@workflow("ledger.atomic_retried")
def atomic_retried(ctx: Context) -> str:
    return ctx.step(insert_row_after_failures, 1)


@workflow("ledger.retried")
def retried(ctx: Context) -> int:
    return seen(ctx, "attempts", ctx.step(fail_first, 2))


@workflow("ledger.exhausted")
def exhausted(ctx: Context) -> str:
    try:
        ctx.step(fail_first, 99)
    except StepFailed as error:
        return ctx.step("note_failure", append, seen(ctx, "error", f"{error.type_name} after {error.attempts}"))
    return "never"


@workflow("ledger.refused")
def refused(ctx: Context) -> None:
    try:
        ctx.step(refuse)
    except Refused as error:
        seen(ctx, "error", str(error))
        raise


@workflow("ledger.once")
def once(ctx: Context) -> str:
    try:
        answer = ctx.step(append_once, "sent")
    except StepInterrupted:
        answer = "unknown"
    return ctx.step("after", append, seen(ctx, "answer", answer))


@workflow("ledger.sleep")
def sleep(ctx: Context, seconds: float) -> str:
    ctx.step(append)
    ctx.sleep(seconds)
    return ctx.step("after", append, "slept")


@workflow("ledger.signal")
def signal(ctx: Context) -> Any:
    answer = seen(ctx, "answer", ctx.wait_for_signal("answer"))
    return ctx.step(append, answer)


@workflow("ledger.signal_or_timeout")
def signal_or_timeout(ctx: Context, seconds: float) -> Any:
    answer = seen(ctx, "answer", ctx.wait_for_signal("answer", timeout=seconds, default="too late"))
    return ctx.step(append, answer)


@workflow("ledger.signals")
def signals(ctx: Context, count: int) -> list[Any]:
    """Wait for ``count`` signals of one name, then for one of another that may have come first."""
    answers = [seen(ctx, f"answer {index}", ctx.wait_for_signal("answer")) for index in range(count)]
    ctx.step(append)
    return [*answers, ctx.wait_for_signal("last")]


@workflow("ledger.by_token")
def by_token(ctx: Context) -> Any:
    """The ledger is where the token is mailed to; its address must be the same in every replay."""
    seen(ctx, "token", ctx.signal_token("answer", expires=600))
    answer = seen(ctx, "answer", ctx.wait_for_signal("answer"))
    return ctx.step(append, answer)


@workflow("ledger.cleanup")
def cleanup(ctx: Context, seconds: float) -> str:
    ctx.step(append)
    try:
        ctx.sleep(seconds)
    except Cancelled:
        ctx.step("clean_up", append)
        raise
    return "undisturbed"


@workflow("ledger.facts")
def facts(ctx: Context) -> bool:
    began = seen(ctx, "began", ctx.now())
    ctx.note("began")
    number = seen(ctx, "number", ctx.random().randrange(10**9))
    token = seen(ctx, "token", ctx.uuid4())
    ctx.step(append, [number, token])
    ctx.note("done")
    return seen(ctx, "ended", ctx.now()) >= began


@witnessed()
def undo(value: Any) -> None:
    effect()


@witnessed(atomic=True)
def undo_row(value: Any) -> None:
    insert()


@witnessed(retry=SHORT)
def undo_after_failures(value: Any) -> None:
    effect()
    if current_step().attempt <= 2:
        raise Broken(f"attempt {current_step().attempt}")


@witnessed()
def undo_until_helped(value: Any) -> None:
    """Fails in its first attempt, and there is no second one unless a person asks for it."""
    effect()
    if current_step().attempt == 1:
        raise Broken("line is down")


def _reserve(ctx: Context) -> None:
    ctx.step("car", append, "car", compensate=undo)
    ctx.step("row", insert_row, compensate=undo_row)
    ctx.step("hotel", append, "hotel", compensate=undo_after_failures)


@workflow("ledger.saga")
def saga(ctx: Context) -> None:
    _reserve(ctx)
    ctx.step(refuse)


@workflow("ledger.small_saga")
def small_saga(ctx: Context) -> None:
    ctx.step("car", append, "car", compensate=undo)
    raise Broken("no flight")


@workflow("ledger.saga_across_waits")
def saga_across_waits(ctx: Context, seconds: float) -> None:
    """Reserved before a wait, undone after it, by whatever ends the wait."""
    _reserve(ctx)
    ctx.sleep(seconds)
    raise Broken("too late")


@workflow("ledger.rolled_back")
def rolled_back(ctx: Context) -> str:
    _reserve(ctx)
    ctx.rollback()
    return ctx.step("after", append, "undone")


@workflow("ledger.saga_stuck")
def saga_stuck(ctx: Context) -> None:
    ctx.step("car", append, "car", compensate=undo)
    ctx.step("hotel", append, "hotel", compensate=undo_until_helped)
    ctx.step(refuse)


@workflow("ledger.switched")
def switched(ctx: Context, way: str, seconds: float) -> str:
    """A branch that waits, chosen by a value; what it did is undone after it has ended."""

    def left(ctx: Context) -> None:
        ctx.step("car", append, "car", compensate=undo)
        ctx.sleep(seconds)
        ctx.step(insert_row, compensate=undo_row)

    ctx.note("before the branches")
    ctx.switch("way", way, {"left": left, "right": lambda ctx: ctx.step(append)})
    ctx.rollback()
    return ctx.step("after", append, "undone")


@workflow("ledger.branches")
def branches(ctx: Context, seconds: float) -> dict[str, Any]:
    """One branch sleeps, one waits for a signal, one retries, one has branches of its own."""

    def sleeping(ctx: Context) -> str:
        ctx.step(insert_row)
        ctx.sleep(seconds)
        return ctx.step(append, "slept")

    def signalled(ctx: Context) -> Any:
        return ctx.step(append, seen(ctx, "answer", ctx.wait_for_signal("answer")))

    def nested(ctx: Context) -> list[Any]:
        return ctx.map(lambda ctx, item: ctx.step(append, item), [1, 2])

    each = {"sleeping": sleeping, "signalled": signalled, "retried": lambda ctx: ctx.step(fail_first, 1)}
    return ctx.parallel({**each, "nested": nested})


@workflow("ledger.patched")
def patched(ctx: Context) -> Any:
    """A patch at the start, one in a loop, one at the end: the answer of each is the same after every death."""
    seen(ctx, "way", ctx.patched("way"))
    ctx.step(append)
    ctx.patched("with-the-wait")
    answer = ctx.wait_for_signal("answer")
    for _ in range(2):
        seen(ctx, "loop", ctx.patched("loop"))
        ctx.step(insert_row)
    return [answer, seen(ctx, "end", ctx.patched("end"))]


@workflow("ledger.two_branches")
def two_branches(ctx: Context) -> list[Any]:
    return ctx.gather(lambda ctx: ctx.wait_for_signal("answer"), lambda ctx: ctx.step(append))


@workflow("ledger.called_off")
def called_off(ctx: Context, seconds: float) -> str:
    """One branch fails while another waits; that one cleans up, and what both have done is undone."""

    def waiting(ctx: Context) -> None:
        ctx.step("car", append, "car", compensate=undo)
        try:
            ctx.wait_for_signal("answer")
        except Cancelled:
            ctx.step("clean_up", append)
            raise

    def failing(ctx: Context) -> None:
        ctx.step(insert_row, compensate=undo_row)
        ctx.sleep(seconds)
        ctx.step(refuse)

    try:
        ctx.parallel({"waiting": waiting, "failing": failing})
    except Refused as error:
        return ctx.step("after", append, f"refused: {error}")
    return "never"


@workflow("ledger.steps")
def steps(ctx: Context, count: int) -> int:
    """Any number of steps of both kinds, for storms and races."""
    for index in range(count):
        ctx.step(insert_row if index % 2 else append)
    return count


@workflow("ledger.slow_steps")
def slow_steps(ctx: Context, count: int, seconds: float) -> int:
    """Steps of which a kill finds one in the middle of its body."""
    for _ in range(count):
        ctx.step(linger, seconds)
    return count
