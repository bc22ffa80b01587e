"""@workflow(on_change="tolerate"): calls find their records by name; what carries order stays strict."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from django_durable import Context, client, workflow
from django_durable.definitions import registry
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Execution, Step
from django_durable.testing import DurableKit, export_history, replay
from tests.replay.acting import act, ran, undo, undo_late

NAME = "tolerant.flow"


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


def reason(durable: DurableKit, execution: Any, code: Callable[..., Any], *, is_foreseen: bool = True) -> str:
    """Why the execution is set aside with other code; nothing new has run.

    is_foreseen: a dry run, which does not know of a cancellation, finds it too.
    """
    before = list(ran), list(Step.objects.order_by("position").values())
    deploy(code)
    assert replay(export_history(execution)).fits != is_foreseen
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

    assert "signal:go" in reason(durable, execution, new)
    deploy(old)
    durable.advance(timedelta(minutes=2))
    assert client.get(execution).status == "cancelled"
    assert ran == ["a", "b", "clean"]


@pytest.mark.parametrize("is_inside", [False, True])
def test_nothing_new_comes_before_a_cancellation_that_was_told_in_a_branch(
    durable: DurableKit, is_inside: bool
) -> None:
    def flow(*inserted: str) -> Callable[[Context], None]:
        def branch(ctx: Context) -> None:
            does(ctx, *(inserted if is_inside else ()))
            ctx.step("car", act, "car", compensate=undo)
            try:
                ctx.wait_for_signal("never")
            finally:
                ctx.sleep(60)

        def flow(ctx: Context) -> None:
            does(ctx, *(() if is_inside else inserted))
            ctx.parallel({"only": branch})

        return flow

    execution = parked(durable, flow())
    client.cancel(execution)
    durable.run_until_idle()

    assert "signal:never" in reason(durable, execution, flow("x"), is_foreseen=is_inside)
    deploy(flow())
    durable.advance(timedelta(minutes=2))
    assert client.get(execution).status == "cancelled"
    assert ran == ["car", "undo car"]


def test_a_call_that_a_cancellation_was_delivered_at_must_stay(durable: DurableKit) -> None:
    def flow(*, waits: bool) -> Callable[[Context], None]:
        def flow(ctx: Context) -> None:
            try:
                if waits:
                    ctx.wait_for_signal("never")
            finally:
                ctx.sleep(60)

        return flow

    execution = parked(durable, flow(waits=True))
    client.cancel(execution)
    durable.run_until_idle()

    assert "signal:never" in reason(durable, execution, flow(waits=False))


def test_nothing_new_comes_before_the_place_where_a_loser_was_called_off(durable: DurableKit) -> None:
    def flow(*inserted: str) -> Callable[[Context], Any]:
        def loser(ctx: Context) -> None:
            does(ctx, *inserted)
            ctx.step("car", act, "car", compensate=undo)
            try:
                ctx.sleep(86400)
            finally:
                ctx.wait_for_signal("go")

        return lambda ctx: ctx.race({"loser": loser, "winner": lambda ctx: does(ctx, "w")})

    execution = parked(durable, flow())

    assert "race/loser/sleep" in reason(durable, execution, flow("x"))
    assert go(durable, execution, flow()) == ("winner", ["w"])
    assert ran == ["car", "w", "undo car"]


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


# -- children, races, tokens, and marks in branches ----------------------------------------------------


@workflow("tolerant.child")
def child(ctx: Context, name: str, seconds: float) -> str:
    ctx.sleep(seconds)
    return name


def test_a_child_that_was_started_is_not_started_again_behind_an_inserted_one(durable: DurableKit) -> None:
    def old(ctx: Context) -> Any:
        return [ctx.call("ship", child, "ship", 3600), *does(ctx, "c")]

    def new(ctx: Context) -> Any:
        pack = ctx.start_child("pack", child, "pack", 0)
        ship = ctx.start_child("ship", child, "other", 0)
        return [*does(ctx, "x"), ctx.wait_for_execution(ship), ctx.wait_for_execution(pack), *does(ctx, "c")]

    execution = parked(durable, old)
    deploy(new)
    assert replay(export_history(execution)).fits
    durable.advance(timedelta(hours=2))

    assert client.result(execution) == ["x", "ship", "pack", "c"]
    assert Execution.objects.filter(workflow="tolerant.child").count() == 2


def test_waits_for_children_are_reordered(durable: DurableKit) -> None:
    def old(ctx: Context) -> Any:
        first, second = (ctx.start_child(name, child, name, 3600) for name in ("first", "second"))
        return [ctx.wait_for_execution(first), ctx.wait_for_execution(second)]

    def new(ctx: Context) -> Any:
        second, first = (ctx.start_child(name, child, "other", 0) for name in ("second", "first"))
        return [ctx.wait_for_execution(second), ctx.wait_for_execution(first)]

    execution = parked(durable, old)
    deploy(new)
    durable.advance(timedelta(hours=2))

    assert client.result(execution) == ["second", "first"]


def test_a_child_that_was_removed_is_closed_with_its_parent(
    durable: DurableKit, caplog: pytest.LogCaptureFixture
) -> None:
    def old(ctx: Context) -> None:
        ctx.start_child("ship", child, "ship", 3600)
        ctx.wait_for_signal("go")

    def new(ctx: Context) -> None:
        ctx.wait_for_signal("go")

    execution = parked(durable, old)
    with caplog.at_level(logging.WARNING, "django_durable.execution"):
        assert go(durable, execution, new) is None
    durable.run_until_idle()

    assert Execution.objects.get(workflow="tolerant.child").status == "cancelled"
    assert "without asking for what is recorded: child 'ship'" in caplog.text


def test_a_child_that_became_a_step_parks(durable: DurableKit) -> None:
    def old(ctx: Context) -> Any:
        return ctx.call("ship", child, "ship", 86400)

    def new(ctx: Context) -> Any:
        return does(ctx, "ship", "x")

    assert "child 'ship'" in reason(durable, parked(durable, old), new)


def contest(*answer: str, before: tuple[str, ...] = (), after: tuple[str, ...] = ()) -> Callable[[Context], Any]:
    """A race of an answer with a day. before, after: steps of the day around its sleep."""

    def flow(ctx: Context) -> Any:
        def asked(ctx: Context) -> Any:
            ctx.wait_for_signal("go")
            return does(ctx, *answer)

        def day(ctx: Context) -> None:
            for name in before:
                ctx.step(name, act, name, compensate=undo)
            ctx.sleep(86400)
            does(ctx, *after)

        return ctx.race("first", {"asked": asked, "day": day})

    return flow


def test_steps_are_inserted_in_the_branches_of_a_race(durable: DurableKit) -> None:
    execution = parked(durable, contest("a", before=("d",)))
    deploy(contest("x", "a", before=("y", "d")))
    durable.signal(execution, "other")
    assert ran == ["d", "y"]

    assert go(durable, execution, contest("x", "a", before=("y", "d"))) == ("asked", ["x", "a"])
    assert ran == ["d", "y", "x", "a", "undo y", "undo d"]


def past(*answer: str, waits: bool = False) -> Callable[[Context], Any]:
    """A race that is won at once, and a wait behind it."""

    def flow(ctx: Context) -> Any:
        def asked(ctx: Context) -> Any:
            values = does(ctx, *answer)
            if waits:
                ctx.sleep(60)
            return values

        def day(ctx: Context) -> None:
            ctx.step("d", act, "d", compensate=undo)
            ctx.sleep(86400)

        won = ctx.race("first", {"day": day, "asked": asked})
        ctx.wait_for_signal("go")
        return won

    return flow


@pytest.mark.parametrize("waits", [False, True])
def test_a_race_keeps_its_winner_whatever_is_inserted_in_it(durable: DurableKit, waits: bool) -> None:
    execution = parked(durable, past("a"))
    new = past("a", "x", waits=waits)
    deploy(new)
    durable.signal(execution, "other")
    durable.advance(timedelta(minutes=2))

    assert go(durable, execution, new) == ("asked", ["a", "x"])
    assert ran == ["d", "a", "undo d", "x"]
    assert Step.objects.filter(kind="won").count() == 1


def test_a_race_before_another_of_that_name_takes_its_winner(durable: DurableKit) -> None:
    """Repeats are numbered in the order of the calls: an inserted part needs a name of its own."""

    def old(ctx: Context) -> Any:
        first = ctx.race({"a": lambda ctx: does(ctx, "a")})
        ctx.wait_for_signal("go")
        return first

    def new(ctx: Context) -> Any:
        inserted = ctx.race("other", {"b": lambda ctx: does(ctx, "b")})
        first = ctx.race({"a": lambda ctx: does(ctx, "a")})
        ctx.wait_for_signal("go")
        return [inserted, first]

    assert go(durable, parked(durable, old), new) == [("b", ["b"]), ("a", ["a"])]
    assert ran == ["a", "b"]


def test_a_token_stays_the_same_behind_an_inserted_one(durable: DurableKit) -> None:
    given: dict[str, str] = {}

    def old(ctx: Context) -> Any:
        given["go"] = ctx.signal_token("go", expires=86400)
        return ctx.wait_for_signal("go")

    def new(ctx: Context) -> Any:
        given["other"] = ctx.signal_token("other", expires=86400)
        assert ctx.signal_token("go", expires=86400) == given["go"]
        return [ctx.wait_for_signal("other"), ctx.wait_for_signal("go")]

    execution = parked(durable, old)
    deploy(new)
    client.signal_by_token(given["go"], "go", 1)
    durable.run_until_idle()
    client.signal_by_token(given["other"], "other", 2)
    durable.run_until_idle()

    assert client.result(execution) == [2, 1]


def saga_in_branches(*inserted: str, keeps: bool = True) -> Callable[[Context], Any]:
    """The left branch reserves and is undone when the right one fails."""

    def flow(ctx: Context) -> None:
        def left(ctx: Context) -> None:
            for name in (*inserted, *(("car",) if keeps else ())):
                ctx.step(name, act, name, compensate=undo_late)
            ctx.wait_for_signal("never")

        def right(ctx: Context) -> None:
            ctx.wait_for_signal("go")
            raise ValueError("full")

        ctx.parallel({"left": left, "right": right})

    return flow


def test_what_was_inserted_in_a_branch_is_undone_with_it(durable: DurableKit) -> None:
    execution = parked(durable, saga_in_branches())
    deploy(saga_in_branches("train"))
    durable.signal(execution, "go")
    durable.advance(timedelta(hours=1))

    assert client.get(execution).status == "failed"
    assert ran == ["car", "train", "undo train", "undo train", "undo car", "undo car"]


def test_a_branch_that_is_being_undone_takes_nothing_new(durable: DurableKit) -> None:
    execution = parked(durable, saga_in_branches())
    durable.signal(execution, "go")
    assert ran == ["car", "undo car"]

    assert "left/signal:never" in reason(durable, execution, saga_in_branches("train"))
    deploy(saga_in_branches())
    durable.advance(timedelta(hours=1))

    assert client.get(execution).status == "failed"
    assert ran == ["car", "undo car", "undo car"]


def test_a_rollback_of_its_own_keeps_the_compensations_that_have_run(durable: DurableKit) -> None:
    def flow(*names: str) -> Callable[[Context], Any]:
        def branch(ctx: Context) -> None:
            for name in names:
                ctx.step(name, act, name, compensate=undo)
            ctx.rollback()
            ctx.wait_for_signal("go")

        return lambda ctx: ctx.parallel({"only": branch})

    execution = parked(durable, flow("car", "hotel"))
    assert go(durable, execution, flow("car", "train", "hotel")) == {"only": None}

    assert ran == ["car", "hotel", "undo hotel", "undo car", "train", "undo train"]


def test_a_kind_that_changed_in_a_later_branch_parks_before_anything_new_in_an_earlier_one(
    durable: DurableKit,
) -> None:
    def old(ctx: Context) -> None:
        ctx.parallel({"left": original, "right": lambda ctx: does(ctx, "r")})

    def new(ctx: Context) -> None:
        def left(ctx: Context) -> None:
            does(ctx, "x")
            original(ctx)

        ctx.parallel({"left": left, "right": lambda ctx: ctx.switch("r", 1, {"1": does})})

    assert "switch 'parallel/right/r'" in reason(durable, parked(durable, old), new)


def test_another_answer_to_change_is_refused() -> None:
    with pytest.raises(InvalidOptionError, match="'park' or 'tolerate'"):
        workflow(NAME, on_change="ignore")  # type: ignore[arg-type]
