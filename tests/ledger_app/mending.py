"""Programs that fail until somebody has mended the world: for what operators do about that."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django_durable import Context, Retry, workflow
from tests.ledger_app import ledger
from tests.ledger_app.programs import Broken, append, effect, insert_row, undo, undo_row, undo_until_helped, witnessed

LATER = Retry(max_attempts=9, initial_seconds=600, maximum_seconds=600)


def mend(execution_id: UUID | None) -> None:
    """From now on the bodies of that execution, and of its copies, succeed."""
    ledger.current().write("mended", execution_id)


def _work_or_fail() -> str:
    effect()
    if not ledger.current().lines("mended"):
        raise Broken("not mended")
    return "done"


@witnessed()
def repaired() -> str:
    return _work_or_fail()


@witnessed(retry=LATER)
def repaired_later() -> str:
    return _work_or_fail()


@workflow("ledger.mended")
def mended(ctx: Context) -> str:
    """All is undone when it fails, and done again after a retry."""
    ctx.step("first", append)
    ctx.step("car", append, "car", compensate=undo)
    ctx.step("row", insert_row, compensate=undo_row)
    return ctx.step("last", repaired)


@workflow("ledger.mended_left", on_failure="leave")
def mended_left(ctx: Context) -> str:
    """Nothing is undone when it fails, and all when it goes back."""
    ctx.step("first", append)
    ctx.step("car", append, "car", compensate=undo)
    ctx.step("row", insert_row, compensate=undo_row)
    return ctx.step("last", repaired)


@workflow("ledger.mended_left_stuck", on_failure="leave")
def mended_left_stuck(ctx: Context) -> str:
    """As that; one of those compensations needs a person."""
    ctx.step("car", append, "car", compensate=undo_until_helped)
    ctx.step("row", insert_row, compensate=undo_row)
    return ctx.step("last", repaired)


@workflow("ledger.mended_stuck")
def mended_stuck(ctx: Context) -> str:
    ctx.step("car", append, "car", compensate=undo_until_helped)
    return ctx.step("last", repaired)


@workflow("ledger.mended_later")
def mended_later(ctx: Context) -> Any:
    """Rests between two attempts until then."""
    ctx.step("first", append)
    return ctx.step("later", repaired_later)


@workflow("ledger.mended_child")
def mended_child(ctx: Context) -> str:
    ctx.step("begin", append)
    return ctx.step("last", repaired)


@workflow("ledger.mended_parent")
def mended_parent(ctx: Context) -> list[Any]:
    child = ctx.start_child(mended_child)
    ctx.step("meanwhile", append)
    return [ctx.wait_for_execution(child), ctx.step("after", append, "after")]


@workflow("ledger.mended_answer")
def mended_answer(ctx: Context) -> list[Any]:
    """Asks for its child only once it has an answer."""
    child = ctx.start_child(mended_child)
    answer = ctx.wait_for_signal("answer")
    return [answer, ctx.wait_for_execution(child)]


@workflow("ledger.answered_then_mended")
def answered_then_mended(ctx: Context) -> list[Any]:
    answer = ctx.wait_for_signal("answer")
    return [answer, ctx.step("last", repaired)]
