"""What a type checker must make of code that uses the library. Read by mypy, never run.

``# -> type`` is what an expression must be revealed as, ``# error: code`` what must be refused on that line; nothing
else may be.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, reveal_type

from django_durable import Context, Retry, SignalType, step, workflow


@dataclass(frozen=True)
class Approval:
    by: str


approved = SignalType("orders.approved", payload=Approval)
anything = SignalType[Any]("orders.anything")


@step(retry=Retry(max_attempts=5), timeout=timedelta(seconds=30))
def charge(order_id: int, *, currency: str = "EUR") -> str:
    return f"{order_id} {currency}"


@step
async def fetch(url: str) -> bytes:
    return url.encode()


def plain(number: int) -> float:
    return number / 2


async def plain_async(number: int) -> list[int]:
    return [number]


@workflow("orders.fulfil", timeout=timedelta(days=3))
def fulfil(ctx: Context, order_id: int, note: str = "") -> dict[str, str]:
    # -- steps
    reveal_type(ctx.step(charge, order_id))  # -> str
    reveal_type(ctx.step(charge, order_id, currency="USD"))  # -> str
    reveal_type(ctx.step(fetch, "/"))  # -> bytes
    reveal_type(ctx.step(plain, 1))  # -> float
    reveal_type(ctx.step(plain_async, 1))  # -> list[int]
    reveal_type(ctx.step("again", plain, 1))  # -> float
    reveal_type(ctx.step("again", plain_async, 1))  # -> list[int]
    ctx.step(charge, "7")  # error: call-overload
    ctx.step(charge)  # error: call-overload
    ctx.step(charge, order_id, money="USD")  # error: call-overload
    ctx.step(fetch, 7)  # error: call-overload
    ctx.step("again", plain, "1")  # error: call-overload
    ctx.step(7)  # error: call-overload
    # -- waits
    reveal_type(ctx.wait_for_signal(approved))  # -> Approval | None
    reveal_type(ctx.wait_for_signal(approved, timeout=timedelta(days=3)))  # -> Approval | None
    reveal_type(ctx.wait_for_signal(approved, timeout=60, default="late"))  # -> Approval | str
    reveal_type(ctx.wait_for_signal(anything))  # -> Any | None
    reveal_type(ctx.wait_for_signal("by.name"))  # -> Any
    ctx.wait_for_signal(approved, timeout="3 days")  # error: call-overload
    ctx.sleep(timedelta(hours=1))
    ctx.sleep("1 hour")  # error: arg-type
    # -- facts
    reveal_type(ctx.now())  # -> datetime
    reveal_type(ctx.uuid4())  # -> UUID
    return {"note": note}


# -- starting
reveal_type(fulfil.start(1).key)  # -> str | None
reveal_type(fulfil.start_and_wait(1))  # -> dict[str, str]
reveal_type(fulfil.using(key="order:1", priority="high").start(1, note="now").status)  # -> str
reveal_type(fulfil.using(delay=5).start_and_wait(1))  # -> dict[str, str]
fulfil.start()  # error: call-arg
fulfil.start("1")  # error: arg-type
fulfil.start(1, 2)  # error: arg-type
fulfil.start(1, key="order:1")  # error: call-arg
fulfil.using(key="order:1").start("1")  # error: arg-type
fulfil.using(priority="urgent")  # error: arg-type
fulfil.using(later=5)  # error: call-arg

# -- plain calls, as tests make them
reveal_type(charge(1))  # -> str
charge("1")  # error: arg-type


def called(ctx: Context) -> None:
    reveal_type(fulfil(ctx, 1))  # -> dict[str, str]
    fulfil(ctx)  # error: call-arg


# -- definitions
@workflow("orders.no_context")  # error: arg-type
def no_context(order_id: int) -> None: ...


step(retry=3)(plain)  # error: call-overload
SignalType("orders.odd", payload=Approval("me"))  # error: arg-type
