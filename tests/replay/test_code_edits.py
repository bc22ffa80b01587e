"""Edits of workflow code under parked executions: those that do not fit run nothing and are cured by the old code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from django_durable import Case, Context, Retry, client, current_step, step, workflow
from django_durable.definitions import registry
from django_durable.models import Execution, Step
from django_durable.testing import DurableKit, export_history, replay
from tests.replay.acting import act, ran, undo, undo_late

NAME = "edits.flow"
Code = Callable[..., Any]


@step(retry=Retry(max_attempts=3, initial_seconds=60, jitter=0))
def act_late(name: str) -> str:
    ran.append(name)
    if current_step().attempt == 1:
        raise OSError("not yet")
    return name


def does(*names: str) -> Callable[[Context], list[str]]:
    """A branch of plain steps."""
    return lambda ctx: [ctx.step(name, act, name) for name in names]


def waits(*names: str) -> Callable[[Context], list[str]]:
    """A branch that waits between its steps: the first before, the others after it."""

    def branch(ctx: Context) -> list[str]:
        before = ctx.step(names[0], act, names[0])
        ctx.wait_for_signal("go")
        return [before, *(ctx.step(name, act, name) for name in names[1:])]

    return branch


# -- the old code, each parked somewhere -----------------------------------------------------------


def line(ctx: Context) -> list[str]:
    values = does("a", "b")(ctx)
    ctx.wait_for_signal("go")
    return [*values, ctx.step("c", act, "c")]


def sleeper(ctx: Context) -> str:
    ctx.note("began")
    ctx.now()
    ctx.sleep(3600)
    return ctx.step("c", act, "c")


def late(ctx: Context) -> list[str]:
    return [ctx.step("a", act, "a"), ctx.step("late", act_late, "late"), ctx.step("c", act, "c")]


def parts(ctx: Context) -> Any:
    """Parked inside a branch; the one beside it has ended."""
    values = ctx.parallel("both", {"left": waits("l1", "l2"), "right": does("r1", "r2")})
    return [values, ctx.step("c", act, "c")]


def past_parts(ctx: Context) -> Any:
    values = ctx.parallel("both", {"left": does("l1"), "right": does("r1", "r2")})
    return [values, waits("a", "c")(ctx)]


def items(ctx: Context, names: tuple[str, ...] = ("x", "y")) -> Any:
    return ctx.map(lambda ctx, name: waits(name, f"{name}2")(ctx), names)


def choice(ctx: Context) -> Any:
    return ctx.switch("way", "left", {"left": waits("l1", "l2"), "right": does("r1")})


def past_choice(ctx: Context) -> Any:
    return [ctx.switch("way", "left", {"left": does("l1"), "right": does("r1")}), waits("a", "c")(ctx)]


def reserve(ctx: Context, *names: str, with_: Code = undo) -> None:
    for name in names:
        ctx.step(name, act, name, compensate=with_)


def saga(ctx: Context) -> None:
    """Parked in the rollback: the hotel is undone in the second attempt, the car after it."""
    reserve(ctx, "car")
    reserve(ctx, "hotel", with_=undo_late)
    raise ValueError("full")


def saga_of_branches(ctx: Context) -> None:
    ctx.parallel({"left": lambda ctx: reserve(ctx, "car")})
    reserve(ctx, "hotel", with_=undo_late)
    raise ValueError("full")


def rolled_back(ctx: Context) -> list[str]:
    """Parked behind a rollback of its own."""
    reserve(ctx, "car", "hotel")
    ctx.rollback()
    return waits("a", "c")(ctx)


def token(ctx: Context) -> str:
    ctx.signal_token("go", expires=86400)
    ctx.wait_for_signal("go")
    return ctx.step("c", act, "c")


def patched(ctx: Context) -> list[str]:
    values = does("new")(ctx) if ctx.patched("faster") else does("old")(ctx)
    ctx.wait_for_signal("go")
    return [*values, ctx.step("c", act, "c")]


@workflow("edits.child")
def child(ctx: Context) -> str:
    ctx.sleep(60)
    return "child"


def family(ctx: Context) -> list[str]:
    """Parked for a child, which ends after a minute."""
    started = ctx.start_child("ship", child)
    return [ctx.wait_for_execution(started), ctx.step("c", act, "c")]


def families(ctx: Context) -> Any:
    """Parked for two children in two branches, and for a signal in a third."""
    return ctx.parallel("both", {"first": family, "second": family, "third": waits("t1")})


def past_family(ctx: Context) -> list[str]:
    return [ctx.step("a", act, "a"), ctx.call("ship", child), *waits("b", "c")(ctx)]


def slow(*names: str) -> Callable[[Context], list[str]]:
    """A branch that sleeps for a day between its steps."""

    def branch(ctx: Context) -> list[str]:
        before = ctx.step(names[0], act, names[0], compensate=undo)
        ctx.sleep(86400)
        return [before, *does(*names[1:])(ctx)]

    return branch


def contest(ctx: Context) -> Any:
    """Parked in a race that nobody has won."""
    return [ctx.race("first", {"answer": waits("a1", "a2"), "time": slow("t1", "t2")}), ctx.step("c", act, "c")]


def past_contest(ctx: Context) -> Any:
    """Parked behind a race: what its loser did has been undone."""
    won = ctx.race("first", {"time": slow("t1", "t2"), "answer": does("a1", "a2")})
    return [won, waits("b", "c")(ctx)]


def tidies(*after: str) -> Callable[[Context], list[str]]:
    """A branch whose clean-up waits."""

    def branch(ctx: Context) -> list[str]:
        try:
            ctx.sleep(86400)
        finally:
            waits("tidy", *after)(ctx)
        return []

    return branch


def losing(ctx: Context) -> Any:
    """Parked in a race that is won: the loser's clean-up waits."""
    return ctx.race("first", {"loser": tidies("tidied"), "winner": does("w1")})


def nested(ctx: Context) -> Any:
    """Parked in parts inside of branches."""

    def left(ctx: Context) -> Any:
        return ctx.parallel("inner", {"one": waits("o1", "o2"), "two": does("i1")})

    def right(ctx: Context) -> Any:
        return ctx.switch("way", "here", {"here": waits("h1", "h2"), "there": does("x")})

    return ctx.parallel("both", {"left": left, "right": right})


# -- edits that do not fit -------------------------------------------------------------------------


@dataclass(frozen=True)
class Edit:
    """old: the code that an execution was parked by; new: the code that finds it. says: what the reason must name."""

    name: str
    old: Code
    new: Code
    says: tuple[str, ...]


EDITS: list[Edit] = []


def edit(old: Code, *says: str) -> Callable[[Code], Code]:
    """says: position, expected and found."""

    def add(new: Code) -> Code:
        EDITS.append(Edit(f"{old.__name__}: {new.__name__}", old, new, says))
        return new

    return add


@edit(line, "Position 0", "step 'a'", "step 'x'")
def step_inserted_at_the_start(ctx: Context) -> None:
    does("x", "a", "b")(ctx)
    ctx.wait_for_signal("go")


@edit(line, "Position 1", "step 'b'", "step 'x'")
def step_inserted_between(ctx: Context) -> None:
    does("a", "x", "b")(ctx)
    ctx.wait_for_signal("go")


@edit(line, "Position 2", "wait 'signal:go'", "step 'x'")
def step_inserted_before_the_open_wait(ctx: Context) -> None:
    does("a", "b", "x")(ctx)
    ctx.wait_for_signal("go")


@edit(line, "Position 0", "step 'a'", "step 'b'")
def first_step_deleted(ctx: Context) -> None:
    does("b")(ctx)
    ctx.wait_for_signal("go")


@edit(line, "Position 2", "wait 'signal:go'", "step 'c'")
def open_wait_deleted(ctx: Context) -> None:
    does("a", "b", "c")(ctx)


@edit(line, "Position 1", "step 'b'", "step 'bee'")
def step_renamed(ctx: Context) -> None:
    does("a", "bee")(ctx)
    ctx.wait_for_signal("go")


@edit(line, "Position 0", "step 'a'", "step 'b'")
def steps_reordered(ctx: Context) -> None:
    does("b", "a")(ctx)
    ctx.wait_for_signal("go")


@edit(line, "Position 1", "step 'b'", "step 'a#2'")
def step_repeated(ctx: Context) -> None:
    does("a", "a", "b")(ctx)
    ctx.wait_for_signal("go")


@edit(line, "Position 2", "wait 'signal:go'", "sleep 'sleep'")
def wait_turned_into_a_sleep(ctx: Context) -> None:
    does("a", "b")(ctx)
    ctx.sleep(1)


@edit(line, "Position 2", "wait 'signal:go'", "wait 'signal:went'")
def signal_renamed(ctx: Context) -> None:
    does("a", "b")(ctx)
    ctx.wait_for_signal("went")


@edit(line, "Position 1", "step 'b'", "parallel 'parallel'")
def steps_moved_into_branches(ctx: Context) -> None:
    does("a")(ctx)
    ctx.parallel({"b": does("b"), "c": does("c")})


@edit(line, "Position 2", "wait 'signal:go'", "the end of the function")
def returned_too_early(ctx: Context) -> list[str]:
    return does("a", "b")(ctx)


@edit(line, "Position 2", "wait 'signal:go'", "RuntimeError('no')")
def failed_too_early(ctx: Context) -> None:
    does("a", "b")(ctx)
    raise RuntimeError("no")


@edit(line, "Position 2", "wait 'signal:go'", "compensation 'rollback:b'")
def rollback_inserted(ctx: Context) -> None:
    reserve(ctx, "a", "b")
    ctx.rollback()


@edit(sleeper, "Position 0", "note 'note'", "now 'now'")
def note_deleted(ctx: Context) -> None:
    ctx.now()
    ctx.sleep(3600)


@edit(sleeper, "Position 2", "sleep 'sleep'", "sleep 'sleep_until'")
def sleep_changed_into_sleep_until(ctx: Context) -> None:
    ctx.note("began")
    ctx.sleep_until(ctx.now() + timedelta(hours=1))


@edit(late, "Position 1", "step 'late'", "step 'c'")
def retried_step_deleted(ctx: Context) -> None:
    does("a", "c")(ctx)


@edit(token, "Position 0", "token", "wait 'signal:go'")
def token_deleted(ctx: Context) -> None:
    ctx.wait_for_signal("go")


@edit(parts, "Position 0", "branches ['left', 'right']", "branches ['left']")
def branch_deleted(ctx: Context) -> None:
    ctx.parallel("both", {"left": waits("l1", "l2")})


@edit(parts, "Position 0", "branches ['left', 'right']", "branches ['left', 'right', 'third']")
def branch_added(ctx: Context) -> None:
    ctx.parallel("both", {"left": waits("l1", "l2"), "right": does("r1", "r2"), "third": does("x")})


@edit(parts, "Position 0", "branches ['left', 'right']", "branches ['right', 'left']")
def branches_reordered(ctx: Context) -> None:
    ctx.parallel("both", {"right": does("r1", "r2"), "left": waits("l1", "l2")})


@edit(parts, "Position 0", "parallel 'both'", "parallel 'all'")
def part_renamed(ctx: Context) -> None:
    ctx.parallel("all", {"left": waits("l1", "l2"), "right": does("r1", "r2")})


@edit(parts, "step 'both/right/r1'", "step 'both/right/x'")
def step_inserted_in_a_branch(ctx: Context) -> None:
    ctx.parallel("both", {"left": waits("l1", "l2"), "right": does("x", "r1", "r2")})


@edit(parts, "step 'both/right/r2'", "the end of the function")
def step_deleted_from_a_branch(ctx: Context) -> None:
    ctx.parallel("both", {"left": waits("l1", "l2"), "right": does("r1")})


@edit(parts, "wait 'both/left/signal:go'", "step 'both/left/l2'")
def wait_deleted_from_a_branch(ctx: Context) -> None:
    ctx.parallel("both", {"left": does("l1", "l2"), "right": does("r1", "r2")})


@edit(past_parts, "Position 4", "step 'a'", "step 'both/right/x'")
def step_appended_to_a_branch_that_is_over(ctx: Context) -> None:
    ctx.parallel("both", {"left": does("l1"), "right": does("r1", "r2", "x")})
    waits("a", "c")(ctx)


@edit(past_parts, "Position 0", "parallel 'both'", "switch 'both'")
def part_turned_into_a_choice(ctx: Context) -> None:
    ctx.switch("both", "left", {"left": does("l1"), "right": does("r1", "r2")})


@edit(items, "Position 0", "branches ['0', '1']", "branches ['0', '1', '2']")
def item_added(ctx: Context) -> None:
    items(ctx, ("x", "y", "z"))


@edit(items, "step 'map/0/x'", "step 'map/0/y'")
def items_reordered(ctx: Context) -> None:
    items(ctx, ("y", "x"))


@edit(items, "step 'map/1/y'", "step 'map/1/z'")
def item_changed(ctx: Context) -> None:
    items(ctx, ("x", "z"))


@edit(choice, "Position 0", "branch 'left'", "'right' only")
def chosen_case_deleted(ctx: Context) -> None:
    ctx.switch("way", "right", {"right": does("r1")})


@edit(choice, "Position 0", "branch 'left'", "'links', 'right' only")
def chosen_case_renamed(ctx: Context) -> None:
    ctx.switch("way", "links", {"links": waits("l1", "l2"), "right": does("r1")})


@edit(choice, "step 'way/left/l1'", "step 'way/left/x'")
def step_inserted_in_the_chosen_case(ctx: Context) -> None:
    ctx.switch("way", "left", {"left": waits("x", "l1", "l2"), "right": does("r1")})


@edit(past_choice, "Position 2", "step 'a'", "step 'way/left/x'")
def step_appended_to_a_case_that_is_over(ctx: Context) -> None:
    ctx.switch("way", "left", {"left": does("l1", "x"), "right": does("r1")})
    waits("a", "c")(ctx)


@edit(saga, "Position 2", "the rollback of hotel, car", "the rollback of hotel")
def compensation_deleted(ctx: Context) -> None:
    does("car")(ctx)
    reserve(ctx, "hotel", with_=undo_late)
    raise ValueError("full")


@edit(saga, "Position 1", "step 'hotel'", "step 'flight'")
def compensated_step_renamed(ctx: Context) -> None:
    reserve(ctx, "car", "flight")


@edit(saga, "Position 2", "the rollback of hotel, car", "the rollback of car")
def compensation_added_to_the_wrong_step(ctx: Context) -> None:
    reserve(ctx, "car")
    does("hotel")(ctx)


@edit(saga_of_branches, "Position 3", "the rollback of hotel, parallel/left/car", "the rollback of hotel")
def compensation_deleted_from_a_branch(ctx: Context) -> None:
    ctx.parallel({"left": does("car")})
    reserve(ctx, "hotel", with_=undo_late)
    raise ValueError("full")


@edit(rolled_back, "Position 2", "compensation 'rollback:hotel'", "compensation 'rollback:car'")
def compensation_deleted_that_has_run(ctx: Context) -> None:
    reserve(ctx, "car")
    does("hotel")(ctx)
    ctx.rollback()


@edit(rolled_back, "Position 2", "compensation 'rollback:hotel'", "step 'a'")
def rollback_deleted(ctx: Context) -> None:
    reserve(ctx, "car", "hotel")
    waits("a", "c")(ctx)


@edit(patched, "Position 0", "patch '__patch:faster'", "step 'new'")
def patch_deleted_too_early(ctx: Context) -> None:
    does("new")(ctx)
    ctx.wait_for_signal("go")


@edit(line, "version 1", "missing a required argument: 'number'")
def parameter_added_without_a_default(ctx: Context, number: int) -> None:
    line(ctx)


# -- children --------------------------------------------------------------------------------------


@edit(family, "Position 0", "child 'ship'", "step 'c'")
def child_deleted(ctx: Context) -> None:
    ctx.step("c", act, "c")


@edit(family, "Position 0", "child 'ship'", "child 'send'")
def child_renamed(ctx: Context) -> None:
    ctx.call("send", child)


@edit(family, "Position 0", "child 'ship'", "step 'ship'")
def child_turned_into_a_step(ctx: Context) -> None:
    does("ship", "c")(ctx)


@edit(family, "Position 0", "child 'ship'", "child 'pack'")
def child_inserted_before_another(ctx: Context) -> None:
    ctx.start_child("pack", child)
    family(ctx)


@edit(family, "Position 1", "join 'join:ship'", "step 'c'")
def wait_for_a_child_deleted(ctx: Context) -> None:
    ctx.start_child("ship", child)
    ctx.step("c", act, "c")


@edit(family, "Position 1", "join 'join:ship'", "step 'x'")
def step_inserted_before_the_wait_for_a_child(ctx: Context) -> None:
    started = ctx.start_child("ship", child)
    does("x")(ctx)
    ctx.wait_for_execution(started)


@edit(past_family, "Position 1", "child 'ship'", "step 'b'")
def child_that_has_ended_deleted(ctx: Context) -> None:
    does("a")(ctx)
    waits("b", "c")(ctx)


@edit(families, "child 'both/second/ship'", "step 'both/second/x'")
def step_inserted_before_a_child_in_a_later_branch(ctx: Context) -> None:
    def second(ctx: Context) -> None:
        does("x")(ctx)
        family(ctx)

    ctx.parallel("both", {"first": family, "second": second, "third": waits("t1")})


@edit(families, "wait 'both/third/signal:go'", "the end of the function")
def wait_deleted_in_a_branch_behind_children(ctx: Context) -> None:
    ctx.parallel("both", {"first": family, "second": family, "third": does("t1")})


# -- races -----------------------------------------------------------------------------------------


@edit(contest, "Position 0", "race 'first'", "parallel 'first'")
def race_turned_into_a_parallel_part(ctx: Context) -> None:
    ctx.parallel("first", {"answer": waits("a1", "a2"), "time": slow("t1", "t2")})


@edit(contest, "Position 0", "race 'first'", "step 'a1'")
def race_deleted(ctx: Context) -> None:
    waits("a1", "a2")(ctx)


@edit(contest, "Position 0", "branches ['answer', 'time']", "branches ['answer', 'cancelled', 'time']")
def competitor_added(ctx: Context) -> None:
    ctx.race("first", {"answer": waits("a1", "a2"), "cancelled": waits("x"), "time": slow("t1", "t2")})


@edit(contest, "Position 0", "branches ['answer', 'time']", "branches ['answer', 'timer']")
def competitor_renamed(ctx: Context) -> None:
    ctx.race("first", {"answer": waits("a1", "a2"), "timer": slow("t1", "t2")})


@edit(contest, "step 'first/time/t1'", "step 'first/time/x'")
def step_inserted_in_a_later_competitor(ctx: Context) -> None:
    ctx.race("first", {"answer": waits("a1", "a2"), "time": slow("x", "t1")})


@edit(contest, "sleep 'first/time/sleep'", "wait 'first/time/signal:go'")
def sleep_of_a_later_competitor_turned_into_a_wait(ctx: Context) -> None:
    ctx.race("first", {"answer": waits("a1", "a2"), "time": waits("t1", "t2")})


@edit(past_contest, "won 'first:won'", "step 'first/answer/x'")
def step_appended_to_the_winner(ctx: Context) -> None:
    ctx.race("first", {"time": slow("t1", "t2"), "answer": does("a1", "a2", "x")})
    waits("b", "c")(ctx)


@edit(past_contest, "step 'first/answer/a2'", "the end of the function")
def step_of_the_winner_deleted(ctx: Context) -> None:
    ctx.race("first", {"time": slow("t1", "t2"), "answer": does("a1")})
    waits("b", "c")(ctx)


@edit(past_contest, "step 'first/time/t1'", "step 'first/time/x'")
def step_inserted_in_a_loser(ctx: Context) -> None:
    ctx.race("first", {"time": slow("x", "t1", "t2"), "answer": does("a1", "a2")})
    waits("b", "c")(ctx)


@edit(past_contest, "compensation 'rollback:first>time>t1'", "step 'b'")
def compensation_of_a_loser_deleted(ctx: Context) -> None:
    def time(ctx: Context) -> None:
        does("t1")(ctx)
        ctx.sleep(86400)

    ctx.race("first", {"time": time, "answer": does("a1", "a2")})
    waits("b", "c")(ctx)


@edit(losing, "won 'first:won'", "step 'first/winner/w2'")
def step_appended_to_the_winner_while_the_loser_tidies(ctx: Context) -> None:
    ctx.race("first", {"loser": tidies("tidied"), "winner": does("w1", "w2")})


@edit(losing, "wait 'first/loser/signal:go'", "step 'first/loser/tidied'")
def wait_deleted_from_the_losers_clean_up(ctx: Context) -> None:
    def loser(ctx: Context) -> None:
        try:
            ctx.sleep(86400)
        finally:
            does("tidy", "tidied")(ctx)

    ctx.race("first", {"loser": loser, "winner": does("w1")})


# -- parts inside of branches ----------------------------------------------------------------------


def changed_inside(*, two: Code | None = None, cases: dict[str, Code] | None = None) -> Code:
    """The code of ``nested`` with another inner branch, or with other cases."""

    def left(ctx: Context) -> Any:
        return ctx.parallel("inner", {"one": waits("o1", "o2"), "two": two or does("i1")})

    def right(ctx: Context) -> Any:
        return ctx.switch("way", next(iter(cases or {}), "here"), cases or {"here": waits("h1", "h2")})

    return lambda ctx: ctx.parallel("both", {"left": left, "right": right})


@edit(nested, "step 'both/left/inner/two/i1'", "step 'both/left/inner/two/x'")
def step_inserted_in_an_inner_branch(ctx: Context) -> None:
    changed_inside(two=does("x", "i1"))(ctx)


@edit(nested, "switch 'both/right/way'", "branch 'here'", "'hier' only")
def chosen_case_renamed_in_a_later_branch(ctx: Context) -> None:
    changed_inside(cases={"hier": waits("h1", "h2")})(ctx)


@edit(nested, "wait 'both/right/way/here/signal:go'", "step 'both/right/way/here/h2'")
def wait_deleted_from_the_chosen_case_in_a_later_branch(ctx: Context) -> None:
    changed_inside(cases={"here": does("h1", "h2")})(ctx)


@edit(saga_of_branches, "Position 1", "step 'parallel/left/car'", "step 'parallel/left/x'")
def step_inserted_in_a_branch_that_is_rolled_back(ctx: Context) -> None:
    ctx.parallel({"left": lambda ctx: reserve(ctx, "x", "car")})


@edit(token, "Position 0", "token 'token:go'", "token 'token:went'")
def token_for_another_signal(ctx: Context) -> None:
    ctx.signal_token("went", expires=86400)
    ctx.wait_for_signal("go")


def deploy(code: Code, *, version: int = 1, name: str = NAME) -> Any:
    """Make this the only code of the workflow."""
    registry._versions.pop(NAME, None)
    return workflow(name, version=version)(code)


def park(durable: DurableKit, code: Code) -> Any:
    execution = deploy(code).start()
    durable.run_until_idle()
    assert not client.get(execution).is_closed
    return execution


def go_on(durable: DurableKit, execution: Any) -> None:
    """Give it all that it can wait for, and time to look at it."""
    for _ in range(2):
        if not client.get(execution).is_closed:
            durable.signal(execution, "go")
    durable.advance(timedelta(hours=1))


def end_of(durable: DurableKit, execution: Any) -> tuple[Any, ...]:
    """How it has ended, and what ran for it."""
    row = client.inspect(execution)
    return row.status, row.result, row.error.partition("\n")[0], tuple(ran)


def undisturbed(durable: DurableKit, code: Code) -> tuple[Any, ...]:
    execution = park(durable, code)
    go_on(durable, execution)
    end = end_of(durable, execution)
    ran.clear()
    return end


@pytest.mark.parametrize("change", EDITS, ids=lambda change: change.name)
def test_an_edit_that_does_not_fit_parks_with_a_reason_and_is_cured_by_the_old_code(
    durable: DurableKit, change: Edit
) -> None:
    expected = undisturbed(durable, change.old)
    execution = park(durable, change.old)
    ran_before = list(ran)
    history_before = list(Step.objects.filter(execution=execution.id).order_by("position").values())

    deploy(change.new)
    foreseen = replay(export_history(execution)).mismatch
    go_on(durable, execution)

    row = Execution.objects.get(pk=execution.id)
    assert (row.status, row.stuck_reason) == ("stuck", "nondeterminism")
    for reason in (client.inspect(execution).error, str(foreseen)):
        assert [text for text in change.says if text not in reason] == [], reason
    assert ran == ran_before
    assert list(Step.objects.filter(execution=execution.id).order_by("position").values()) == history_before

    deploy(change.old)
    durable.advance(timedelta(minutes=10))
    assert end_of(durable, execution) == expected


def test_there_are_edits_enough() -> None:
    assert len(EDITS) >= 30


def test_an_execution_that_was_stuck_can_fail_and_be_undone_in_its_next_pass(durable: DurableKit) -> None:
    def old(ctx: Context) -> None:
        reserve(ctx, "car")
        ctx.wait_for_signal("go")
        raise ValueError("full")

    execution = park(durable, old)
    deploy(step_renamed)
    durable.signal(execution, "go")
    assert client.get(execution).stuck_reason == "nondeterminism"

    deploy(old)
    durable.advance(timedelta(minutes=10))

    assert client.get(execution).status == "failed"
    assert ran == ["car", "undo car"]


# -- code that is gone -----------------------------------------------------------------------------


def _gone() -> None:
    registry._versions.pop(NAME, None)


def _renamed() -> None:
    _gone()
    workflow("edits.renamed")(line)


def _only_a_newer_version() -> None:
    deploy(step_renamed, version=2)


@pytest.mark.parametrize("remove", [_gone, _renamed, _only_a_newer_version], ids=lambda remove: remove.__name__)
def test_an_execution_whose_code_is_gone_waits_for_it(durable: DurableKit, remove: Callable[[], None]) -> None:
    expected = undisturbed(durable, line)
    execution = park(durable, line)
    ran_before = list(ran)

    remove()
    go_on(durable, execution)

    row = Execution.objects.get(pk=execution.id)
    assert (row.status, row.stuck_reason) == ("stuck", "no_worker_for")
    assert client.inspect(execution).waiting_for == f"a worker with {NAME} version 1"
    assert ran == ran_before

    deploy(line)
    durable.advance(timedelta(minutes=10))
    assert end_of(durable, execution) == expected


def test_versions_side_by_side_each_replay_their_own_executions(durable: DurableKit) -> None:
    old = park(durable, line)
    newer = workflow(NAME, version=2)(late)
    new = newer.start()

    go_on(durable, old)
    go_on(durable, new)

    assert (client.result(old), client.result(new)) == (["a", "b", "c"], ["a", "late", "c"])


def test_an_execution_that_has_not_begun_does_not_fail_of_a_changed_signature(durable: DurableKit) -> None:
    execution = deploy(line).using(delay=60).start()
    deploy(parameter_added_without_a_default)
    durable.advance(timedelta(hours=1))

    row = Execution.objects.get(pk=execution.id)
    assert (row.status, row.stuck_reason) == ("stuck", "nondeterminism")

    deploy(line)
    durable.advance(timedelta(hours=1))
    go_on(durable, execution)
    assert client.result(execution) == ["a", "b", "c"]


# -- edits that fit --------------------------------------------------------------------------------

FITTING: list[tuple[Code, Code, Any]] = []


def fits(old: Code, result: Any) -> Callable[[Code], Code]:
    def add(new: Code) -> Code:
        FITTING.append((old, new, result))
        return new

    return add


@fits(line, ["a", "b", "other"])
def body_changed_of_a_step_to_come(ctx: Context) -> list[str]:
    values = does("a", "b")(ctx)
    ctx.wait_for_signal("go")
    return [*values, ctx.step("c", act, "other")]


@fits(line, ["a", "b", "c"])
def body_changed_of_a_step_that_has_run(ctx: Context) -> list[str]:
    values = [ctx.step("a", act, "other"), ctx.step("b", undo, "other")]
    ctx.wait_for_signal("go")
    return [*values, ctx.step("c", act, "c")]


@fits(line, ["a", "b", "c", "x"])
def step_appended(ctx: Context) -> list[str]:
    return [*line(ctx), *does("x")(ctx)]


@fits(line, ["a", "b", "c"])
def wait_given_a_time_out(ctx: Context) -> list[str]:
    values = does("a", "b")(ctx)
    ctx.wait_for_signal("go", timeout=1)
    return [*values, ctx.step("c", act, "c")]


@fits(line, ["a", "b", "c"])
def parameter_added_with_a_default(ctx: Context, number: int = 1) -> list[str]:
    return line(ctx)


@fits(late, ["a", "late", "c"])
def retry_policy_changed(ctx: Context) -> list[str]:
    quick = step(retry=Retry(max_attempts=9, initial_seconds=1, jitter=0), timeout=5)(act_late.fn)
    return [ctx.step("a", act, "a"), ctx.step("late", quick, "late"), ctx.step("c", act, "c")]


@fits(sleeper, "c")
def sleep_made_longer(ctx: Context) -> str:
    ctx.note("began")
    ctx.now()
    ctx.sleep(864000)
    return ctx.step("c", act, "c")


@fits(choice, ["l1", "l2"])
def matcher_changed(ctx: Context) -> Any:
    ways = [Case("right", bool, does("r1")), Case("left", bool, waits("l1", "l2"))]
    return ctx.switch("way", "left", ways)


@fits(choice, ["l1", "l2"])
def other_case_added_and_edited(ctx: Context) -> Any:
    return ctx.switch("way", "left", {"left": waits("l1", "l2"), "right": does("x"), "third": does("y")})


@fits(family, ["child", "c"])
def started_child_is_of_another_workflow(ctx: Context) -> list[str]:
    return [ctx.wait_for_execution(ctx.start_child("ship", elder)), ctx.step("c", act, "c")]


@workflow("edits.elder")
def elder(ctx: Context) -> str:
    return "elder"


@fits(contest, [("answer", ["a1", "a2", "x"]), "c"])
def step_appended_to_a_competitor_that_waits(ctx: Context) -> Any:
    won = ctx.race("first", {"answer": waits("a1", "a2", "x"), "time": slow("t1", "t2")})
    return [won, ctx.step("c", act, "c")]


@fits(parts, [{"left": ["l1", "l2", "x"], "right": ["r1", "r2"]}, "c"])
def step_appended_to_a_branch_that_waits(ctx: Context) -> Any:
    values = ctx.parallel("both", {"left": waits("l1", "l2", "x"), "right": does("r1", "r2")})
    return [values, ctx.step("c", act, "c")]


@pytest.mark.parametrize(("old", "new", "result"), FITTING, ids=[new.__name__ for _, new, _ in FITTING])
def test_an_edit_that_fits_goes_on(durable: DurableKit, old: Code, new: Code, result: Any) -> None:
    execution = park(durable, old)
    deploy(new)

    assert replay(export_history(execution)).fits
    go_on(durable, execution)

    assert client.result(execution) == result
