"""An execution in each status that there is, brought there by what brings executions there. SQLite and servers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django_durable import Cancelled, Retry, client, step, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, worker
from django_durable.models import Execution, Status

LONG = timedelta(days=1)
SOON = Retry(max_attempts=9, initial_seconds=LONG, maximum_seconds=LONG)
ONCE = Retry(max_attempts=1)


class Broken(Exception):
    """What a body raises here."""


def broken(*_: Any) -> None:
    raise Broken


def register() -> Any:
    """A workflow whose argument says how far it comes."""
    hesitant = step(retry=SOON)(broken)

    @workflow("standing")
    def standing(ctx, how: str, round: int = 1):
        undo = {"compensating": hesitant, "stuck": step(retry=ONCE)(broken), "compensation_failed": broken}.get(how)
        ctx.step("before", str, how, compensate=undo)
        if how == "sleeping":
            ctx.sleep(LONG)
        if how == "retrying":
            ctx.step("later", hesitant)
        if how in ("waiting", "paused"):
            ctx.wait_for_signal("go")
        if how == "cancelling":
            try:
                ctx.wait_for_signal("go")
            except Cancelled:
                ctx.sleep(LONG)
        if how == "continued" and round == 1:
            ctx.continue_as_new(how, 2)
        if how in ("compensating", "stuck", "compensation_failed", "failed"):
            raise Broken(how)
        if how in ("cancelled", "timed_out", "terminated", "continued"):
            ctx.wait_for_signal("never")
        return how

    @standing.update("rename")
    def rename(state, name):
        state["name"] = name

    return standing


def bring(standing: Any, status: Status) -> Execution:
    """An execution of that status; for running one whose worker has it."""
    options: dict[str, Any] = {}
    if status == Status.PENDING:
        options = {"delay": LONG}
    execution = standing.using(key=f"{status}", **options).start(str(status))
    if status == Status.TIMED_OUT:
        Execution.objects.filter(pk=execution.id).update(deadline_at=DatabaseNow() - LONG)
    if status == Status.RUNNING:
        assert claims.take(execution.id, using="default")
        return client.get(execution)
    if status != Status.PENDING:
        _work(execution)
    after: dict[Status, Callable[..., Any]] = {
        Status.PAUSED: client.pause,
        Status.CANCELLING: client.cancel,
        Status.CANCELLED: client.cancel,
        Status.TERMINATED: client.terminate,
        Status.COMPENSATION_FAILED: client.skip_compensation,
    }
    if status in after:
        after[status](execution)
        with suppress(Exception):
            _work(execution)
    found = client.get(execution)
    assert found.status == status, (found.status, status)
    return found


def _work(execution: Any) -> None:
    for _ in range(5):
        worker.advance_one(execution.id, using="default")
