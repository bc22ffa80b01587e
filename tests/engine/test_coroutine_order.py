"""Whatever asyncio is asked for, every pass of an async workflow goes the way of the one before it, and then further.

Generated coroutines create tasks, cancel them, wait for the first of them and talk to each other through queues and
shared lists. They note everything that they see. The notes of each pass must begin with those of the pass before it,
and a dry replay of the finished history must see the same again, though workers die and the news come in any order.
"""

import asyncio
import random
from contextlib import suppress
from datetime import timedelta
from itertools import pairwise

import pytest

from django_durable import Cancelled, client, workflow
from django_durable.engine.dry_run import DryRun
from django_durable.models import Execution, Step
from django_durable.testing.histories import export_history, replay
from tests.authoring import Killed

SIGNALS = ("red", "green", "blue")


class Trouble(Exception):
    pass


class Story:
    """One generated program and what its passes have seen. deaths: of workers, inside step bodies."""

    def __init__(self, seed, *, deaths):
        self.seed = seed
        self.chance = random.Random(f"{seed} of the world")
        self.deaths = deaths
        self.passes = []
        self.dry = []

    def body(self, what):
        if self.deaths and self.chance.random() < 0.15:
            self.deaths -= 1
            raise Killed
        if what % 7 == 0:
            raise Trouble(what)
        return what

    async def run(self, ctx):
        """One run of the function: the program itself is drawn anew, by the same numbers. Dry runs come in between."""
        run = Run(self)
        (self.dry if isinstance(ctx._runtime.root, DryRun) else self.passes).append(run.seen)
        value = await run.block(ctx, random.Random(self.seed), "main", depth=3)
        run.see("main", "end", value)
        return value


class Run:
    """One run of the program, with what its coroutines share."""

    def __init__(self, story):
        self.body = story.body
        self.seen = []
        self.queue = asyncio.Queue()
        self.limit = asyncio.Semaphore(2)
        self.tasks = []

    def see(self, who, what, value=None):
        self.seen.append((who, what, repr(value)))

    async def block(self, ctx, draw, who, depth):
        numbers = []
        for number in range(draw.randint(1, 4)):
            at = f"{who}.{number}"
            verb = draw.choice(SIMPLE if depth == 0 else SIMPLE + NESTED)
            inner = random.Random(draw.random())
            try:
                value = await getattr(self, verb)(ctx, inner, at, depth - 1)
                numbers.append(value if isinstance(value, int) else 1)
                self.see(at, verb, value)
            except Exception as error:
                self.see(at, verb, type(error))
                if draw.random() < 0.3:
                    raise
            except Cancelled as told:
                self.see(at, verb, type(told))
                raise
            except asyncio.CancelledError:
                self.see(at, verb, "cancelled")
                if draw.random() < 0.4:
                    self.see(at, "cleaned up", await ctx.step("clean-up", lambda: 1))
                raise
        return sum(numbers)

    # -- simple things -----------------------------------------------------------------------------

    async def one_step(self, ctx, draw, at, depth):
        return await ctx.step(self.body, draw.randint(1, 30))

    async def undoable(self, ctx, draw, at, depth):
        return await ctx.step(self.body, draw.randint(1, 30), compensate=lambda value: None)

    async def sleep(self, ctx, draw, at, depth):
        await ctx.sleep(draw.randint(0, 50))

    async def signal(self, ctx, draw, at, depth):
        timeout = draw.choice([None, 30, 60])
        return await ctx.wait_for_signal(draw.choice(SIGNALS), timeout=timeout, default=5)

    async def facts(self, ctx, draw, at, depth):
        await ctx.note(at)
        return [await ctx.now(), ctx.random().random(), str(ctx.uuid4())]

    async def keep(self, ctx, draw, at, depth):
        await ctx.state.set(**{draw.choice("xyz"): draw.randint(1, 9)})
        return dict(ctx.state)

    async def look_up(self, ctx, draw, at, depth):
        return dict(ctx.state)

    async def until(self, ctx, draw, at, depth):
        wanted = draw.choice("xyz")
        holds = await ctx.wait_until(lambda state: wanted in state, timeout=draw.choice([20, 60]))
        return holds, dict(ctx.state)

    async def patch(self, ctx, draw, at, depth):
        return await ctx.patched(draw.choice("pq"))

    async def emit(self, ctx, draw, at, depth):
        await ctx.emit("told", at)

    async def say(self, ctx, draw, at, depth):
        self.queue.put_nowait(at)

    async def listen(self, ctx, draw, at, depth):
        return None if self.queue.empty() else self.queue.get_nowait()

    async def look(self, ctx, draw, at, depth):
        return len(self.seen), [task.done() for task in self.tasks]

    async def stop_another(self, ctx, draw, at, depth):
        if self.tasks:
            return draw.choice(self.tasks).cancel()

    # -- of several --------------------------------------------------------------------------------

    def some(self, ctx, draw, at, depth):
        return [self.block(ctx, random.Random(draw.random()), f"{at}/{i}", depth) for i in range(draw.randint(1, 3))]

    def begin(self, ctx, draw, at, depth):
        made = [asyncio.create_task(each) for each in self.some(ctx, draw, at, depth)]
        self.tasks += made
        return made

    async def gather(self, ctx, draw, at, depth):
        return sum(await asyncio.gather(*self.some(ctx, draw, at, depth)))

    async def gather_all(self, ctx, draw, at, depth):
        return [type(each) for each in await asyncio.gather(*self.some(ctx, draw, at, depth), return_exceptions=True)]

    async def gather_calls(self, ctx, draw, at, depth):
        return await asyncio.gather(ctx.sleep(20), ctx.step(self.body, draw.randint(1, 30)), ctx.note("x"))

    async def group(self, ctx, draw, at, depth):
        async with asyncio.TaskGroup() as tasks:
            for each in self.some(ctx, draw, at, depth):
                self.tasks.append(tasks.create_task(each))
            return await self.one_step(ctx, draw, at, depth)

    async def first(self, ctx, draw, at, depth):
        done, pending = await asyncio.wait(self.begin(ctx, draw, at, depth), return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            if draw.random() < 0.5:
                task.cancel()
        return [task.get_coro().__name__ for task in done], len(pending)

    async def as_they_come(self, ctx, draw, at, depth):
        outcomes = []
        for each in asyncio.as_completed(self.begin(ctx, draw, at, depth)):
            try:
                outcomes.append(await each)
            except Exception as error:
                outcomes.append(type(error))
        return outcomes

    async def leave_behind(self, ctx, draw, at, depth):
        return len(self.begin(ctx, draw, at, depth))

    async def limited(self, ctx, draw, at, depth):
        async with self.limit:
            await ctx.sleep(draw.randint(1, 30))
            return await self.one_step(ctx, draw, at, depth)

    async def parallel(self, ctx, draw, at, depth):
        """Its branches are made anew whenever it goes on, so they note nothing."""
        first, second = draw.randint(1, 30), draw.randint(1, 30)
        branches = {"a": lambda ctx: self.apart(ctx, first), "b": lambda ctx: self.apart(ctx, second)}
        return list(await ctx.parallel(branches))

    async def apart(self, ctx, number):
        _, value = await asyncio.gather(ctx.sleep(number), ctx.step(self.body, number))
        return await ctx.step(self.body, number + 1) if number % 2 else value

    async def loop(self, ctx, draw, at, depth):
        most = draw.randint(1, 3)
        return await ctx.loop("loop", lambda value: value < most, self.once_more, initial=0)

    async def once_more(self, ctx, value):
        await asyncio.gather(ctx.sleep(10), ctx.state.set(z=value))
        return value + 1

    async def wait_any(self, ctx, draw, at, depth):
        return await ctx.wait_any({"a": "red", "b": timedelta(seconds=draw.randint(1, 60))})

    async def race(self, ctx, draw, at, depth):
        return await ctx.race({"a": lambda ctx: ctx.sleep(25), "b": lambda ctx: ctx.wait_for_signal("red")})

    async def rollback(self, ctx, draw, at, depth):
        await ctx.rollback()


SIMPLE = [
    "one_step", "one_step", "one_step", "undoable", "sleep", "sleep", "signal", "signal", "facts", "say", "listen",
    "look", "stop_another", "keep", "look_up", "until", "patch", "emit",
]  # fmt: skip
NESTED = [
    "gather", "gather", "gather_all", "gather_calls", "group", "first", "as_they_come", "leave_behind", "limited",
    "parallel", "race", "rollback", "loop", "wait_any",
]  # fmt: skip


def play(durable, story, run):
    """News in any order, workers that die, time that goes by in hops."""
    for turn in range(40):
        with suppress(Killed):
            durable.run_until_idle()
        row = Execution.objects.get(pk=run.id)
        assert row.stuck_reason == "", row.waiting_for + str(row.error)[:600]
        if row.finished_at:
            return row
        if story.chance.random() < 0.4:
            client.signal(run, story.chance.choice(SIGNALS), turn)
        if turn == 20 and story.chance.random() < 0.3:
            client.cancel(run)
        with suppress(Killed):
            durable.advance(timedelta(seconds=story.chance.choice([1, 10, 31, 90])))
    for name in SIGNALS * 20:
        with suppress(Killed):
            client.signal(run, name, 0)
    with suppress(Killed):
        durable.advance(timedelta(hours=1))
    return Execution.objects.get(pk=run.id)


@pytest.mark.parametrize("seed", range(40))
def test_every_pass_goes_the_way_of_the_one_before(durable, seed):
    story = Story(seed, deaths=seed % 4)

    @workflow("flow")
    async def flow(ctx):
        return await story.run(ctx)

    run = flow.start()
    row = play(durable, story, run)
    live = story.passes
    for earlier, later in pairwise(live):
        assert later[: len(earlier)] == earlier
    for compared in story.dry:
        assert any(seen[: len(compared)] == compared for seen in live)
    if row.finished_at:
        assert not Step.objects.filter(execution_id=run.id).unsettled().exists()
    report = replay(export_history(run))
    assert report.fits, report.mismatch
    again = story.dry[-1]
    assert again == live[-1] if row.finished_at else again == live[-1][: len(again)]
