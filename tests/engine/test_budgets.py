"""The budgets of the design, counted on PostgreSQL: statements, commits, and commits that wait for the disk.

Counted at the database's own seam. Not counted as statements: BEGIN, COMMIT, SET and savepoints. A commit is the end
of a transaction, or of a statement outside of one, that wrote something.
"""

from dataclasses import dataclass, field
from unittest import mock

import pytest
from django.db import connection, transaction

from django_durable import client, on_event, step, workflow
from django_durable.engine import worker
from django_durable.engine.tick import tick
from django_durable.models import Execution, Step

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        "connection.vendor != 'postgresql'", reason="budgets are set for PostgreSQL, which has RETURNING"
    ),
    pytest.mark.usefixtures("polling"),
]
NOT_COUNTED = ("SAVEPOINT", "RELEASE", "ROLLBACK", "SET ")
WRITES = ("INSERT", "UPDATE", "DELETE", "WITH")


@dataclass
class Costs:
    statements: list[str] = field(default_factory=list)
    commits: int = 0
    waiting: int = 0  # for the disk
    _open_wrote: bool = False

    def execute(self, execute, sql, params, many, context):
        answer = execute(sql, params, many, context)
        if not sql.startswith(NOT_COUNTED):
            self.statements.append(sql)
        if sql.startswith(WRITES):
            if connection.in_atomic_block:
                self._open_wrote = True
            elif context["cursor"].rowcount:
                self.commits += 1
                self.waiting += "'synchronous_commit', 'off'" not in sql
        return answer

    def commit(self):
        self.commits += self._open_wrote
        self.waiting += self._open_wrote
        self._open_wrote = False


@pytest.fixture
def count():
    connection.ensure_connection()

    def counted(work, *args, **kwargs):
        costs = Costs()
        real = connection._commit

        def commit():
            real()
            costs.commit()

        with connection.execute_wrapper(costs.execute), mock.patch.object(connection, "_commit", commit):
            work(*args, **kwargs)
        return costs

    return counted


@step
def nothing(number):
    return number


@pytest.fixture
def steps():
    @workflow("budget.steps")
    def steps(ctx, count):
        return [ctx.step(nothing, number) for number in range(count)]

    return steps


def test_a_start_is_one_statement_and_one_commit(count, steps):
    costs = count(steps.start, 3)
    assert (len(costs.statements), costs.commits) == (1, 1)


def test_a_start_in_the_callers_transaction_adds_no_commit(count, steps):
    def start():
        with transaction.atomic():
            steps.start(3)
            steps.start(4)

    costs = count(start)
    assert (len(costs.statements), costs.commits) == (2, 1)


@pytest.mark.parametrize("number", [1, 10, 50])
def test_a_whole_run_of_n_steps_keeps_its_budget(count, steps, number):
    def run():
        execution = steps.start(number)
        worker.advance_one(execution.id, using="default")
        worker.drain("default", using="default")  # what Celery's task does next: finds nothing

    costs = count(run)
    assert Execution.objects.get().status == "completed"
    assert len(costs.statements) <= number + 8
    assert costs.commits <= number + 3
    assert costs.waiting <= number + 2


def test_a_replayed_step_costs_nothing(count):
    @workflow("budget.replayed")
    def replayed(ctx, number):
        for index in range(number):
            ctx.step(nothing, index)
        ctx.wait_for_signal("go")

    def woken(number):
        execution = replayed.start(number)
        worker.advance_one(execution.id, using="default")
        client.signal(execution, "go")
        return count(worker.advance_one, execution.id, using="default")

    few, many = woken(1), woken(60)
    assert Step.objects.filter(kind="step").count() == 61
    assert (len(few.statements), few.commits, few.waiting) == (len(many.statements), many.commits, many.waiting)


def test_a_signal_is_one_statement_and_one_commit(count):
    @workflow("budget.signal")
    def waits(ctx):
        ctx.wait_for_signal("go")

    execution = waits.start()
    worker.advance_one(execution.id, using="default")
    costs = count(client.signal, execution, "go", {"by": "ada"})
    assert (len(costs.statements), costs.commits, costs.waiting) == (1, 1, 1)


def test_a_signal_with_start_is_two_statements_and_one_commit(count):
    @workflow("budget.with_start")
    def waits(ctx):
        ctx.wait_for_signal("go")

    costs = count(client.signal_with_start, waits.using(key="k").prepare(), "go", {"by": "ada"})
    assert (len(costs.statements), costs.commits, costs.waiting) == (2, 1, 1)


def test_a_token_is_used_for_two_reads_beside_the_signal(count):
    tokens = []

    @workflow("budget.token")
    def asks(ctx):
        tokens.append(ctx.signal_token("go", expires=60))
        ctx.wait_for_signal("go")

    worker.advance_one(asks.start().id, using="default")
    costs = count(client.signal_by_token, tokens[0], "go", {"by": "ada"})
    assert (len(costs.statements), costs.commits, costs.waiting) == (3, 1, 1)


def test_an_event_costs_one_commit_more_and_its_delivery_two(count):
    @workflow("budget.emits")
    def emits(ctx, events):
        for number in range(events):
            ctx.emit("budget.event", number)

    def run(events):
        worker.advance_one(emits.start(events).id, using="default")

    on_event("budget.event", name="receiver")(nothing)
    emitting = count(run, 3)
    assert emitting.commits - count(run, 0).commits == 3
    delivering = count(worker.drain, "default", using="default")
    assert delivering.commits == 2 * 3
    assert len(delivering.statements) <= 4 * 3 + 2  # what is due, lease, read, settle; and that nothing more is due


def test_an_idle_second_costs_four_statements_however_many_sleep(count):
    @workflow("budget.sleeper")
    def sleeper(ctx):
        ctx.sleep(3600)

    for _ in range(200):
        sleeper.start()
    worker.drain("default", using="default", seconds=60)
    assert Execution.objects.filter(status="sleeping").count() == 200
    costs = count(tick, using="default")
    assert len(costs.statements) <= 4
    assert costs.commits == 0
