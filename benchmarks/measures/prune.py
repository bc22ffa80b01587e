"""What pruning does to the work that goes on beside it."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from django.conf import settings
from django.db import connection
from django.db.models import Count

from benchmarks import copies, crowd, database, workflows
from benchmarks.figures import Figure, Target
from benchmarks.sizes import Size
from benchmarks.workers import Worker
from django_durable.engine import payloads
from django_durable.models import Execution, OutboxEvent, SetAsideStep, Signal, Slot, Status, Step, Timer
from tests.invariants import check
from tests.ledger_app.ledger import Ledger

EXPIRED = "benchmarks.expired"
STEPS = 2  # of each execution of the load, and of each that is deleted
NONE = Target(0, of="value", at_most=True)


def prune(size: Size, worker: Worker) -> list[Figure]:
    """Executions per second while ``durable_prune`` deletes beside them; floor: the same load while it is halted.

    One round of each in turn, until all is deleted; then every invariant over all that is left, which is the load.
    """
    database.clear()
    _load(size, worker)
    _make_expired(size.expired, worker)
    process = _pruner()
    with_prune, without, deleted = [], [], []
    try:
        while process.poll() is None or not with_prune:
            _halt(process, signal.SIGSTOP)
            without.append(_load(size, worker))
            left, began = _left(), time.perf_counter()
            _halt(process, signal.SIGCONT)
            with_prune.append(_load(size, worker))
            deleted.append((left - _left()) / (time.perf_counter() - began))
    finally:
        process.kill()
    assert process.wait() == 0, "the prune failed"
    load = Execution.objects.count() - _left()
    violations = [*_of_invariants(), *_of_load(), *_of_prune()]
    print("\n".join(violations[:20]), end="\n" if violations else "", file=sys.stderr)
    database.clear()
    return [
        Figure("prune, load beside it", "executions/s", with_prune, without, Target(0.8)),
        Figure("prune, deleted", "executions/s", deleted),
        Figure("prune, violations", f"in {load:,} executions", [len(violations)], target=NONE),
    ]


def _load(size: Size, worker: Worker) -> float:
    started = [workflows.steps.start(STEPS).id for _ in range(size.executions)]
    ended_at = worker.finish(started)
    began_at = Execution.objects.filter(id__in=started).earliest("created_at").created_at
    return size.executions / (ended_at - began_at).total_seconds()


def _make_expired(wanted: int, worker: Worker) -> None:
    """Copies of one that has ended, with its checkpoints, in SQL."""
    template = workflows.steps.start(STEPS).id
    worker.finish([template])
    executions = connection.ops.quote_name(Execution._meta.db_table)
    steps = connection.ops.quote_name(Step._meta.db_table)
    one = f"WHERE {executions}.id = {copies.literal(template)}"
    copies.copy(Execution, {"id": copies.new_id(), "workflow": f"'{EXPIRED}'"}, one)
    while (missing := wanted - _left()) > 0:
        copies.copy(Execution, {"id": copies.new_id()}, f"WHERE workflow = '{EXPIRED}' LIMIT {missing}")
    bare = f"(SELECT id AS bare FROM {executions} WHERE workflow = '{EXPIRED}') s"
    own = f"WHERE {steps}.execution_id = {copies.literal(template)}"
    copies.copy(Step, {"id": copies.new_id(), "execution_id": "s.bare"}, own, f", {bare}")
    crowd.analyze(Execution, Step, Signal)


def _left() -> int:
    return Execution.objects.filter(workflow=EXPIRED).count()


def _pruner() -> subprocess.Popen[bytes]:
    """It has begun to delete when this returns, or has nothing left."""
    left = _left()
    command = ["manage.py", "durable_prune", "--workflow", EXPIRED, "--before", "2100-01-01T00:00:00+00:00"]
    connection.close()
    process = subprocess.Popen([sys.executable, *command], cwd=settings.BASE_DIR, stdout=subprocess.DEVNULL)
    while left and _left() == left and process.poll() is None:
        time.sleep(0.01)
    return process


def _halt(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        process.send_signal(number)


def _of_invariants() -> list[str]:
    """By the tables alone: the steps of the load leave no other witness."""
    with tempfile.TemporaryDirectory() as folder:
        return check("default", Ledger(Path(folder) / "ledger"))


def _of_load() -> Iterator[str]:
    """All have completed, with each of their checkpoints and the values that these were given."""
    load = Execution.objects.filter(workflow=workflows.steps.name)
    if badly := load.exclude(status=Status.COMPLETED).count():
        yield f"{badly} executions of the load did not complete"
    wanted = {
        (f"{workflows.nothing.name}{f'#{number + 1}' if number else ''}", payloads.dump(number)): load.count()
        for number in range(STEPS)
    }
    found = Step.objects.filter(execution__in=load).values_list("name", "result").annotate(Count("pk"))
    if (there := {(name, result): count for name, result, count in found.order_by()}) != wanted:
        yield f"the load has the checkpoints {there}, not {wanted}"


def _of_prune() -> Iterator[str]:
    """Everything that was expired is gone, with all that went with it."""
    if left := _left():
        yield f"{left} expired executions are left"
    present = Execution.objects.all()
    for model in (Timer, Step, Signal, SetAsideStep, OutboxEvent, Slot):
        if left := model._base_manager.exclude(execution__in=present).count():
            yield f"{left} rows of {model.__name__} have no execution"
