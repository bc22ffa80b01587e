"""A deploy that changed a workflow under live executions: found before anything new runs, and curable."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from django_durable import Context, client, workflow
from django_durable.definitions import registry
from django_durable.exceptions import NondeterminismError
from django_durable.models import AuditEntry, Execution, Step
from django_durable.testing import DurableKit, export_history, replay

ran: list[str] = []


def first() -> str:
    ran.append("first")
    return "one"


def second() -> str:
    ran.append("second")
    return "two"


def third() -> str:
    ran.append("third")
    return "three"


def other() -> str:
    ran.append("other")
    return "other"


def original(ctx: Context) -> list[Any]:
    values = [ctx.step(first), ctx.step(second)]
    ctx.sleep(3600)
    return [*values, ctx.step(third)]


def inserted(ctx: Context) -> None:
    ctx.step(first)
    ctx.step(other)
    ctx.step(second)
    ctx.sleep(3600)


def inserted_first(ctx: Context) -> None:
    ctx.step(other)
    original(ctx)


def removed(ctx: Context) -> None:
    ctx.step(first)
    ctx.sleep(3600)
    ctx.step(third)


def renamed(ctx: Context) -> None:
    ctx.step("erste", first)
    ctx.step(second)
    ctx.sleep(3600)


def kind_changed(ctx: Context) -> None:
    ctx.step(first)
    ctx.step(second)
    ctx.wait_for_signal("sleep")


def note_for_a_step(ctx: Context) -> None:
    ctx.note("first")
    ctx.step(second)


def swapped(ctx: Context) -> None:
    ctx.step(second)
    ctx.step(first)
    ctx.sleep(3600)


def early_return(ctx: Context) -> str:
    ctx.step(first)
    return "enough"


def early_error(ctx: Context) -> None:
    ctx.step(first)
    raise ValueError("enough")


def repeated(ctx: Context) -> None:
    ctx.step(first)
    ctx.step(first)
    ctx.sleep(3600)


CHANGES = [
    inserted,
    inserted_first,
    removed,
    renamed,
    kind_changed,
    note_for_a_step,
    swapped,
    early_return,
    early_error,
    repeated,
]


@pytest.fixture(autouse=True)
def _registry() -> Iterator[None]:
    ran.clear()
    with registry.isolated():
        yield


def _deploy(function: Callable[..., Any]) -> Any:
    """Register a function as the code of the workflow, in place of what was."""
    registry._versions.pop("replay.changing", None)
    return workflow("replay.changing")(function)


def _parked(durable: DurableKit) -> Any:
    execution = _deploy(original).start()
    durable.run_until_idle()
    assert ran == ["first", "second"]
    return execution


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_replay_names_the_first_difference(durable: DurableKit, change: Callable[..., Any]) -> None:
    recorded = export_history(_parked(durable))
    _deploy(change)

    report = replay(recorded)

    assert isinstance(report.mismatch, NondeterminismError)
    assert str(report.mismatch.position) in str(report.mismatch)
    assert report.mismatch.expected != report.mismatch.found


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_the_engine_parks_before_anything_new_runs_and_goes_on_with_the_old_code(
    durable: DurableKit, change: Callable[..., Any]
) -> None:
    execution = _parked(durable)
    before = list(Step.objects.order_by("position").values())

    _deploy(change)
    durable.advance(timedelta(hours=1))

    row = Execution.objects.get(pk=execution.id)
    assert (row.status, row.stuck_reason) == ("stuck", "nondeterminism")
    assert ran == ["first", "second"]
    assert list(Step.objects.order_by("position").values()) == before
    assert "Position" in client.inspect(execution).error

    durable.advance(timedelta(minutes=10))  # looked at again and again, told once
    assert AuditEntry.objects.filter(kind="stuck_nondeterminism").count() == 1

    _deploy(original)
    durable.advance(timedelta(minutes=10))

    assert client.result(execution) == ["one", "two", "three"]
    assert ran == ["first", "second", "third"]


def test_code_that_only_adds_at_the_end_fits(durable: DurableKit) -> None:
    def longer(ctx: Context) -> list[Any]:
        return [*original(ctx), ctx.step(other)]

    execution = _parked(durable)
    recorded = export_history(execution)
    _deploy(longer)

    assert replay(recorded).fits
    durable.advance(timedelta(hours=1))
    assert client.result(execution) == ["one", "two", "three", "other"]


def test_the_first_run_sees_what_a_replay_sees(durable: DurableKit) -> None:
    """A step's own object is never handed out: what the workflow does to its copy stays in the workflow."""
    kept = ["apple"]

    def shelf() -> list[str]:
        return kept

    def program(ctx: Context) -> list[str]:
        basket = ctx.step(shelf)
        basket.append("pear")
        return ctx.step("again", shelf) + basket

    execution = _deploy(program).start()

    assert durable.run(execution) == ["apple", "apple", "pear"]
    assert kept == ["apple"]
