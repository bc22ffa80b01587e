"""Workflows with limits.

Not called ``workflows.py``: nothing but a test may register these.
"""

from __future__ import annotations

from typing import Any

from django_durable import ChildFailed, Context, Limit, Rate, workflow
from tests.ledger_app.programs import append


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
