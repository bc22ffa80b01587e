"""@workflow(on_change="tolerate"): calls find their records by name; what carries order stays strict."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_durable import Context, Retry, client, current_step, step, workflow
from django_durable.definitions import registry
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Step
from django_durable.testing import DurableKit, export_history, replay

NAME = "tolerant.flow"
ran: list[str] = []


@pytest.fixture(autouse=True)
def _nothing_ran_yet() -> None:
    ran.clear()


def act(name: str) -> str:
    ran.append(name)
    return name


def undo(name: str) -> None:
    ran.append(f"undo {name}")


@step(retry=Retry(max_attempts=3, initial_seconds=60, jitter=0))
def undo_late(name: str) -> None:
    ran.append(f"undo {name}")
    if current_step().attempt == 1:
        raise OSError("not yet")


def does(ctx: Context, *names: str) -> list[str]:
    return [ctx.step(name, act, name) for name in names]


def deploy(code: Callable[..., Any]) -> Any:
    registry._versions.pop(NAME, None)
    return workflow(NAME, on_change="tolerate")(code)


def parked(durable: DurableKit, code: Callable[..., Any]) -> Any:
    execution = deploy(code).start()
    durable.run_until_idle()
    return execution


def original(ctx: Context) -> list[str]:
    values = does(ctx, "a", "b")
    ctx.wait_for_signal("go")
    return [*values, *does(ctx, "c")]


def go(durable: DurableKit, execution: Any, code: Callable[..., Any]) -> Any:
    """Go on with other code, after a look at what it would do."""
    deploy(code)
    assert replay(export_history(execution)).fits
    durable.signal(execution, "go")
    return client.result(execution)


def reason(durable: DurableKit, execution: Any, code: Callable[..., Any]) -> str:
    """Why the execution is set aside with other code; nothing new has run."""
    before = list(ran), list(Step.objects.order_by("position").values())
    deploy(code)
    assert not replay(export_history(execution)).fits
    durable.signal(execution, "other")
    durable.advance(timedelta(hours=1))
    assert client.get(execution).stuck_reason == "nondeterminism"
    assert (ran, list(Step.objects.order_by("position").values())) == before
    return client.inspect(execution).error


def test_an_inserted_step_runs_once_and_nothing_runs_again(durable: DurableKit) -> None:
    def inserted(ctx: Context) -> list[str]:
        values = does(ctx, "x", "a", "y", "b", "z")
        ctx.wait_for_signal("go")
        ctx.wait_for_signal("go")
        return [*values, *does(ctx, "c")]

    execution = parked(durable, original)
    deploy(inserted)
    durable.signal(execution, "go")
    assert ran == ["a", "b", "x", "y", "z"]

    assert go(durable, execution, inserted) == ["x", "a", "y", "b", "z", "c"]
    assert ran == ["a", "b", "x", "y", "z", "c"]


def test_reordered_steps_keep_their_own_outcomes(durable: DurableKit) -> None:
    def reordered(ctx: Context) -> list[str]:
        values = does(ctx, "b", "a")
        ctx.wait_for_signal("go")
        return [*values, *does(ctx, "c")]

    assert go(durable, parked(durable, original), reordered) == ["b", "a", "c"]
    assert ran == ["a", "b", "c"]


def test_a_renamed_step_is_a_new_one(durable: DurableKit) -> None:
    def renamed(ctx: Context) -> list[str]:
        values = does(ctx, "a", "bee")
        ctx.wait_for_signal("go")
        return [*values, *does(ctx, "c")]

    assert go(durable, parked(durable, original), renamed) == ["a", "bee", "c"]
    assert ran == ["a", "b", "bee", "c"]


def test_what_was_removed_is_told_at_the_end(durable: DurableKit, caplog: pytest.LogCaptureFixture) -> None:
    def removed(ctx: Context) -> list[str]:
        ctx.wait_for_signal("go")
        return does(ctx, "a", "c")

    execution = parked(durable, original)
    deploy(removed)
    with caplog.at_level(logging.WARNING, "django_durable.execution"):
        durable.signal(execution, "go")

    assert client.result(execution) == ["a", "c"]
    assert [each.getMessage() for each in caplog.records if "without asking" in each.getMessage()] == [
        f"Execution {execution.id} ended without asking for what is recorded: step 'b'."
    ]
    assert replay(export_history(execution)).value == ["a", "c"]


def test_a_name_that_changed_its_kind_parks(durable: DurableKit) -> None:
    def kind_changed(ctx: Context) -> None:
        does(ctx, "a")
        ctx.switch("b", "x", {"x": lambda ctx: ctx.step("new", act, "new")})

    text = reason(durable, parked(durable, original), kind_changed)

    assert "Position 1" in text
    assert "step 'b'" in text
    assert "switch 'b'" in text


def test_a_part_with_other_branches_parks(durable: DurableKit) -> None:
    def old(ctx: Context) -> None:
        ctx.parallel({"left": original})

    def more_branches(ctx: Context) -> None:
        ctx.parallel({"left": original, "right": lambda ctx: does(ctx, "x")})

    assert "branches ['left', 'right']" in reason(durable, parked(durable, old), more_branches)


def test_a_choice_without_the_recorded_case_parks(durable: DurableKit) -> None:
    def old(ctx: Context) -> None:
        ctx.switch("way", "left", {"left": original})

    def other_case(ctx: Context) -> None:
        ctx.switch("way", "right", {"right": lambda ctx: does(ctx, "x")})

    assert "branch 'left'" in reason(durable, parked(durable, old), other_case)


def test_steps_are_inserted_in_branches_even_in_those_that_are_over(durable: DurableKit) -> None:
    def old(ctx: Context) -> Any:
        values = ctx.parallel({"left": lambda ctx: does(ctx, "l"), "right": lambda ctx: does(ctx, "r")})
        return [values, original(ctx)]

    def new(ctx: Context) -> Any:
        values = ctx.parallel({"left": lambda ctx: does(ctx, "x", "l"), "right": lambda ctx: does(ctx, "r", "y")})
        return [values, original(ctx)]

    execution = parked(durable, old)

    assert go(durable, execution, new) == [{"left": ["x", "l"], "right": ["r", "y"]}, ["a", "b", "c"]]
    assert ran == ["l", "r", "a", "b", "x", "y", "c"]


def test_an_open_wait_keeps_its_time_out_behind_an_inserted_sleep(durable: DurableKit) -> None:
    def old(ctx: Context) -> Any:
        return ctx.wait_for_signal("go", timeout=3600, default="nobody came")

    def new(ctx: Context) -> Any:
        ctx.sleep(1800)
        return ctx.wait_for_signal("go", timeout=86400, default="nobody came")

    execution = parked(durable, old)
    deploy(new)
    durable.signal(execution, "other")
    durable.advance(timedelta(minutes=31))
    assert client.get(execution).status == "waiting"

    durable.advance(timedelta(minutes=30))
    assert client.result(execution) == "nobody came"


def test_a_repeated_name_takes_the_records_of_that_name_in_order(durable: DurableKit) -> None:
    def old(ctx: Context) -> list[str]:
        values = [ctx.step("a", act, "first"), ctx.step("a", act, "second")]
        ctx.wait_for_signal("go")
        return values

    def new(ctx: Context) -> list[str]:
        values = [ctx.step("a", act, text) for text in ("other", "first", "second")]
        ctx.wait_for_signal("go")
        return values

    assert go(durable, parked(durable, old), new) == ["first", "second", "second"]


def test_an_inserted_step_is_undone_in_the_order_of_completion(durable: DurableKit) -> None:
    def old(ctx: Context) -> None:
        for name in ("car", "hotel"):
            ctx.step(name, act, name, compensate=undo)
        ctx.wait_for_signal("go")
        raise ValueError

    def new(ctx: Context) -> None:
        for name in ("car", "train", "hotel"):
            ctx.step(name, act, name, compensate=undo)
        ctx.wait_for_signal("go")
        raise ValueError

    execution = parked(durable, old)
    deploy(new)
    durable.signal(execution, "go")

    assert client.get(execution).status == "failed"
    assert ran == ["car", "hotel", "train", "undo train", "undo hotel", "undo car"]
    assert replay(export_history(execution)).fits


@pytest.mark.parametrize("names", [("car", "hotel", "train"), ("train", "car", "hotel"), ("car",)], ids=repr)
def test_behind_the_mark_of_a_rollback_what_is_to_be_undone_must_be_the_same(
    durable: DurableKit, names: tuple[str, ...]
) -> None:
    def old(ctx: Context) -> None:
        ctx.step("car", act, "car", compensate=undo)
        ctx.step("hotel", act, "hotel", compensate=undo_late)
        raise ValueError

    def new(ctx: Context) -> None:
        for name in names:
            ctx.step(name, act, name, compensate=undo_late)
        raise ValueError

    execution = parked(durable, old)
    assert ran == ["car", "hotel", "undo hotel"]

    if names == ("car", "hotel", "train"):  # all that is recorded is asked for before what is new
        deploy(new)
        assert replay(export_history(execution)).fits
    else:
        assert "the rollback of hotel, car" in reason(durable, execution, new)
        deploy(old)
    durable.advance(timedelta(hours=1))

    assert client.get(execution).status == "failed"
    assert ran[:5] == ["car", "hotel", "undo hotel", "undo hotel", "undo car"]
    assert "train" not in ran


def test_an_open_call_that_nobody_asked_for_is_not_waited_for_in_a_rollback(durable: DurableKit) -> None:
    def old(ctx: Context) -> None:
        ctx.step("car", act, "car", compensate=undo_late)
        ctx.wait_for_signal("go")

    def without_the_wait(ctx: Context) -> None:
        ctx.step("car", act, "car", compensate=undo_late)
        raise ValueError

    execution = parked(durable, old)
    deploy(without_the_wait)
    durable.signal(execution, "other")
    assert client.get(execution).status == "compensating"

    deploy(old)
    durable.advance(timedelta(hours=1))
    assert client.get(execution).status == "failed"


def test_a_cancellation_is_delivered_once_and_cleaned_up_after(durable: DurableKit) -> None:
    def old(ctx: Context) -> None:
        try:
            original(ctx)
        finally:
            ctx.step("clean", act, "clean")
            ctx.sleep(60)

    def new(ctx: Context) -> None:
        try:
            does(ctx, "x")
            original(ctx)
        finally:
            ctx.step("clean", act, "clean")
            ctx.sleep(60)

    execution = parked(durable, old)
    client.cancel(execution)
    durable.run_until_idle()
    assert ran == ["a", "b", "clean"]

    deploy(new)
    durable.advance(timedelta(minutes=2))
    assert client.get(execution).status == "cancelled"
    assert ran == ["a", "b", "clean"]


@pytest.mark.parametrize("is_old", [True, False])
def test_a_patch_keeps_its_answer_where_order_tells_nothing(durable: DurableKit, is_old: bool) -> None:
    def new(ctx: Context) -> Any:
        values = does(ctx, "a")
        answer = ctx.patched("more")
        if not answer:
            values += does(ctx, "b")
        ctx.wait_for_signal("go")
        ctx.wait_for_signal("go")
        return [answer, *values, *does(ctx, "c")]

    execution = parked(durable, original if is_old else new)
    deploy(new)
    durable.signal(execution, "go")

    assert go(durable, execution, new) == [not is_old, "a", *(["b"] if is_old else []), "c"]
    assert Step.objects.filter(kind="patch").count() == 1


def test_another_answer_to_change_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="'park' or 'tolerate'"):
        workflow(NAME, on_change="ignore")  # type: ignore[arg-type]
