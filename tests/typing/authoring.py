"""Workflows as a type checker reads them; never imported. Each ``# E:`` line must be an error of that code."""

from dataclasses import dataclass
from datetime import timedelta
from typing import reveal_type

from django_durable import Context, SignalType, client, current_step, step, workflow


@dataclass(frozen=True)
class Approval:
    by: str


approved = SignalType("typing.approved", payload=Approval)
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


def undo(text: str) -> None:
    pass


def undo_number(number: int) -> None:
    pass


@step
def undo_bytes(raw: bytes) -> None:
    pass


@workflow("typing.fulfil")
def fulfil(ctx: Context, order_id: int, note: str = "") -> dict[str, int]:
    reveal_type(ctx.step(plain, order_id, fast=True))  # R: str
    reveal_type(ctx.step("mine", plain, order_id))  # R: str
    reveal_type(ctx.step(asynchronous, order_id))  # R: float
    reveal_type(ctx.step("mine", asynchronous, order_id))  # R: float
    reveal_type(ctx.step(bare, order_id))  # R: bytes
    reveal_type(ctx.step("mine", with_options, order_id))  # R: list[int]
    reveal_type(ctx.step(fetch, "/"))  # R: bool
    reveal_type(ctx.wait_for_signal(approved))  # R: authoring.Approval | None
    reveal_type(ctx.wait_for_signal(approved, default=7))  # R: authoring.Approval | int
    reveal_type(ctx.wait_for_signal("typing.approved"))  # R: Any
    reveal_type(ctx.wait_for_signal(checked))  # R: authoring.Approval | None
    reveal_type(ctx.signal_token(approved, expires=timedelta(days=3)))  # R: str
    reveal_type(ctx.uuid4())  # R: uuid.UUID
    reveal_type(current_step().idempotency_key)  # R: str
    reveal_type(ctx.step(plain, order_id, compensate=undo))  # R: str
    reveal_type(ctx.step("mine", bare, order_id, compensate=undo_bytes))  # R: bytes
    reveal_type(ctx.step(fetch, "/", compensate=print))  # R: bool
    ctx.step(plain, order_id, compensate=undo_number)  # E: arg-type
    ctx.step("mine", bare, order_id, compensate=undo)  # E: arg-type
    ctx.step(plain, order_id, compensate="undo")  # E: call-arg
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
    return {"order": order_id}


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
SignalType("typing.odd", payload=Approval("me"))  # E: arg-type
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
