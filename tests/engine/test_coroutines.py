"""Async workflows: the same core, and coroutines that resume in the same order in every replay."""

import asyncio
import threading
from datetime import timedelta

import pytest

from django_durable import AsyncContext, Cancelled, Context, client, step, workflow
from django_durable.exceptions import ExecutionFailedError
from django_durable.models import Execution, Step, StuckReason
from tests.authoring import Deployed, no_op

HOUR = timedelta(hours=1)


@pytest.fixture
def done():
    """What the bodies did, in order."""
    return []


@pytest.fixture
def do(done):
    """The awaitable of a step: ``do(ctx, "pack")``; with undo=True one that can be undone."""

    def do(ctx, what, *, undo=False):
        compensate = (lambda result: done.append(f"undo {result}")) if undo else None
        return ctx.step(what, lambda: done.append(what) or what, compensate=compensate)

    return do


def fail():
    raise LookupError("out of stock")


def names(execution):
    return [step.name for step in Step.objects.history(execution.id)]


def statuses(execution):
    return {step.name: step.status for step in Step.objects.history(execution.id)}


def stuck(durable, run):
    """Run it; what it is stuck with."""
    durable.run_until_idle()
    row = Execution.objects.get(pk=run.id)
    assert row.stuck_reason == StuckReason.NONDETERMINISM
    return row.error


def failure(durable, run):
    with pytest.raises(ExecutionFailedError) as caught:
        durable.run(run)
    return str(caught.value)


# -- awaiting ------------------------------------------------------------------------------------------


def test_calls_are_awaited(durable, do, done):
    @workflow("flow")
    async def flow(ctx, order):
        charged = await do(ctx, "charge")
        await ctx.sleep(HOUR)
        return [order, charged, await do(ctx, "ship")]

    run = flow.start(7)
    durable.run_until_idle()
    assert done == ["charge"]
    durable.advance(HOUR)
    assert durable.run(run) == [7, "charge", "ship"]
    assert done == ["charge", "ship"]
    assert names(run) == ["charge", "sleep", "ship"]


def test_gathered_calls_wait_beside_each_other(durable, do, done):
    @workflow("flow")
    async def flow(ctx):
        return await asyncio.gather(do(ctx, "charge"), ctx.sleep(HOUR), ctx.wait_for_signal("go"), do(ctx, "pack"))

    run = flow.start()
    durable.run_until_idle()
    assert done == ["charge", "pack"]
    assert names(run)[:4] == ["task:step", "task:sleep", "task:wait_for_signal", "task:step#2"]
    assert names(run)[4:] == [
        "task:step/charge",
        "task:step#2/pack",
        "task:sleep/sleep",
        "task:wait_for_signal/signal:go",
    ]
    durable.signal(run, "go", "gone")
    durable.advance(HOUR)
    assert durable.run(run) == ["charge", None, "gone", "pack"]


def test_what_needs_no_await(durable):
    @workflow("flow")
    async def flow(ctx):
        ctx.log.info("here")
        ctx.progress(1, 2)
        facts = ctx.execution_id, ctx.attempt, ctx.random().random(), ctx.uuid4()
        await ctx.sleep(HOUR)
        return [str(fact) for fact in facts]

    run = flow.start()
    durable.advance(HOUR)
    assert durable.run(run)[:2] == [str(run.id), "1"]


def test_an_async_step_body_and_a_child(durable):
    async def double(number):
        await asyncio.sleep(0)
        return 2 * number

    @workflow("child")
    async def child(ctx, number):
        return await ctx.step(double, number)

    @workflow("flow")
    async def flow(ctx):
        return await asyncio.gather(ctx.call(child, 1), ctx.step(double, 10), ctx.call(child, 2))

    assert durable.run(flow.start()) == [2, 20, 4]


def test_a_task_group_and_the_value_of_its_tasks(durable, do):
    async def deliver(ctx, what):
        await ctx.sleep(HOUR)
        return await do(ctx, what)

    @workflow("flow")
    async def flow(ctx):
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(deliver(ctx, "a"))
            second = tasks.create_task(deliver(ctx, "b"))
        return [first.result(), second.result()]

    run = flow.start()
    durable.advance(HOUR)
    assert durable.run(run) == ["a", "b"]
    assert "task:deliver#2/b" in names(run)


def test_the_first_of_several_is_the_same_one_at_every_replay(durable):
    """The signal came first; at later passes both outcomes are recorded, and the older task is the other one."""

    @workflow("flow")
    async def flow(ctx):
        slept = asyncio.create_task(ctx.sleep(2 * HOUR))
        told = asyncio.create_task(ctx.wait_for_signal("go"))
        first, rest = await asyncio.wait([slept, told], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait(rest)
        await ctx.sleep(HOUR)
        return [task is told for task in first]

    run = flow.start()
    durable.advance(HOUR)
    durable.signal(run, "go")
    durable.advance(3 * HOUR)
    assert durable.run(run) == [True]


def test_as_completed_gives_them_in_the_recorded_order(durable):
    @workflow("flow")
    async def flow(ctx):
        async def nap(hours):
            await ctx.sleep(hours * HOUR)
            return hours

        tasks = [asyncio.create_task(nap(hours)) for hours in (3, 1, 2)]
        order = [await each for each in asyncio.as_completed(tasks)]
        await ctx.sleep(HOUR)
        return order

    run = flow.start()
    durable.advance(5 * HOUR)
    assert durable.run(run) == [1, 2, 3]


def test_a_number_of_tasks_that_has_changed_is_found(durable):
    async def two(ctx):
        await asyncio.gather(ctx.sleep(HOUR), ctx.sleep(HOUR))

    async def one(ctx):
        await asyncio.gather(ctx.sleep(HOUR))

    async def three(ctx):
        await asyncio.gather(ctx.note("new"), ctx.sleep(HOUR), ctx.sleep(HOUR))

    flow = Deployed("flow", two)

    @workflow("flow", version=2)
    async def current(ctx):
        return await flow.code(ctx)

    run = current.start()
    durable.run_until_idle()
    for flow.code, told in ((one, "the history has task 'task:sleep#2'"), (three, "asked for task 'task:note'")):
        durable.clock.move_to(durable.clock.now() + HOUR)
        assert told in stuck(durable, run)
    flow.code = two
    durable.advance(HOUR)
    durable.run(run)


# -- branches ------------------------------------------------------------------------------------------


def test_branches_of_an_async_workflow(durable, do, done):
    async def ship(ctx: AsyncContext, number=1):
        await ctx.sleep(HOUR)
        return await do(ctx, f"ship-{number}")

    def plain(ctx: Context):
        ctx.sleep(HOUR)
        return ctx.step("plain", lambda: "plain")

    @workflow("flow")
    async def flow(ctx):
        both = await ctx.parallel({"a": ship, "b": lambda ctx: ship(ctx, 2), "c": plain})
        chosen = await ctx.switch("how", "x", {"x": ship})
        each = await ctx.map(ship, [3, 4])
        who, _ = await ctx.race({"fast": lambda ctx: ctx.sleep(1), "slow": ship})
        return [both, chosen, each, who, await ctx.gather(lambda ctx: do(ctx, "x"))]

    run = flow.start()
    durable.advance(6 * HOUR)
    assert durable.run(run) == [
        {"a": "ship-1", "b": "ship-2", "c": "plain"},
        "ship-1",
        ["ship-3", "ship-4"],
        "fast",
        ["x"],
    ]


def test_async_branches_of_a_plain_workflow(durable, do):
    async def ship(ctx, number=1):
        first, _ = await asyncio.gather(do(ctx, f"ship-{number}"), ctx.sleep(HOUR))
        return first

    @workflow("flow")
    def flow(ctx):
        return [ctx.parallel({"a": ship, "b": lambda ctx: ctx.step("b", lambda: "b")}), ctx.map(ship, [2, 3])]

    run = flow.start()
    durable.advance(2 * HOUR)
    assert durable.run(run) == [{"a": "ship-1", "b": "b"}, ["ship-2", "ship-3"]]


def test_a_plain_branch_that_gives_a_coroutine_is_refused(durable):
    async def ship(ctx):
        await ctx.sleep(HOUR)

    @workflow("flow")
    def flow(ctx):
        ctx.parallel({"a": lambda ctx: ship(ctx)})

    assert "is not async: write it with `async def`" in failure(durable, flow.start())


# -- errors and cancelling -----------------------------------------------------------------------------


def test_a_failure_cancels_what_still_waits_and_undoes_what_was_done(durable, do, done):
    async def pack(ctx):
        try:
            await do(ctx, "pack", undo=True)
            await ctx.wait_for_signal("packed")
        except asyncio.CancelledError:
            await do(ctx, "unpack")
            raise

    @workflow("flow")
    async def flow(ctx):
        await do(ctx, "charge", undo=True)
        await asyncio.gather(pack(ctx), ctx.sleep(HOUR), _fail_later(ctx))

    run = flow.start()
    durable.run_until_idle()
    assert statuses(run)["task:pack/signal:packed"] == "waiting"
    durable.advance(HOUR / 2)
    assert "out of stock" in failure(durable, run)
    assert done == ["charge", "pack", "unpack", "undo pack", "undo charge"]
    assert statuses(run)["task:pack/signal:packed"] == "cancelled"
    assert statuses(run)["task:sleep/sleep"] == "cancelled"


async def _fail_later(ctx):
    await ctx.sleep(HOUR / 2)
    await ctx.step(fail)


def test_a_task_group_calls_its_other_tasks_off(durable, do, done):
    @workflow("flow")
    async def flow(ctx):
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(ctx.wait_for_signal("never"))
                tasks.create_task(_fail_later(ctx))
        except* Exception as group:
            told = str(group.exceptions[0])
        await ctx.sleep(HOUR)
        return told

    run = flow.start()
    durable.advance(3 * HOUR)
    assert "out of stock" in durable.run(run)
    assert statuses(run)["task:wait_for_signal/signal:never"] == "cancelled"


def test_a_task_that_was_cancelled_stays_cancelled_when_what_it_waited_for_comes(durable, do, done):
    @workflow("flow")
    async def flow(ctx):
        waiting = asyncio.create_task(ctx.wait_for_signal("late"))
        await ctx.sleep(HOUR)
        waiting.cancel()
        await ctx.sleep(HOUR)
        return waiting.cancelled()

    run = flow.start()
    durable.advance(HOUR)
    durable.signal(run, "late")
    durable.advance(HOUR)
    assert durable.run(run) is True


def test_a_cancellation_reaches_every_task_that_waits(durable, done):
    async def wait(ctx, name):
        try:
            await ctx.wait_for_signal(name)
        except Cancelled:
            await ctx.step(f"clean-{name}", lambda: done.append(name))
            raise

    @workflow("flow")
    async def flow(ctx):
        await asyncio.gather(wait(ctx, "a"), wait(ctx, "b"))

    run = flow.start()
    durable.run_until_idle()
    client.cancel(run)
    durable.run_until_idle()
    assert Execution.objects.get(pk=run.id).status == "cancelled"
    assert done == ["a", "b"]


def test_a_cancellation_in_a_task_group_ends_it_as_cancelled(durable):
    @workflow("flow")
    async def flow(ctx):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ctx.wait_for_signal("a"))
            tasks.create_task(ctx.wait_for_signal("b"))

    run = flow.start()
    durable.run_until_idle()
    client.cancel(run)
    durable.run_until_idle()
    assert Execution.objects.get(pk=run.id).status == "cancelled"


def test_the_deadline_is_delivered(durable, done):
    @workflow("flow", timeout=HOUR)
    async def flow(ctx):
        try:
            await asyncio.gather(ctx.sleep(2 * HOUR), ctx.wait_for_signal("never"))
        except Cancelled:
            await ctx.step("clean", lambda: done.append("clean"))
            raise

    run = flow.start()
    durable.advance(2 * HOUR)
    assert Execution.objects.get(pk=run.id).status == "timed_out"
    assert done == ["clean"]


def test_rolling_back_by_hand(durable, do, done):
    @workflow("flow")
    async def flow(ctx):
        await asyncio.gather(do(ctx, "a", undo=True), do(ctx, "b", undo=True))
        await ctx.rollback()
        await ctx.sleep(HOUR)
        return "undone"

    run = flow.start()
    durable.advance(HOUR)
    assert durable.run(run) == "undone"
    assert done == ["a", "b", "undo b", "undo a"]


def test_cleaning_up_in_finally_waits_for_its_turn(durable, do, done):
    @workflow("flow")
    async def flow(ctx):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ctx.sleep(HOUR))
            try:
                await ctx.sleep(HOUR)
            finally:
                await do(ctx, "clean")

    run = flow.start()
    durable.run_until_idle()
    assert done == []
    durable.advance(HOUR)
    durable.run(run)
    assert done == ["clean"]


def test_a_task_that_waits_in_finally_waits_for_its_turn_too(durable, do, done):
    @workflow("flow")
    async def flow(ctx):
        async def beside():
            try:
                await ctx.sleep(HOUR)
            finally:
                await do(ctx, "clean")

        await asyncio.create_task(beside())

    run = flow.start()
    durable.run_until_idle()
    assert done == []
    durable.advance(HOUR)
    durable.run(run)
    assert done == ["clean"]


# -- bad input -----------------------------------------------------------------------------------------


def test_a_call_that_is_not_awaited_is_told_before_anything_after_it(durable, do, done):
    @workflow("flow")
    async def flow(ctx):
        ctx.sleep(HOUR)
        await do(ctx, "ship")

    error = stuck(durable, flow.start())
    assert "ctx.sleep(...) at " in error
    assert "test_coroutines.py:" in error
    assert "was not awaited" in error
    assert done == []


def test_a_call_that_is_kept_and_not_awaited_does_not_end_the_workflow(durable, do):
    @workflow("flow")
    async def flow(ctx):
        kept = ctx.sleep(HOUR)
        kept.kept = kept
        return await do(ctx, "ship")

    assert "was not awaited" in stuck(durable, flow.start())


def test_a_call_that_is_closed_need_not_be_awaited(durable, do):
    @workflow("flow")
    async def flow(ctx):
        ctx.sleep(HOUR).close()
        return await do(ctx, "ship")

    assert durable.run(flow.start()) == "ship"


def test_awaiting_one_call_twice(durable, do):
    @workflow("flow")
    async def flow(ctx):
        call = do(ctx, "ship")
        await call
        await call

    assert "is awaited twice" in failure(durable, flow.start())


async def in_time():
    async with asyncio.timeout(1):
        pass


@pytest.mark.parametrize(
    ("outside", "told"),
    [
        (lambda: asyncio.sleep(1), "use ctx.sleep"),
        (lambda: in_time(), "there is no clock"),
        (lambda: asyncio.to_thread(no_op), "belong in a step"),
        (lambda: asyncio.open_connection("localhost", 1), "belongs in a step"),
        (lambda: Execution.objects.acount(), "belong in a step"),
    ],
)
def test_what_reaches_outside_is_refused(durable, outside, told):
    @workflow("flow")
    async def flow(ctx):
        await outside()

    assert told in failure(durable, flow.start())


def test_the_database_is_not_for_coroutines(durable):
    @workflow("flow")
    async def flow(ctx):
        return Execution.objects.count()

    assert "async context" in failure(durable, flow.start())


def test_coroutines_in_no_order_are_refused(durable):
    @workflow("flow")
    async def flow(ctx):
        async def nap():
            await ctx.sleep(HOUR)

        naps = [nap(), nap()]
        try:
            for each in asyncio.as_completed(naps):
                await each
        finally:
            for each in naps:
                each.close()

    assert "give it tasks" in failure(durable, flow.start())


def test_waiting_for_what_never_comes(durable):
    @workflow("flow")
    async def flow(ctx):
        await asyncio.Event().wait()

    assert "no durable call brings it" in stuck(durable, flow.start())


def test_a_context_in_a_step(durable):
    @workflow("flow")
    async def flow(ctx):
        async def inside():
            await ctx.sleep(HOUR)

        await ctx.step(inside)

    assert "inside the body of step 'inside'" in failure(durable, flow.start())


def test_a_context_in_another_thread(durable):
    caught = []

    def elsewhere(call):
        try:
            call.send(None)
        except Exception as error:
            caught.append(str(error))

    @workflow("flow")
    async def flow(ctx):
        thread = threading.Thread(target=elsewhere, args=(ctx.sleep(HOUR),))
        thread.start()
        thread.join()

    durable.run(flow.start())
    assert "other thread" in caught[0]


def test_the_context_of_the_workflow_in_its_branch(durable):
    @workflow("flow")
    async def flow(ctx):
        async def wrong(inner):
            await ctx.sleep(HOUR)

        await ctx.parallel({"a": wrong})

    assert "another workflow or branch" in failure(durable, flow.start())


def test_a_context_after_its_function(durable):
    kept = []

    @workflow("flow")
    async def flow(ctx):
        kept.append(ctx)

    durable.run(flow.start())
    with pytest.raises(Exception, match="has ended"):
        kept[0].sleep(1)


def test_a_swallowed_suspension_is_told(durable, do, done):
    @workflow("flow")
    async def flow(ctx):
        try:
            await ctx.sleep(HOUR)
        except BaseException:
            return "went on"

    run = flow.start()
    assert "SwallowedControlFlowError" in stuck(durable, run)
    assert names(run) == []


def test_tasks_of_callbacks_are_refused(durable, caplog):
    @workflow("flow")
    async def flow(ctx):
        task = asyncio.create_task(ctx.note("x"))
        task.add_done_callback(lambda task: asyncio.create_task(ctx.note("y")))
        await task
        await asyncio.sleep(0)

    flow.start()
    durable.run_until_idle()
    assert "not in callbacks" in caplog.text


def test_a_generator_is_no_workflow():
    with pytest.raises(Exception, match="no generator"):

        @workflow("flow")
        async def flow(ctx):
            yield 1


def test_what_awaits_a_step_of_its_own_error(durable):
    @step(raises=(LookupError,))
    def find():
        raise LookupError("nothing there")

    @workflow("flow")
    async def flow(ctx):
        try:
            await ctx.step(find)
        except LookupError as error:
            await ctx.sleep(HOUR)
            return str(error)

    run = flow.start()
    durable.advance(HOUR)
    assert durable.run(run) == "nothing there"
