"""The measured workflows: plain steps that do nothing, so that only the engine is measured."""

from django_durable import Context, step, workflow


@step
def nothing(number: int) -> int:
    return number


@workflow("benchmarks.steps")
def steps(ctx: Context, count: int) -> int:
    for number in range(count):
        ctx.step(nothing, number)
    return count
