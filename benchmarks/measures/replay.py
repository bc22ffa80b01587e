"""What meeting a recorded step again costs, and whether a long history costs more per step than a short one."""

from __future__ import annotations

import time
from uuid import UUID

from django.db import connection
from django.test.utils import CaptureQueriesContext

from benchmarks import database, workflows
from benchmarks.figures import Figure, Target
from benchmarks.measures.quiet import without_hints
from benchmarks.sizes import Size
from django_durable.clock import DatabaseNow
from django_durable.engine import worker
from django_durable.models import Timer


@without_hints
def replay(size: Size) -> list[Figure]:
    """A pass over n recorded steps that parks again, less a pass over none."""
    database.clear()
    lengths = (0, *size.histories)
    waiting = {length: workflows.replayed.start(length).id for length in lengths}
    seconds: dict[int, list[float]] = {length: [] for length in lengths}
    for execution_id in waiting.values():
        worker.advance_one(execution_id, using="default")  # records the history
    for _ in range(size.rounds):
        for length, execution_id in waiting.items():
            seconds[length].append(_pass(execution_id))
    micros = {
        length: [(whole - empty) * 1e6 / length for whole, empty in zip(seconds[length], seconds[0], strict=True)]
        for length in size.histories
    }
    at_most = Target(40, of="value", at_most=True)
    *_, middle, longest = size.histories
    return [
        *(Figure(f"replay of {length:,}", "us/step", found, target=at_most) for length, found in micros.items()),
        Figure("replay, linear", "us/step", micros[longest], micros[middle], Target(1.3, at_most=True)),
        Figure("replay, queries", "", [_queries(waiting[longest])], target=Target(3, of="value", at_most=True)),
    ]


def _pass(execution_id: UUID) -> float:
    Timer.objects.filter(pk=execution_id).update(due_at=DatabaseNow())
    began = time.perf_counter()
    if not worker.advance_one(execution_id, using="default"):
        raise SystemExit("the execution to replay was not due")
    return time.perf_counter() - began


def _queries(execution_id: UUID) -> int:
    """Statements until everything is read, the claim included; what follows them parks it again."""
    with CaptureQueriesContext(connection) as queries:
        _pass(execution_id)
    own = [query["sql"] for query in queries.captured_queries][1:]  # the first made it due
    statements = [sql for sql in own if sql.split()[0] not in {"BEGIN", "COMMIT", "START", "SET"}]
    return max(number for number, sql in enumerate(statements, 1) if sql.startswith("SELECT"))
