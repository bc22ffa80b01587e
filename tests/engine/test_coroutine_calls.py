"""What the other calls of a context do in coroutines, which go on beside each other."""

import asyncio
import logging
import threading
from collections import Counter
from datetime import timedelta

import pytest

from django_durable import Retry, client, on_event, step, workflow
from django_durable.engine import worker
from django_durable.exceptions import ConfigurationError, ExecutionFailedError
from django_durable.models import Execution, OutboxEvent, Step, StuckReason
from django_durable.testing import export_history, replay
from tests.authoring import NO_BROKER, Deployed, no_op

HOUR = timedelta(hours=1)
PATIENCE_SECONDS = 10


def names(run):
    return [step.name for step in Step.objects.history(run.id)]


def fits(run):
    """A replay of all of it goes the same way to the same end."""
    report = replay(export_history(run))
    assert report.fits, report.mismatch
    return report.value


# -- the state -----------------------------------------------------------------------------------------


def test_all_tasks_see_what_each_has_changed(durable):
    passes = []

    @workflow("flow")
    async def flow(ctx):
        seen = []
        passes.append(seen)

        async def add(name, hours):
            await ctx.sleep(hours * HOUR)
            seen.append((name, dict(ctx.state)))
            await ctx.state.set(**{name: hours})
            seen.append((name, dict(ctx.state)))

        await asyncio.gather(add("a", 2), add("b", 1), add("c", 3))
        return dict(ctx.state)

    run = flow.start()
    durable.advance(4 * HOUR)
    assert durable.run(run) == {"b": 1, "a": 2, "c": 3}
    assert fits(run) == {"b": 1, "a": 2, "c": 3}
    assert passes[-1] == [
        ("b", {}),
        ("b", {"b": 1}),
        ("a", {"b": 1}),
        ("a", {"b": 1, "a": 2}),
        ("c", {"b": 1, "a": 2}),
        ("c", {"b": 1, "a": 2, "c": 3}),
    ]
    assert all(passes[-1][: len(earlier)] == earlier for earlier in passes)


def test_what_another_task_changes_after_a_look_is_not_seen_by_a_replay_of_it(durable):
    """The look comes before the other's change, and what is recorded next after it."""

    @workflow("flow")
    async def flow(ctx):
        other = asyncio.create_task(ctx.state.set(told=True))
        await asyncio.sleep(0)
        looked = "told" in ctx.state
        await ctx.step(no_op)
        await other
        await ctx.sleep(HOUR)
        return [looked, ctx.state["told"]]

    run = flow.start()
    durable.advance(HOUR)
    assert durable.run(run) == [False, True]
    assert fits(run) == [False, True]


def test_a_branch_sees_what_was_there_before_it_and_what_is_its_own(durable):
    @workflow("flow")
    async def flow(ctx):
        async def look(ctx):
            before = dict(ctx.state)
            await ctx.sleep(HOUR)
            await ctx.state.set(mine=1)
            return [before, dict(ctx.state)]

        def plain(ctx):
            before = dict(ctx.state)
            ctx.sleep(HOUR)
            return [before, dict(ctx.state)]

        async def change():
            await ctx.sleep(HOUR / 2)
            await ctx.state.set(late=1)

        await ctx.state.set(early=1)
        looked, chosen, _ = await asyncio.gather(
            ctx.parallel({"a": look}), ctx.switch("how", "x", {"x": plain}), change()
        )
        return [looked["a"], chosen, dict(ctx.state)]

    run = flow.start()
    durable.advance(HOUR / 2)
    durable.advance(HOUR)
    early = {"early": 1}
    told = [[early, early | {"mine": 1}], [early, early], {"early": 1, "late": 1, "mine": 1}]
    assert durable.run(run) == told
    assert fits(run) == told


def test_an_update_is_seen_behind_what_waits(durable):
    @workflow("flow")
    async def flow(ctx):
        async def watch():
            await ctx.wait_until(lambda state: state.get("price", 0) > 5)
            return ctx.state["price"]

        async def nap():
            before = dict(ctx.state)
            await ctx.sleep(HOUR)
            return [before, dict(ctx.state)]

        return await asyncio.gather(watch(), nap())

    @flow.update("price")
    def price(state, value):
        state["price"] = value

    run = flow.start()
    durable.run_until_idle()
    for value in (3, 7):
        client.send_update(run, "price", value)
        durable.run_until_idle()
    durable.advance(HOUR)
    assert durable.run(run) == [7, [{}, {"price": 7}]]
    assert fits(run) == [7, [{}, {"price": 7}]]


def test_a_condition_that_another_task_makes_true(durable):
    @workflow("flow")
    async def flow(ctx):
        async def tell():
            await ctx.sleep(HOUR)
            await ctx.state.set(ready=True)

        return await asyncio.gather(ctx.wait_until(lambda state: state.get("ready")), tell())

    run = flow.start()
    durable.advance(HOUR)
    assert durable.run(run) == [True, None]
    assert fits(run) == [True, None]


def test_replacing_the_state_and_a_condition_that_times_out(durable):
    @workflow("flow")
    async def flow(ctx):
        await ctx.state.set(a=1)
        await ctx.state.replace({"b": 2})
        assert await ctx.wait_until(lambda state: "a" in state, timeout=HOUR) is False
        return [dict(ctx.state), len(ctx.state), repr(ctx.state)]

    run = flow.start()
    durable.advance(HOUR)
    assert durable.run(run) == [{"b": 2}, 1, "State({'b': 2})"]


def test_a_change_that_is_not_awaited_is_told(durable):
    @workflow("flow")
    async def flow(ctx):
        ctx.state.set(a=1)
        await ctx.step(no_op)

    run = flow.start()
    durable.run_until_idle()
    row = Execution.objects.get(pk=run.id)
    assert row.stuck_reason == StuckReason.NONDETERMINISM
    assert "ctx.state.set(...) at" in row.error
    assert "was not awaited" in row.error


# -- events, patches -----------------------------------------------------------------------------------


def test_events_of_tasks_are_told_once(durable):
    told = []

    @on_event("done")
    def hear(event):
        told.append(event.payload)

    @workflow("flow")
    async def flow(ctx):
        async def one(number):
            await ctx.sleep(number * HOUR)
            await ctx.emit("done", number)

        await asyncio.gather(one(1), one(2))

    run = flow.start()
    durable.advance(3 * HOUR)
    durable.run(run)
    durable.run_until_idle()
    assert told == [1, 2]
    assert OutboxEvent.objects.count() == 2
    fits(run)


def test_a_patch_where_an_execution_has_been_and_where_it_has_not(durable):
    flow = Deployed("flow", None)

    async def old(ctx):
        async def short():
            pass

        await asyncio.gather(short(), ctx.sleep(HOUR))
        await ctx.sleep(HOUR)
        return "old"

    async def new(ctx):
        told = []

        async def short():
            told.append(await ctx.patched("passed"))

        await asyncio.gather(short(), ctx.sleep(HOUR))
        await ctx.sleep(HOUR)
        told.append(await ctx.patched("ahead"))
        told.append(await ctx.patched("ahead"))
        return told

    @workflow("flow", version=2)
    async def current(ctx):
        return await flow.code(ctx)

    flow.code = old
    run, later = current.start(), None
    durable.advance(HOUR)
    flow.code = new
    later = current.start()
    durable.advance(HOUR)
    durable.advance(HOUR)
    assert durable.run(run) == [False, True, True]
    assert durable.run(later) == [True, True, True]
    assert fits(run) == [False, True, True]
    assert fits(later) == [True, True, True]


def test_a_patch_that_is_over(durable):
    flow = Deployed("flow", None)

    async def asks(ctx):
        await ctx.patched("way")
        await ctx.sleep(HOUR)

    async def has_asked(ctx):
        await ctx.deprecate_patch("way")
        await ctx.sleep(HOUR)
        return "done"

    @workflow("flow", version=2)
    async def current(ctx):
        return await flow.code(ctx)

    flow.code = asks
    run = current.start()
    durable.run_until_idle()
    flow.code = has_asked
    durable.advance(HOUR)
    assert durable.run(run) == "done"
    assert durable.run(current.start()) == "done" if durable.advance(HOUR) else True


# -- going on for ever ---------------------------------------------------------------------------------


def test_a_loop_of_async_bodies(durable):
    @workflow("flow")
    async def flow(ctx):
        async def double(ctx, number):
            await asyncio.gather(ctx.sleep(HOUR), ctx.note("again"))
            return await ctx.step("double", lambda: 2 * number)

        return await asyncio.gather(
            ctx.loop("up", lambda number: number < 8, double, initial=1),
            ctx.loop("lambda", lambda number: number < 3, lambda ctx, number: double(ctx, number), initial=1),
        )

    run = flow.start()
    durable.advance(4 * HOUR)
    assert durable.run(run) == [8, 4]
    assert fits(run) == [8, 4]


def test_continuing_as_new_ends_the_other_tasks(durable):
    done = []

    @workflow("flow")
    async def flow(ctx, number):
        async def beside():
            try:
                await ctx.wait_for_signal("never")
            finally:
                await ctx.step("clean", lambda: done.append(number))

        if number == 2:
            return dict(ctx.state)
        asyncio.create_task(beside())  # noqa: RUF006 - the loop keeps it
        await ctx.state.set(**{f"of_{number}": number})
        await ctx.sleep(HOUR)
        await ctx.continue_as_new(number + 1)

    run = flow.start(0)
    durable.advance(3 * HOUR)
    assert durable.run(run) == {"of_0": 0, "of_1": 1}
    assert done == [0, 1]
    assert "task:beside/signal:never" in names(run)
    assert not Step.objects.unsettled().exists()
    assert replay(export_history(run)).end == "continued"


def test_continuing_as_new_out_of_a_task_group(durable):
    @workflow("flow")
    async def flow(ctx, number):
        if number:
            return number
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ctx.wait_for_signal("never"))
            await ctx.sleep(HOUR)
            await ctx.continue_as_new(1)

    run = flow.start(0)
    durable.advance(HOUR)
    assert durable.run(run) == 1


def test_a_task_cannot_continue_as_new(durable):
    @workflow("flow")
    async def flow(ctx):
        await asyncio.create_task(ctx.continue_as_new())

    with pytest.raises(ExecutionFailedError, match="inside a task"):
        durable.run(flow.start())


def test_the_advice_to_continue_is_the_same_in_every_replay(durable, settings):
    """A no is recorded: here the other task goes on because of it."""
    settings.DURABLE = {**settings.DURABLE, "HISTORY_WARNING": 8}
    said = []

    @workflow("flow")
    async def flow(ctx):
        queue = asyncio.Queue()

        async def listen():
            while await queue.get():
                await ctx.step(no_op)
                await ctx.sleep(HOUR)

        listening = asyncio.create_task(listen())
        said.clear()
        while True:
            said.append(await ctx.should_continue_as_new)
            if said[-1]:
                break
            queue.put_nowait(1)
            await ctx.sleep(HOUR)
        queue.put_nowait(None)
        await listening
        return list(said)

    run = flow.start()
    durable.advance(9 * HOUR)
    answers = durable.run(run)
    assert answers[-1] is True
    assert len(answers) > 1
    assert not any(answers[:-1])
    settings.DURABLE = {**settings.DURABLE, "HISTORY_WARNING": 1}
    assert fits(run) == answers


# -- waiting for several, children ---------------------------------------------------------------------


def test_waiting_for_any_and_for_all(durable):
    @workflow("child")
    async def child(ctx, number):
        await ctx.sleep(HOUR)
        return 2 * number

    @workflow("flow")
    async def flow(ctx):
        async def slow(ctx):
            await ctx.sleep(3 * HOUR)
            return "slow"

        started = await ctx.start_child(child, 4)
        first = await ctx.wait_any({"told": "go", "time": 2 * HOUR, "child": started})
        every = await ctx.wait_all({"late": lambda ctx: slow(ctx), "child": started}, timeout=HOUR)
        nothing = await ctx.wait_any({"told": "go"}, timeout=HOUR)
        return [first, every, nothing]

    run = flow.start()
    durable.advance(4 * HOUR)
    assert durable.run(run) == [("child", 8), {"child": 8}, None]
    assert fits(run) == [("child", 8), {"child": 8}, None]


def test_a_map_over_a_workflow_gives_a_list(durable):
    @workflow("child")
    async def child(ctx, number):
        return await ctx.step("double", lambda: 2 * number)

    @workflow("flow")
    async def flow(ctx):
        doubled, _ = await asyncio.gather(ctx.map(child, [1, 2, 3]), ctx.sleep(HOUR))
        return [type(doubled).__name__, sum(doubled)]

    run = flow.start()
    durable.advance(HOUR)
    assert durable.run(run) == ["list", 12]


# -- how calls are matched -----------------------------------------------------------------------------


def test_an_async_workflow_is_not_matched_by_name():
    with pytest.raises(ConfigurationError, match="matched in order"):

        @workflow("flow", on_change="tolerate")
        async def flow(ctx):
            pass


def test_nor_is_an_async_branch(durable):
    async def branch(ctx):
        await ctx.sleep(HOUR)

    @workflow("flow", on_change="tolerate")
    def flow(ctx):
        ctx.parallel({"a": branch})

    with pytest.raises(ExecutionFailedError, match="leave out on_change"):
        durable.run(flow.start())


def test_a_task_may_do_something_new_when_its_creator_has_gone_further(durable):
    @workflow("flow")
    async def flow(ctx):
        async def beside():
            await ctx.wait_for_signal("go")
            return await ctx.step("new", lambda: "new")

        task = asyncio.create_task(beside())
        for _ in range(3):
            await ctx.sleep(HOUR)
        return await task

    run = flow.start()
    durable.advance(2 * HOUR)
    durable.signal(run, "go")
    durable.advance(HOUR)
    assert durable.run(run) == "new"
    assert names(run).index("sleep#2") < names(run).index("task:beside/new")


def test_a_task_that_wants_more_than_it_did_once_the_end_is_decided(durable):
    """Its code has changed while the rollback waits for its next attempt: what is undone goes on being undone."""
    tries = []
    flow = Deployed("flow", None)

    @step(retry=Retry(max_attempts=2, initial_seconds=3600, maximum_seconds=3600))
    def undo(result):
        tries.append(result)
        if len(tries) == 1:
            raise OSError

    def code(more):
        async def run(ctx):
            async def beside():
                if more:
                    await ctx.step("more", no_op)

            await ctx.step("one", lambda: "one", compensate=undo)
            await asyncio.gather(beside(), ctx.sleep(HOUR))
            raise LookupError

        return run

    @workflow("flow", version=2)
    async def current(ctx):
        return await flow.code(ctx)

    flow.code = code(more=False)
    run = current.start()
    durable.advance(HOUR)
    assert Execution.objects.get(pk=run.id).status == "compensating"
    flow.code = code(more=True)
    durable.advance(HOUR)
    assert Execution.objects.get(pk=run.id).status == "failed"
    assert tries == ["one", "one"]
    assert not any(name.endswith("more") for name in names(run))


def test_lines_are_not_logged_again_in_every_replay(durable, caplog):
    """Only what comes after the last outcome that is recorded is told again, as in branches."""

    @workflow("flow")
    async def flow(ctx):
        async def chat(name, hours):
            ctx.log.info("%s begins", name)
            await ctx.sleep(hours * HOUR)
            ctx.log.info("%s ends", name)

        await asyncio.gather(chat("a", 1), chat("b", 2), ctx.parallel({"c": lambda ctx: chat_in(ctx)}))
        ctx.log.info("all ended")

    async def chat_in(ctx):
        ctx.log.info("c begins")
        await ctx.sleep(3 * HOUR)
        ctx.log.info("c ends")

    run = flow.start()
    with caplog.at_level(logging.INFO):
        for _ in range(4):
            durable.advance(HOUR)
    durable.run(run)
    lines = [line.message for line in caplog.records if line.message.split()[0] in ("a", "b", "c", "all")]
    once = ["a begins", "b begins", "c begins", "c ends", "all ended"]
    assert Counter(lines) == Counter({**dict.fromkeys(once, 1), "a ends": 2, "b ends": 2})


# -- bodies side by side -------------------------------------------------------------------------------


@pytest.fixture
def side_by_side(settings, transactional_db):
    settings.DURABLE = {**NO_BROKER, "PARALLEL_STEPS": 4}


def finished(run):
    worker.drain("default", using="default")
    row = Execution.objects.get(pk=run.id)
    assert row.is_closed, f"{row.status}: {client.inspect(run).error}"
    return client.result(run)


@pytest.mark.usefixtures("side_by_side")
def test_gathered_bodies_of_an_async_branch_run_beside_those_of_the_others():
    meeting = threading.Barrier(3, timeout=PATIENCE_SECONDS)

    def meet(value):
        meeting.wait()
        return value

    @workflow("flow")
    def flow(ctx):
        async def several(ctx):
            first = await asyncio.gather(ctx.step("a", meet, 1), ctx.step("b", meet, 2))
            return [*first, await ctx.step("c", lambda: 3)]

        return list(ctx.parallel({"async": several, "plain": lambda ctx: ctx.step("d", meet, 4)}).values())

    run = flow.start()
    assert finished(run) == [[1, 2, 3], 4]
    assert fits(run) == [[1, 2, 3], 4]


@pytest.mark.usefixtures("side_by_side")
def test_parallel_bodies_in_an_async_workflow_run_beside_each_other():
    meeting = threading.Barrier(2, timeout=PATIENCE_SECONDS)

    def meet(value):
        meeting.wait()
        return value

    @workflow("flow")
    async def flow(ctx):
        async def one(ctx, value):
            return await ctx.step("one", meet, value)

        both = ctx.parallel({"a": lambda ctx: one(ctx, 1), "b": lambda ctx: ctx.step("b", meet, 2)})
        return await asyncio.gather(both, ctx.step("alone", lambda: 3))

    run = flow.start()
    assert finished(run) == [{"a": 1, "b": 2}, 3]
    assert fits(run) == [{"a": 1, "b": 2}, 3]


@pytest.mark.usefixtures("side_by_side")
def test_the_body_that_ends_first_is_the_first_of_its_tasks_in_every_replay():
    is_told = threading.Event()

    def slow():
        assert is_told.wait(PATIENCE_SECONDS)
        return "slow"

    @workflow("flow")
    def flow(ctx):
        async def several(ctx):
            tasks = [asyncio.create_task(ctx.step("slow", slow)), asyncio.create_task(ctx.step("quick", no_op))]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            first = [tasks.index(task) for task in done]
            await ctx.step("tell", is_told.set)
            return [first, await tasks[0]]

        return ctx.parallel({"async": several, "plain": lambda ctx: ctx.step("beside", no_op)})["async"]

    run = flow.start()
    assert finished(run) == [[1], "slow"]
    assert fits(run) == [[1], "slow"]


@pytest.mark.usefixtures("side_by_side")
def test_a_task_that_is_cancelled_while_its_body_runs_waits_for_it():
    is_told = threading.Event()
    done = []

    def slow():
        assert is_told.wait(PATIENCE_SECONDS)
        done.append("slow")

    @workflow("flow")
    def flow(ctx):
        async def several(ctx):
            task = asyncio.create_task(ctx.step("slow", slow, compensate=lambda result: done.append("undone")))
            await ctx.step("quick", no_op)
            task.cancel()
            await ctx.step("tell", is_told.set)
            await asyncio.wait([task])
            await ctx.rollback()
            return task.cancelled()

        return ctx.parallel({"async": several, "plain": lambda ctx: ctx.step("beside", no_op)})["async"]

    run = flow.start()
    assert finished(run) is True
    assert done in (["slow"], ["slow", "undone"])
    assert fits(run) is True
