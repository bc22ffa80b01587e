"""Steps that leave a witness, and the workflows made of them.

Not called ``workflows.py``: nothing but a test may register these.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django_durable import (
    AsyncContext,
    Cancelled,
    ChildFailed,
    Context,
    Flow,
    Part,
    Retry,
    StepFailed,
    StepInterrupted,
    current_step,
    step,
    workflow,
)
from tests.ledger_app import ledger
from tests.ledger_app.models import LedgerRow

WITNESSED: dict[str, Any] = {}  # step definitions by the name under which checkpoints keep them
SHORT = Retry(max_attempts=3, initial_seconds=0.01, multiplier=1, jitter=0)


class Broken(Exception):
    """The outside world failed; worth another attempt."""


TOLD = "ledger.told"


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


@witnessed(retry=Retry(max_attempts=20, initial_seconds=0.01))
def look(value: Any = None) -> Any:
    """Have calls of its own on its connection, before the effect and after it; a storm may cut that."""
    LedgerRow.objects.filter(step="not there").exists()
    effect()
    LedgerRow.objects.filter(step="not there either").exists()
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


@workflow("ledger.side_by_side")
def side_by_side(ctx: Context, is_full: bool) -> Any:
    """Bodies of four branches run at one time; with is_full one of them fails while the others run."""

    def hotel(ctx: Context) -> list[Any]:
        def room(ctx: Context, number: int) -> Any:
            return ctx.step(look, number, compensate=undo)

        return ctx.map(room, [1, 2])

    def car(ctx: Context) -> Any:
        ctx.step(look, "car", compensate=undo)
        ctx.step(insert_row, compensate=undo_row)
        return ctx.step("car_again", look, "again", compensate=undo)

    def flight(ctx: Context) -> Any:
        ctx.step(fail_first, 1)
        return ctx.step(refuse) if is_full else ctx.step(look, "flight")

    def pay(ctx: Context) -> str:
        try:
            return ctx.step(append_once, "paid")
        except StepInterrupted:
            return "not known"

    try:
        ended = ctx.parallel({"hotel": hotel, "car": car, "flight": flight, "pay": pay})
    except Refused as error:
        return ctx.step("after", append, f"refused: {error}")
    return seen(ctx, "ended", ended)


@workflow("ledger.race_of_bodies")
def race_of_bodies(ctx: Context) -> bool:
    """Whoever is first has won, and the other is undone."""

    def branch(name: str) -> Callable[[Context], Any]:
        return lambda ctx: ctx.step(look, name, compensate=undo)

    first = seen(ctx, "first", list(ctx.race({"left": branch("left"), "right": branch("right")})))
    return ctx.step("after", append, first[0] == first[1])


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


@workflow("ledger.race_of_equals")
def race_of_equals(ctx: Context, seconds: float) -> list[Any]:
    """Both end in the same pass: the first in order has won, and what the other did is undone."""

    def timed(ctx: Context) -> None:
        ctx.step("car", append, "car", compensate=undo)
        ctx.sleep(seconds)

    return ctx.step("after", append, seen(ctx, "first", list(ctx.race({"one": timed, "other": timed}))))


@workflow("ledger.wait_any")
def wait_any(ctx: Context, seconds: float, child_seconds: float) -> list[Any]:
    child_ = ctx.start_child(child, 3, child_seconds)
    first = ctx.wait_any({"answer": "answer", "time": timedelta(seconds=seconds), "child": child_})
    return ctx.step("after", append, seen(ctx, "first", list(first)))


@workflow("ledger.wait_all")
def wait_all(ctx: Context, seconds: float) -> list[Any]:
    """A child and an answer come in time, another signal does not."""
    awaited = {"child": ctx.start_child(child, 3, 0), "answer": "answer", "never": "never"}
    came = ctx.wait_all(awaited, timeout=seconds)
    return ctx.step("after", append, seen(ctx, "came", sorted(came.items())))


@workflow("ledger.looped")
def looped(ctx: Context, rounds: int, seconds: float) -> None:
    """Each round does something that is undone, in reverse order, when the last one fails."""

    def body(ctx: Context, number: int) -> int:
        ctx.step("car", append, number, compensate=undo)
        ctx.sleep(seconds)
        ctx.step(insert_row, compensate=undo_row)
        return number + 1

    seen(ctx, "rounds", ctx.loop("rounds", lambda number: number < rounds, body, initial=0))
    ctx.step(refuse)


@workflow("ledger.continued")
def continued(ctx: Context, number: int) -> Any:
    """Each takes one answer and leaves the others to the next."""
    answer = seen(ctx, "answer", ctx.wait_for_signal("answer"))
    ctx.step(append, answer)
    if number:
        try:
            ctx.continue_as_new(number - 1)
        finally:
            ctx.step("on_the_way_out", insert_row)
    return answer


@workflow("ledger.relayed")
def relayed(ctx: Context, number: int) -> Any:
    """Nothing but another one, until the last waits."""
    if number:
        ctx.continue_as_new(number - 1)
    return ctx.wait_for_signal("answer")


@workflow("ledger.continued_by_time")
def continued_by_time(ctx: Context, number: int, seconds: float) -> str:
    ctx.step(append, compensate=undo)
    ctx.sleep(seconds)
    if number:
        ctx.continue_as_new(number - 1, seconds)
    return ctx.step("after", append, "last")


@workflow("ledger.parent_of_continued")
def parent_of_continued(ctx: Context, number: int, seconds: float) -> str:
    return ctx.step("after", append, ctx.call(continued_by_time, number, seconds))


@workflow("ledger.parent_of_relayed")
def parent_of_relayed(ctx: Context, number: int) -> str:
    return ctx.call(relayed, number)


@workflow("ledger.continued_with_children")
def continued_with_children(ctx: Context, again: bool) -> str:
    """One child is waited for, one is cancelled before the next begins."""
    if again:
        ctx.start_child("one", child.using(on_parent_close="wait"), 1, 0)
        ctx.start_child("other", child, 2, 600)
        ctx.continue_as_new(False)
    return ctx.step(append, "last")


@workflow("ledger.child")
def child(ctx: Context, number: int, seconds: float) -> int:
    ctx.step(append)
    ctx.sleep(seconds)
    if number < 0:
        ctx.step(refuse)
    return ctx.step(insert_row) and number


@workflow("ledger.parent")
def parent(ctx: Context, number: int, seconds: float) -> list[Any]:
    """Two children: one is awaited, the other is to end before the parent does."""
    ctx.start_child("other", child.using(on_parent_close="wait"), 7, 0)
    try:
        answer = ctx.call(child, number, seconds)
    except ChildFailed as failed:
        answer = failed.status
    return [ctx.step("after", append, seen(ctx, "answer", answer))]


@workflow("ledger.parent_of_one")
def parent_of_one(ctx: Context) -> Any:
    return ctx.call(plain_child)


@workflow("ledger.plain_child")
def plain_child(ctx: Context) -> str:
    return "done"


@workflow("ledger.item")
def item(ctx: Context, number: int) -> int:
    if number == 0:
        ctx.step(refuse)
    if number < 0:
        ctx.sleep(-number)
    return ctx.step(insert_row) and number


@workflow("ledger.mapped")
def mapped(ctx: Context, numbers: list[int], limit: int | None) -> list[Any]:
    """A child for each number; a failure of one ends the others."""
    try:
        answer: Any = list(ctx.map(item, numbers, concurrency=limit))
    except ChildFailed as failed:
        answer = failed.status
    return [ctx.step("after", append, seen(ctx, "answer", answer))]


@workflow("ledger.plain_item")
def plain_item(ctx: Context, number: int) -> int:
    return number


@workflow("ledger.parent_of_two")
def parent_of_two(ctx: Context, limit: int | None) -> list[int]:
    return list(ctx.map(plain_item, [1, 2], concurrency=limit))


@workflow("ledger.race")
def race(ctx: Context, seconds: float) -> list[Any]:
    """An answer against the time; whoever loses is undone."""

    def answered(ctx: Context) -> Any:
        ctx.step("car", append, "car", compensate=undo)
        return ctx.wait_for_signal("answer")

    def timed(ctx: Context) -> str:
        ctx.step(insert_row, compensate=undo_row)
        ctx.sleep(seconds)
        return "too late"

    first = seen(ctx, "first", list(ctx.race({"answered": answered, "timed": timed})))
    return ctx.step("after", append, first)


@workflow("ledger.state")
def state(ctx: Context, enough: int) -> Any:
    """Counts what updates add, until that is enough."""
    ctx.state.set(phase="counting", sum=0)
    seen(ctx, "before", dict(ctx.state))
    ctx.wait_until(lambda state: state["sum"] >= enough)
    seen(ctx, "behind", dict(ctx.state))
    ctx.state.set(phase="counted")
    return ctx.step(append, dict(ctx.state))


@workflow("ledger.state_in_branches")
def state_in_branches(ctx: Context, enough: int, seconds: float) -> Any:
    """One branch waits for what the other one and updates change; the other sees only what is its own."""

    def waiting(ctx: Context) -> Any:
        ctx.wait_until(lambda state: state.get("sum", 0) >= enough and state["slept"])
        return seen(ctx, "waited", dict(ctx.state))

    def sleeping(ctx: Context) -> Any:
        ctx.state.set(slept=False)
        ctx.step(insert_row)
        ctx.sleep(seconds)
        ctx.state.set(slept=True)
        return seen(ctx, "slept", dict(ctx.state))

    each = ctx.parallel({"waiting": waiting, "sleeping": sleeping})
    return ctx.step("after", append, [each["waiting"]["sum"], each["sleeping"], seen(ctx, "after", dict(ctx.state))])


@workflow("ledger.state_or_timeout")
def state_or_timeout(ctx: Context, seconds: float) -> Any:
    answer = seen(ctx, "answer", ctx.wait_until(lambda state: "sum" in state, timeout=seconds))
    return ctx.step(append, answer)


@workflow("ledger.state_at_the_end")
def state_at_the_end(ctx: Context) -> None:
    """What is changed last is recorded with the end."""
    ctx.step(append)
    ctx.state.set(phase="done")


def _answering(workflow: Any) -> None:
    @workflow.update("add")
    def add(state: dict[str, Any], number: int) -> int:
        if number < 0:
            raise Refused("no")
        state["sum"] = state.get("sum", 0) + number
        return int(state["sum"])

    @workflow.query("state")
    def whole(state: dict[str, Any]) -> dict[str, Any]:
        return state


for each in (state, state_in_branches, state_or_timeout, state_at_the_end, signal, cleanup):
    _answering(each)


@workflow("ledger.emits")
def emits(ctx: Context, seconds: float = 0) -> str:
    """Two events, a wait between them; who hears of them is in ``receivers``."""
    ctx.note("before")
    ctx.emit("ledger.told", {"number": 1})
    ctx.sleep(seconds)
    ctx.emit("ledger.told", {"number": 2})
    return ctx.step("after", append, "told")


@workflow("ledger.emits_in_branches")
def emits_in_branches(ctx: Context, seconds: float = 0) -> Any:
    """Events of a race's loser, of its winner and beside an atomic step; then one more with the end."""

    def slow(ctx: Context) -> None:
        ctx.emit("ledger.told", {"number": 1})
        ctx.wait_for_signal("never")
        ctx.emit("ledger.told", {"number": 2})

    def fast(ctx: Context) -> str:
        ctx.emit("ledger.told", {"number": 3})
        ctx.step(insert_row)
        ctx.sleep(seconds)
        return ctx.step("after", append, "fast")

    winner = ctx.race({"slow": slow, "fast": fast})[0]
    ctx.emit("ledger.told", {"number": 4})
    return winner


@workflow("ledger.emits_once")
def emits_once(ctx: Context) -> None:
    ctx.emit("ledger.told", {"number": 1})


@workflow("ledger.emits_and_fails")
def emits_and_fails(ctx: Context) -> None:
    ctx.emit(TOLD, {"number": 1})
    ctx.step(refuse)


@workflow("ledger.coroutines")
async def coroutines(ctx: AsyncContext, seconds: float) -> list[Any]:
    """Whichever is first calls the other off, which cleans up; then tasks of which one fails undo it all."""

    async def answered() -> Any:
        try:
            return await ctx.wait_for_signal("answer")
        except asyncio.CancelledError:
            await ctx.step("clean", append, "clean")
            raise

    async def timed() -> str:
        await ctx.sleep(seconds)
        return "too late"

    tasks = {asyncio.create_task(answered()): "answered", asyncio.create_task(timed()): "timed"}
    await ctx.step("car", append, "car", compensate=undo)
    done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    first = [tasks[task] for task in done]
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.step(insert_row, compensate=undo_row))
            group.create_task(ctx.wait_for_signal("never"))
            group.create_task(ctx.step("refuse", refuse))
    except* Refused:
        await ctx.rollback()
    return await ctx.step("after", append, first)


flowing = (
    Flow("ledger.flow")
    .step("taken", insert_row, given=lambda data: (), compensate=undo_row)
    .sleep("rest", lambda data: data.input)
    .parallel(
        "both",
        {
            "left": Part().wait_for_signal("answered", "answer").step("after", append, given=lambda data: ["left"]),
            "right": Part().step("told", append, given=lambda data: ["right"]),
        },
    )
    .route(
        "way",
        lambda data: "no" if data.results["both"]["left"]["answered"] is None else "yes",
        {"yes": Part().step("way", append, given=lambda data: ["yes"])},
    )
    .loop("rounds", lambda data: data.iteration < 2, Part().step("round", append, given=lambda data: [data.iteration]))
    .returns(lambda data: [data.results["way"]["way"], [each["round"] for each in data.results["rounds"]]])
    .register()
)


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


@workflow("ledger.talks")
def talks(ctx: Context) -> Any:
    """Says a line before each thing that it records, once."""
    ctx.log.info("1 begins")
    ctx.step(append)
    ctx.log.info("2 has appended")
    ctx.step(fail_first, 1)
    ctx.note("3 has failed first")
    ctx.log.info("3 has failed first")
    ctx.step(insert_row)
    ctx.log.info("4 waits")
    answer = ctx.wait_for_signal("answer")
    ctx.log.info("5 was answered")
    return answer


@workflow("ledger.talks_once")
def talks_once(ctx: Context) -> None:
    ctx.log.info("begins")
    ctx.step(insert_row)
    ctx.log.info("ends")


@workflow("ledger.talks_and_waits")
def talks_and_waits(ctx: Context) -> Any:
    ctx.log.info("waits")
    answer = ctx.wait_for_signal("answer")
    ctx.log.info("was answered")
    return answer
