"""What claims, ticks, lists and searches take among many executions, most of which have ended."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from typing import Any

from django.db import connection

from benchmarks import crowd, database
from benchmarks.figures import Figure, Target, percentile
from benchmarks.measures import twins
from benchmarks.measures.quiet import without_hints
from benchmarks.sizes import Size
from django_durable import client
from django_durable.engine import claims
from django_durable.engine.pages import Place
from django_durable.engine.tick import tick
from django_durable.models import Execution
from tests.plans import Plan

SAME = Target(1.3, at_most=True)
FULL_TABLES = 10_000  # rows; fewer are rightly read through
LISTED = Target(200, of="value", at_most=True)


@without_hints
def find(size: Size) -> list[Figure]:
    """p95 of each. On PostgreSQL ends the process if one of them reads a table through."""
    database.clear()
    twins.prepare()
    crowd.fill(size)
    asked = questions(size)
    if connection.vendor == "postgresql" and size.ended >= FULL_TABLES:
        _refuse_to_read_through(asked)
    among = f"among {size.ended + size.asleep:,}"
    figures = []
    for name, (found, empty) in twins.probe(size.probes).items():
        figures.append(Figure(f"find, {name} {among}", "us", found, empty, SAME))
        figures.append(Figure(f"find, {name} p95 {among}", "us", [percentile(found, 95)], [percentile(empty, 95)]))
    for name, ask in asked.items():
        samples = [twins.timed(ask) for _ in range(size.probes)]
        figures.append(Figure(f"find, {name} p95", "ms", [percentile(samples, 95) / 1000], target=LISTED))
    database.clear()
    return figures


def questions(size: Size) -> dict[str, Callable[[], Any]]:
    """What people look for; for something else each time."""
    total = size.ended + size.asleep
    draw = random.Random(7).randrange
    middle = [Place.cursor(row) for row in Execution.objects.order_by("-created_at")[total // 2 : total // 2 + 20]]

    def one() -> int:
        """The number of an execution that has a key, a subject and labels."""
        return draw(total // 4) * 4 + 3

    return {
        "first page": client.page,
        "deep page": lambda: client.page(after=middle[draw(20)]),
        "first page, open": lambda: client.page(status="open"),
        "first page, failed": lambda: client.page(status="failed"),
        "deep page, completed": lambda: client.page(status="completed", after=middle[draw(20)]),
        "workflow": lambda: client.page(workflow=f"find.{draw(crowd.WORKFLOWS)}"),
        "workflow, failed": lambda: client.page(workflow=f"find.{draw(crowd.WORKFLOWS)}", status="failed"),
        "label of one": lambda: client.page(labels={"order": str(one())}),
        "label of many": lambda: client.page(labels={"tenant": f"tenant-{one() % crowd.TENANTS}"}),
        "label of many, failed": lambda: client.page(
            labels={"tenant": f"tenant-{one() % crowd.TENANTS}"}, status="failed"
        ),
        "label of none": lambda: client.page(labels={"order": "none"}),
        "subject": lambda: client.page(subject=f"shop.order:{one()}"),
        "key": lambda: client.page(key=f"order:{one()}"),
        "key prefix": lambda: client.page(key_prefix=f"order:{one()}"),
        "error class": lambda: client.page(error=f"shop.errors.Error{draw(crowd.ERRORS)}"),
        "any error": lambda: client.page(has_error=True),
        "waits for a time": lambda: client.page(waiting_for="sleep"),
        "waits for no such signal": lambda: client.page(waiting_for="signal never"),
        "count to 1,000": client.count,
        "count to 1,000, open": lambda: client.count(status="open"),
    }


def _refuse_to_read_through(asked: dict[str, Callable[[], Any]]) -> None:
    hot = {
        **asked,
        "claim": lambda: claims.take_next("default", using="default"),
        "tick": lambda: tick(using="default"),
    }
    for name, work in hot.items():
        plan = Plan()
        with connection.execute_wrapper(plan):
            work()
        if plan.tables_read_through:
            sys.exit(f"{name} reads through {', '.join(plan.tables_read_through)}")
