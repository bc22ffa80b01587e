"""Workflows as a type checker reads them; never imported. Each ``# E:`` line must be an error, mypy's of that code."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, reveal_type

from django_durable import (
    AsyncContext,
    Coalesce,
    Context,
    EventInfo,
    EventType,
    Limit,
    Rate,
    SignalType,
    client,
    current_step,
    on_event,
    step,
    workflow,
)


@dataclass(frozen=True)
class Approval:
    by: str


approved = SignalType("typing.approved", payload=Approval)
shipped = EventType("typing.shipped", payload=Approval)
untyped = SignalType("typing.untyped")
untyped_event = EventType("typing.untyped")
checked = SignalType("typing.checked", payload=Approval, validator=lambda approval: bool(approval.by))


def plain(order_id: int, *, fast: bool = False) -> str:
    return str(order_id)


async def asynchronous(order_id: int) -> float:
    return float(order_id)


@step
def bare(order_id: int) -> bytes:
    return b""


@step(atomic=True, timeout=timedelta(seconds=5))
def with_options(order_id: int) -> list[int]:
    return [order_id]


@step
async def fetch(url: str) -> bool:
    return bool(url)


def count(ctx: Context) -> int:
    return ctx.step(len, "three")


def number_of(ctx: Context, text: str) -> int:
    return len(text)


def undo(text: str) -> None:
    pass


def undo_number(number: int) -> None:
    pass


@step
def undo_bytes(raw: bytes) -> None:
    pass


@workflow("typing.other")
def other(ctx: Context, order_id: int) -> bytes:
    return b""


@other.query("progress")
def progress(state: dict[str, Any]) -> int:
    return len(state)


@other.update("approve", validator=lambda approval: bool(approval.by))
def approve(state: dict[str, Any], approval: Approval) -> str:
    state["approved"] = approval
    return approval.by


other.prepare("seven")  # E: arg-type
client.start_many([other.prepare(7), other.using(coalesce=Coalesce.skip(key="7")).prepare(7)])
client.start_many([{"order_id": 7}])  # E: list-item
other.using(coalesce="skip")  # E: arg-type
other.using(key="7", if_failed="retry")  # E: arg-type
Coalesce.debounce(5)  # E: call-arg
reveal_type(progress({}))  # R: int
reveal_type(approve({}, Approval("me")))  # R: str
approve({}, "me")  # E: arg-type
other.query(7)  # E: arg-type
other.update("typed", validator=7)  # E: arg-type
reveal_type(client.send_update("id", "approve", Approval("me"), update_id="7"))  # R: uuid.UUID
reveal_type(client.update("id", "approve", Approval("me")))  # R: Any
reveal_type(client.query("id", "progress"))  # R: Any
client.update("id")  # E: call-arg


@other.update("wrong")  # E: arg-type
def wrong(state: dict[str, Any]) -> None: ...


@workflow("typing.fulfil")
def fulfil(ctx: Context, order_id: int, note: str = "") -> dict[str, int]:
    reveal_type(ctx.step(plain, order_id, fast=True))  # R: str
    reveal_type(ctx.step("mine", plain, order_id))  # R: str
    reveal_type(ctx.step(asynchronous, order_id))  # R: float
    reveal_type(ctx.step("mine", asynchronous, order_id))  # R: float
    reveal_type(ctx.step(bare, order_id))  # R: bytes
    reveal_type(ctx.step("mine", with_options, order_id))  # R: list[int]
    reveal_type(ctx.step(fetch, "/"))  # R: bool
    reveal_type(ctx.wait_for_signal(approved))  # R: authoring.Approval
    reveal_type(ctx.wait_for_signal(approved, timeout=60))  # R: authoring.Approval | None
    reveal_type(ctx.wait_for_signal(approved, timeout=timedelta(1), default=7))  # R: authoring.Approval | int
    reveal_type(ctx.wait_for_signal("typing.approved"))  # R: Any
    reveal_type(ctx.wait_for_signal(checked))  # R: authoring.Approval
    reveal_type(ctx.wait_for_signal(untyped, timeout=60))  # R: Any | None
    reveal_type(ctx.signal_token(approved, expires=timedelta(days=3)))  # R: str
    ctx.state.set(phase="paid", total=7)
    ctx.state.replace({"phase": "paid"})
    ctx.state.replace([])  # E: arg-type
    reveal_type(ctx.state["phase"])  # R: Any
    reveal_type(ctx.wait_until(lambda state: "paid" in state, timeout=timedelta(days=1)))  # R: bool
    ctx.wait_until("paid")  # E: arg-type
    reveal_type(ctx.uuid4())  # R: uuid.UUID
    reveal_type(current_step().idempotency_key)  # R: str
    reveal_type(ctx.step(plain, order_id, compensate=undo))  # R: str
    reveal_type(ctx.step("mine", bare, order_id, compensate=undo_bytes))  # R: bytes
    reveal_type(ctx.step(fetch, "/", compensate=print))  # R: bool
    ctx.step(plain, order_id, compensate=undo_number)  # E: arg-type
    ctx.step("mine", bare, order_id, compensate=undo)  # E: arg-type
    ctx.step(plain, order_id, compensate="undo")  # E: call-arg
    reveal_type(ctx.call(other, order_id))  # R: bytes
    reveal_type(ctx.call("mine", other.using(key="k"), order_id))  # R: bytes
    reveal_type(ctx.start_child(other, order_id))  # R: django_durable.parts.Child
    reveal_type(ctx.gather(lambda ctx: 1, lambda ctx: 2))  # R: list[int]
    reveal_type(ctx.switch("s", order_id, {"a": lambda ctx: str(ctx.uuid4())}))  # R: str
    reveal_type(ctx.parallel({"a": count}))  # R: dict[str, int]
    reveal_type(ctx.parallel("p", {"a": count}, settle=True))  # R: dict[str, django_durable.parts.Settled]
    reveal_type(ctx.map(number_of, ["a"], concurrency=2))  # R: list[int]
    reveal_type(ctx.race({"a": count}))  # R: tuple[str, int]
    reveal_type(ctx.now())  # R: datetime.datetime
    ctx.map(number_of, [7])  # E: arg-type
    reveal_type(ctx.loop("l", lambda n: n < 3, lambda ctx, n: n + 1, initial=0))  # R: int
    reveal_type(ctx.wait_any({"a": approved}))  # R: tuple[str, authoring.Approval]
    reveal_type(ctx.wait_any({"a": approved}, timeout=7))  # R: tuple[str, authoring.Approval] | None
    reveal_type(ctx.wait_any({"a": "a", "t": timedelta(days=3)}))  # R: tuple[str, Any]
    reveal_type(ctx.wait_any({"a": count}))  # R: tuple[str, int]
    reveal_type(ctx.wait_all({"a": approved, "b": approved}))  # R: dict[str, authoring.Approval]
    reveal_type(ctx.wait_all({"a": "a", "c": ctx.start_child(other, 7)}, timeout=7))  # R: dict[str, Any]
    reveal_type(ctx.should_continue_as_new)  # R: bool
    ctx.loop("l", 7, lambda ctx, n: n)  # E: call-overload
    ctx.wait_any([approved])  # E: call-overload
    ctx.wait_any({"a": approved}, timeout="x")  # E: call-overload
    reveal_type(ctx.map(other, [1, 2]))  # R: typing.Sequence[bytes]
    reveal_type(ctx.map("mine", other.using(queue="q"), [1, 2], concurrency=3))  # R: typing.Sequence[bytes]
    reveal_type(ctx.map(other, [1], settle=True))  # R: typing.Sequence[django_durable.parts.Settled]
    reveal_type(ctx.map(lambda ctx, item: str(item), [1, 2]))  # R: list[str]
    ctx.map(other, ["seven"])  # E: misc
    ctx.call(other, "seven")  # E: call-overload
    ctx.start_child(plain, order_id)  # E: call-overload
    ctx.wait_for_execution("id")  # E: arg-type
    ctx.step(plain, "seven")  # E: call-overload
    ctx.step(plain)  # E: call-overload
    ctx.step(bare, "seven")  # E: call-overload
    ctx.step("mine", plain, order_id, slow=True)  # E: call-arg
    ctx.step(fetch, order_id)  # E: call-overload
    ctx.step(7)  # E: call-overload
    ctx.wait_for_signal(approved, timeout="3 days")  # E: call-overload
    ctx.sleep("five minutes")  # E: arg-type
    ctx.signal_token(approved)  # E: call-arg
    ctx.signal_token(approved, expires="3 days")  # E: arg-type
    ctx.emit(shipped, Approval("me"))
    ctx.emit("typing.shipped", {"by": "me"}, id="told")
    ctx.emit(shipped, "me")  # E: misc
    ctx.emit(7)  # E: call-overload
    return {"order": order_id}


@on_event(shipped)
def receives(event: EventInfo[Approval]) -> int:
    reveal_type(event.payload.by)  # R: str
    return 1


reveal_type(receives)  # R: def (django_durable.events.EventInfo[authoring.Approval]) -> int


@on_event(shipped, name="other", retry=3)  # E: call-overload
def receives_badly(event: EventInfo[Approval]) -> None: ...


@on_event(shipped)  # E: arg-type
def receives_another(event: EventInfo[int]) -> None: ...


async def branch(ctx: AsyncContext) -> int:
    return 1


async def count_async(ctx: AsyncContext, number: int) -> int:
    return number + 1


async def for_item(ctx: AsyncContext, item: str) -> float:
    return 1.0


@workflow("typing.asynchronous")
async def fulfil_async(ctx: AsyncContext, order_id: int) -> bytes:
    reveal_type(await ctx.step(plain, order_id, fast=True))  # R: str
    reveal_type(await ctx.step("mine", asynchronous, order_id))  # R: float
    reveal_type(await ctx.step(bare, order_id, compensate=undo_bytes))  # R: bytes
    reveal_type(await asyncio.gather(ctx.step(plain, 7), ctx.now()))  # R: tuple[str, datetime.datetime]
    reveal_type(asyncio.create_task(ctx.step(plain, 7)))  # R: _asyncio.Task[str]
    reveal_type(await ctx.wait_for_signal(approved))  # R: authoring.Approval
    reveal_type(await ctx.wait_for_signal(approved, timeout=5))  # R: authoring.Approval | None
    reveal_type(await ctx.wait_any({"a": branch}, timeout=5))  # R: tuple[str, int] | None
    reveal_type(await ctx.wait_all({"a": approved}))  # R: dict[str, authoring.Approval]
    reveal_type(await ctx.loop("l", lambda value: value < 3, count_async, initial=1))  # R: int
    reveal_type(await ctx.should_continue_as_new)  # R: bool
    reveal_type(await ctx.patched("p"))  # R: bool
    reveal_type(await ctx.wait_until(lambda state: bool(state)))  # R: bool
    reveal_type(await ctx.map(other, [1]))  # R: list[bytes]
    reveal_type(ctx.state["a"])  # R: Any
    await ctx.state.set(a=1)
    await ctx.emit(shipped, Approval("Ada"))
    reveal_type(await ctx.call(other, order_id))  # R: bytes
    reveal_type(await ctx.call(fulfil_async, order_id))  # R: bytes
    reveal_type(await ctx.parallel({"a": branch, "b": lambda ctx: branch(ctx)}))  # R: dict[str, int]
    reveal_type(await ctx.map(for_item, ["a"]))  # R: list[float]
    reveal_type(await ctx.race({"a": branch}))  # R: tuple[str, int]
    reveal_type(await ctx.switch("s", 1, {"a": branch}))  # R: int
    reveal_type(ctx.uuid4())  # R: uuid.UUID
    ctx.step(plain, "seven")  # E: call-overload
    await ctx.sleep("five minutes")  # E: arg-type
    await ctx.parallel({"a": lambda ctx: 1})  # E: arg-type
    return b""


reveal_type(fulfil_async.start_and_wait(7))  # R: bytes
fulfil_async.start("seven")  # E: arg-type
reveal_type(bare(7))  # R: bytes
reveal_type(fulfil.start_and_wait(7))  # R: dict[str, int]
reveal_type(fulfil.using(key="k").start_and_wait(7, note="x"))  # R: dict[str, int]
reveal_type(fulfil.start(7).status)  # R: str
fulfil.start("seven")  # E: arg-type
fulfil.start()  # E: call-arg
fulfil.start(7, fast=True)  # E: call-arg
fulfil.using(key="k").start(7, "x", "y")  # E: call-arg
fulfil.using(priority="urgent")  # E: arg-type
fulfil.using(nothing=1)  # E: call-arg
bare("seven")  # E: arg-type
step(retry=3)(plain)  # E: call-overload
SignalType("typing.odd", payload=Approval("me"))  # E: call-overload
SignalType("typing.odd", payload=Approval, validator=plain)  # E: arg-type

prepared = fulfil.using(key="k").prepare(7, note="x")
fulfil.using(key="k").prepare("seven")  # E: arg-type
fulfil.using(key="k").prepare()  # E: call-arg
execution, was_started = client.signal_with_start(prepared, approved, Approval("me"))
reveal_type(execution)  # R: django_durable.models.execution.Execution
reveal_type(was_started)  # R: bool
reveal_type(client.signal_with_start(prepared, "typing.approved", {"by": "me"}, signal_id="7")[1])  # R: bool
client.signal_with_start(prepared, approved, {"by": "me"})  # E: misc
client.signal_with_start(fulfil.using(key="k"), approved, Approval("me"))  # E: arg-type
reveal_type(client.signal_by_token("token", approved, Approval("me")))  # R: uuid.UUID
client.signal_by_token("token", approved, "me")  # E: misc
reveal_type(client.signal("id", "typing.approved", {"by": "me"}))  # R: bool
client.signal("id", approved, Approval("me"), signal_id="7")
client.signal("id", approved, "me")  # E: misc


def patched_workflow(ctx: Context) -> None:
    reveal_type(ctx.patched("faster"))  # R: bool
    ctx.deprecate_patch("faster")
    ctx.patched()  # E: call-arg
    ctx.patched(1)  # E: arg-type
    workflow("typing.tolerant", on_change="tolerate")
    workflow("typing.ignorant", on_change="ignore")  # E: arg-type


def called_as_a_test_does(ctx: Context) -> None:
    reveal_type(fulfil(ctx, 7))  # R: dict[str, int]
    fulfil(ctx)  # E: call-arg


@workflow("typing.without_context")  # E: arg-type
def without_context(order_id: int) -> None: ...


@workflow("typing.limited", concurrency=[Limit(2, name="erp"), Limit(1, key=plain)], rate=Rate(9, per=1))
def limited(ctx: Context, order_id: int) -> str:
    return plain(order_id)


limited.start(7)
Limit("2")  # E: arg-type
Rate(9)  # E: call-arg
workflow("typing.unlimited", concurrency=3)  # E: arg-type
