"""Workflows with limits.

Not called ``workflows.py``: nothing but a test may register these.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django_durable import ChildFailed, Context, Limit, Rate, StepInterrupted, workflow
from tests.ledger_app.programs import SHORT, append, effect, insert, witnessed


@workflow("ledger.one_at_a_time", concurrency=Limit(1))
def one_at_a_time(ctx: Context) -> str:
    return ctx.step(append, "done")


@workflow("ledger.two_at_a_time", concurrency=Limit(2))
def two_at_a_time(ctx: Context) -> str:
    return ctx.step(append, "done")


@workflow("ledger.newest", concurrency=Limit(1, cancel_in_progress=True))
def newest(ctx: Context) -> str:
    return ctx.step(append, "done")


@workflow("ledger.rated", rate=Rate(1000, per=1, burst=1000))
def rated(ctx: Context) -> str:
    return ctx.step(append, "done")


@workflow("ledger.turn", concurrency=Limit(1, key=lambda of: of))
def turn(ctx: Context, of: str, seconds: float) -> str:
    ctx.step(append)
    ctx.sleep(seconds)
    return "done"


@workflow("ledger.turns")
def turns(ctx: Context, count: int, seconds: float) -> list[Any]:
    """Children that have to wait for each other."""
    begun = [ctx.start_child(f"turn-{n}", turn, str(ctx.execution_id), seconds) for n in range(count)]
    try:
        return [ctx.wait_for_execution(child) for child in begun]
    except ChildFailed as failed:
        return [failed.status]


@workflow("ledger.spread", rate=Rate(1, per=0.01, key=lambda of: of))
def spread(ctx: Context, of: str) -> str:
    return ctx.step(append, "done")


@workflow("ledger.spreads")
def spreads(ctx: Context) -> list[Any]:
    """Children that may not begin in one moment."""
    begun = [ctx.start_child(f"spread-{n}", spread, str(ctx.execution_id)) for n in range(2)]
    return [ctx.wait_for_execution(child) for child in begun]


@witnessed(name="ledger.by_turns", limit=Limit(1, name="ledger"), retry=SHORT)
def by_turns(value: Any) -> Any:
    effect()
    return value


@witnessed(name="ledger.own_turns", limit=Limit(1, key=lambda of: of), retry=SHORT)
def own_turns(of: str, value: Any) -> Any:
    effect()
    return value


@witnessed(name="ledger.own_row", limit=Limit(1, key=lambda of: of), atomic=True)
def own_row(of: str, value: Any) -> Any:
    insert()
    return value


@witnessed(name="ledger.own_once", limit=Limit(1, key=lambda of: of), at_most_once=True)
def own_once(of: str, value: Any) -> Any:
    effect()
    return value


@workflow("ledger.step_by_turns")
def step_by_turns(ctx: Context) -> str:
    return ctx.step(by_turns, "done")


@workflow("ledger.steps_beside")
def steps_beside(ctx: Context) -> list[Any]:
    """Its own branches have to wait for each other."""
    of = str(ctx.execution_id)
    return ctx.gather(*[lambda ctx: ctx.step(own_turns, of, "done")] * 3)


@workflow("ledger.steps_of_all_kinds")
def steps_of_all_kinds(ctx: Context) -> str:
    of = str(ctx.execution_id)
    ctx.step(own_row, of, "atomic")
    with suppress(StepInterrupted):
        ctx.step(own_once, of, "once")
    return ctx.step(own_turns, of, "done")


@workflow("ledger.lent", concurrency=Limit(1, key=lambda of: of, while_waiting=False))
def lent(ctx: Context, of: str, seconds: float) -> str:
    ctx.step(append)
    ctx.sleep(seconds)
    ctx.step("again", append)
    return "done"


@workflow("ledger.lends")
def lends(ctx: Context, count: int, seconds: float) -> list[Any]:
    """Children that lend each other a slot."""
    begun = [ctx.start_child(f"lent-{n}", lent, str(ctx.execution_id), seconds) for n in range(count)]
    return [ctx.wait_for_execution(child) for child in begun]
