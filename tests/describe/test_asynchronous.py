"""Async workflows are read like plain ones."""

import asyncio

from tests.describe.shapes import outline, text


def charge(): ...
def ship(): ...


async def deliver(ctx):
    await ctx.step(ship)


def test_awaited_calls_and_what_is_gathered():
    async def flow(ctx):
        async def wait(ctx):
            await ctx.sleep(5)

        await ctx.step(charge)
        await asyncio.gather(deliver(ctx), ctx.wait_for_signal("go"))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait(ctx))
        await ctx.parallel({"a": wait})

    assert outline(flow) == text(
        """
        step charge
        gather:
            deliver(ctx):
                helper deliver(ctx):
                    step ship
            ctx.wait_for_signal('go'):
                waitForSignal signal:go
        async with asyncio.TaskGroup() as tasks:
            helper wait(ctx):
                sleep duration=5
        parallel:
            a:
                sleep duration=5
        """
    )
