"""Thousands of items: what the parent's passes need of memory does not grow with them."""

import time
import tracemalloc

import pytest
from django.db import connection

from django_durable import client, step, workflow
from django_durable.engine import worker
from django_durable.models import Execution, FanOut, Timer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="one database is enough for what Python needs"),
    pytest.mark.usefixtures("polling"),
]
ITEMS = 3_000
MOST_BYTES = 9 * 1024 * 1024  # a pass that held all children as rows would need twice that


@step
def total(numbers):
    return sum(numbers)


def measured(run):
    """One pass of the parent: how long it took, and the most memory that Python held beside what it held before."""
    tracemalloc.start()
    began = time.monotonic()
    assert worker.advance_one(run.id, using="default")
    seconds, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"a pass of {seconds:.1f} s, {peak / 1024**2:.1f} MB at the most")
    return peak


def end_all(run):
    """All children end, as their own last transactions would have it: those are counted elsewhere."""
    children = Execution.objects.filter(parent=run.id)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE django_durable_execution SET status = 'completed', finished_at = now(), result = '[1,7]' "
            "WHERE parent_id = %s",
            [run.id],
        )
    Timer.objects.filter(execution__in=children)._raw_delete(using="default")
    FanOut.objects.all().delete()
    Timer.objects.filter(pk=run.id).bump()


@pytest.mark.parametrize("limit", [None])
def test_the_passes_of_the_parent_need_little_memory(limit):
    @workflow("large.item")
    def item(ctx, number):
        return number

    @workflow("large.map")
    def maps(ctx, count):
        numbers = ctx.map(item, range(count), concurrency=limit)
        added = ctx.step(total, numbers)
        ctx.wait_for_signal("go")
        return added

    run = maps.start(ITEMS)
    assert measured(run) < MOST_BYTES
    assert Execution.objects.filter(parent=run.id).count() == ITEMS
    assert Timer.objects.filter(execution__parent=run.id).due().count() == (limit or ITEMS)
    end_all(run)
    assert measured(run) < MOST_BYTES
    client.signal(run, "go")
    assert measured(run) < 1024 * 1024  # the replay reads none of them
    assert client.result(run) == 7 * ITEMS
