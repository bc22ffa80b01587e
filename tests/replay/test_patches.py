"""ctx.patched: old executions end the old way and new ones the new way, however often they are replayed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_durable import Cancelled, Context, client, workflow
from django_durable.definitions import registry
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Step
from django_durable.testing import DurableKit, export_history, replay
from tests.replay.acting import act, ran

NAME = "patches.flow"


def deploy(code: Callable[..., Any], **options: Any) -> Any:
    registry._versions.pop(NAME, None)
    return workflow(NAME, **options)(code)


def parked(durable: DurableKit, code: Callable[..., Any]) -> Any:
    execution = deploy(code).start()
    durable.run_until_idle()
    return execution


def go(durable: DurableKit, execution: Any) -> Any:
    durable.signal(execution, "go")
    return client.result(execution)


def recorded(execution: Any) -> list[tuple[str, str]]:
    return list(Step.objects.filter(execution=execution.id).order_by("position").values_list("kind", "name"))


def before(ctx: Context) -> list[str]:
    value = ctx.step("mail", act, "mail")
    ctx.wait_for_signal("go")
    return [value, ctx.step("last", act, "last")]


def with_patch(ctx: Context) -> list[str]:
    value = ctx.step("text", act, "text") if ctx.patched("text") else ctx.step("mail", act, "mail")
    ctx.wait_for_signal("go")
    return [value, ctx.step("last", act, "last")]


def deprecated(ctx: Context) -> list[str]:
    ctx.deprecate_patch("text")
    return removed(ctx)


def removed(ctx: Context) -> list[str]:
    value = ctx.step("text", act, "text")
    ctx.wait_for_signal("go")
    return [value, ctx.step("last", act, "last")]


MARK = ("patch", "__patch:text")


def test_an_execution_from_before_the_patch_ends_the_old_way(durable: DurableKit) -> None:
    execution = parked(durable, before)
    deploy(with_patch)

    assert replay(export_history(execution)).fits
    assert go(durable, execution) == ["mail", "last"]
    assert MARK not in recorded(execution)
    assert ran == ["mail", "last"]


def test_an_execution_that_starts_with_the_patch_ends_the_new_way(durable: DurableKit) -> None:
    execution = parked(durable, with_patch)

    assert recorded(execution)[0] == MARK
    assert replay(export_history(execution)).fits
    assert go(durable, execution) == ["text", "last"]
    assert ran == ["text", "last"]


def test_the_patch_can_be_deprecated_and_then_removed(durable: DurableKit) -> None:
    with_mark = parked(durable, with_patch)
    without = parked(durable, deprecated)

    assert replay(export_history(with_mark)).fits
    assert go(durable, with_mark) == ["text", "last"]
    assert MARK not in recorded(without)

    deploy(removed)
    assert go(durable, without) == ["text", "last"]


def test_a_deprecated_patch_does_not_take_executions_from_before_it(durable: DurableKit) -> None:
    execution = parked(durable, before)
    deploy(deprecated)
    durable.signal(execution, "go")

    assert client.get(execution).stuck_reason == "nondeterminism"
    assert ran == ["mail"]


def test_a_point_that_no_execution_has_passed_is_the_new_way(durable: DurableKit) -> None:
    def later(ctx: Context) -> list[str]:
        value = ctx.step("mail", act, "mail")
        ctx.wait_for_signal("go")
        return [value, "new" if ctx.patched("end") else "old", ctx.step("last", act, "last")]

    execution = parked(durable, before)
    deploy(later)

    assert go(durable, execution) == ["mail", "new", "last"]


def test_a_patch_at_the_very_end_is_recorded_with_the_end(durable: DurableKit) -> None:
    def last(ctx: Context) -> bool:
        return ctx.patched("end")

    execution = parked(durable, last)

    assert client.result(execution) is True
    assert recorded(execution) == [("patch", "__patch:end")]
    assert replay(export_history(execution)).value is True


@pytest.mark.parametrize("is_old", [True, False])
def test_a_loop_asks_once(durable: DurableKit, is_old: bool) -> None:
    def loop(ctx: Context) -> list[bool]:
        answers = []
        for name in ("a", "b", "c"):
            answers.append(ctx.patched("loop"))
            ctx.step(name, act, name)
            ctx.wait_for_signal("go")
        return answers

    def without(ctx: Context) -> None:
        ctx.step("a", act, "a")
        ctx.wait_for_signal("go")

    execution = parked(durable, without if is_old else loop)
    deploy(loop)
    for _ in range(3):
        durable.signal(execution, "go")

    assert client.result(execution) == [not is_old] * 3
    assert sum(kind == "patch" for kind, _ in recorded(execution)) == (not is_old)


def test_two_patches_are_told_apart(durable: DurableKit) -> None:
    def one(ctx: Context) -> Any:
        answers = [ctx.patched("one")]
        ctx.wait_for_signal("go")
        return answers

    def two(ctx: Context) -> Any:
        answers = [ctx.patched("one"), ctx.patched("two")]
        ctx.wait_for_signal("go")
        return [*answers, ctx.patched("three")]

    execution = parked(durable, one)
    deploy(two)

    assert go(durable, execution) == [True, False, True]


def test_each_branch_answers_for_itself_unless_it_was_asked_outside(durable: DurableKit) -> None:
    def old(ctx: Context) -> None:
        ctx.parallel({"left": _step_and_wait, "right": lambda ctx: ctx.wait_for_signal("never", timeout=1)})

    def new(ctx: Context) -> Any:
        outside = ctx.patched("outside")

        def left(ctx: Context) -> Any:
            inside = ctx.patched("inside")
            _step_and_wait(ctx)
            return [ctx.patched("outside"), inside, ctx.patched("later")]

        def right(ctx: Context) -> Any:
            ctx.wait_for_signal("never", timeout=1)
            return [ctx.patched("outside"), ctx.patched("inside")]

        return [outside, ctx.parallel({"left": left, "right": right})]

    execution = parked(durable, old)
    deploy(new)
    durable.advance(timedelta(seconds=2))

    assert go(durable, execution) == [False, {"left": [False, False, True], "right": [False, True]}]
    execution = parked(durable, new)
    durable.advance(timedelta(seconds=2))
    assert go(durable, execution) == [True, {"left": [True] * 3, "right": [True] * 2}]


def _step_and_wait(ctx: Context) -> None:
    ctx.step("a", act, "a")
    ctx.wait_for_signal("go")


def test_a_branch_that_is_over_stays_on_the_old_way(durable: DurableKit) -> None:
    def old(ctx: Context) -> None:
        ctx.parallel({"left": lambda ctx: ctx.step("a", act, "a")})
        ctx.wait_for_signal("go")

    def new(ctx: Context) -> Any:
        def left(ctx: Context) -> bool:
            ctx.step("a", act, "a")
            return ctx.patched("more") and bool(ctx.step("more", act, "more"))

        values = ctx.parallel({"left": left})
        ctx.wait_for_signal("go")
        return values

    execution = parked(durable, old)
    deploy(new)

    assert go(durable, execution) == {"left": False}
    assert ran == ["a"]


def test_the_old_way_is_undone_as_it_was_recorded(durable: DurableKit) -> None:
    def undo(name: str) -> None:
        ran.append(f"undo {name}")

    def old(ctx: Context) -> None:
        ctx.step("car", act, "car", compensate=undo)
        ctx.wait_for_signal("go")
        raise ValueError

    def new(ctx: Context) -> None:
        ctx.step("car", act, "car", compensate=undo)
        if ctx.patched("hotel"):
            ctx.step("hotel", act, "hotel", compensate=undo)
        ctx.wait_for_signal("go")
        raise ValueError

    execution = parked(durable, old)
    deploy(new)
    durable.signal(execution, "go")
    assert client.get(execution).status == "failed"
    assert ran == ["car", "undo car"]

    ran.clear()
    execution = parked(durable, new)
    durable.signal(execution, "go")
    assert ran == ["car", "hotel", "undo hotel", "undo car"]


def test_a_cancellation_is_delivered_at_the_next_call_and_never_by_the_question(durable: DurableKit) -> None:
    def flow(ctx: Context) -> str:
        ctx.step("cancel", client.cancel, ctx.execution_id)
        answer = ctx.patched("new")
        try:
            ctx.step("mail", act, "mail")
        except Cancelled:
            return f"cancelled after {answer}"
        return "not cancelled"

    execution = parked(durable, flow)

    assert recorded(execution)[1:] == [("patch", "__patch:new"), ("step", "mail")]
    assert ran == []
    assert client.inspect(execution).result == "cancelled after True"


@pytest.mark.parametrize("call", ["patched", "deprecate_patch"])
def test_a_bad_id_is_refused_at_the_call(durable: DurableKit, call: str) -> None:
    def flow(ctx: Context) -> str:
        with pytest.raises(InvalidOptionError, match="Patch id"):
            getattr(ctx, call)("not a name")
        return "refused"

    assert durable.run(deploy(flow).start()) == "refused"


def test_it_cannot_be_asked_inside_a_step(durable: DurableKit) -> None:
    def flow(ctx: Context) -> Any:
        ctx.patched("known")
        return ctx.step("body", lambda: ctx.patched("known"))

    execution = deploy(flow).start()
    durable.run_until_idle()

    assert "inside the body" in client.inspect(execution).error
