"""PostgreSQL: hot statements are prepared on the server's own connections, and planned anew from time to time."""

import os

import pytest
from django.db import connection, connections, transaction
from django.db.transaction import TransactionManagementError

from django_durable import clock
from django_durable.engine import prepared
from django_durable.engine.prepared import hot_cursor
from django_durable.models import Execution, Timer
from tests.authoring import Deployed, no_op
from tests.pgbouncer import TELLS

pytestmark = [
    pytest.mark.skipif("connection.vendor != 'postgresql'", reason="the others have no plans to keep"),
    pytest.mark.django_db(transaction=True),
]
directly = pytest.mark.skipif(TELLS in os.environ, reason="PgBouncer: nothing is prepared")
BY_ID = "SELECT wake_seq FROM django_durable_timer WHERE execution_id = %s"


@pytest.fixture(autouse=True)
def new_connection():
    """What was prepared on the one before does not count."""
    connection.close()
    yield
    connection.close()


def names():
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, statement FROM pg_prepared_statements WHERE statement LIKE '%durable%'")
        return {name for name, statement in cursor.fetchall() if "pg_prepared_statements" not in statement}


def ask(execution_id, times=3):
    for _ in range(times):
        with hot_cursor(connection) as cursor:
            cursor.execute(BY_ID, [execution_id])
            cursor.fetchone()


@directly
def test_the_hot_statements_are_prepared_at_their_second_run(durable):
    flow = Deployed("flow", no_op).workflow
    flow.start()
    assert names() == set()
    for _ in range(3):
        flow.start()
    assert len(names()) == 1


@pytest.mark.skipif(TELLS not in os.environ, reason="needs PgBouncer")
def test_through_a_pool_nothing_is_prepared(durable):
    flow = Deployed("flow", no_op).workflow
    for _ in range(3):
        flow.start()
    assert names() == set()
    assert connection.connection.prepare_threshold is None


def test_the_projects_own_wish_goes_first(durable, monkeypatch):
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "server_side_binding", True)
    ask(Deployed("flow", no_op).workflow.start().id)
    assert names() == set()


@directly
def test_plans_are_made_anew_after_a_while(durable, monkeypatch):
    run = Deployed("flow", no_op).workflow.start()
    ask(run.id)
    before = names()
    later = clock.process_seconds() + prepared.PLANS_LIVE_SECONDS + 1
    monkeypatch.setattr(clock, "process_seconds", lambda: later)
    ask(run.id)
    assert before
    assert names()
    assert not before & names()


@directly
def test_plans_are_made_anew_also_when_there_were_none_before(durable, monkeypatch):
    """As after a rollback, which has the driver forget all: the second DEALLOCATE went unnoticed by it."""
    run = Deployed("flow", no_op).workflow.start()
    start = clock.process_seconds()
    for number, times in enumerate([1, 1, 3, 3, 3]):
        later = start + number * (prepared.PLANS_LIVE_SECONDS + 1)
        monkeypatch.setattr(clock, "process_seconds", lambda later=later: later)
        ask(run.id, times)
    assert names()


@directly
def test_a_plan_of_an_empty_table_does_not_outlive_its_time(durable, monkeypatch):
    """The planner reads an empty table from end to end, and a kept plan goes on doing so when the table is full."""
    run = Deployed("flow", no_op).workflow.start()
    Timer.objects.all().delete()
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) django_durable_timer")
    ask(run.id, times=8)
    executions = [Execution(workflow="flow", input="[1,null]") for _ in range(2000)]
    Execution.objects.bulk_create(executions)
    Timer.objects.bulk_create(Timer(execution=execution, queue="default") for execution in executions)
    assert "Seq Scan" in plan(run.id)
    later = clock.process_seconds() + prepared.PLANS_LIVE_SECONDS + 1
    monkeypatch.setattr(clock, "process_seconds", lambda: later)
    ask(run.id)
    assert "Index Scan" in plan(run.id)


def plan(execution_id):
    (name,) = {name for name in names() if statement_of(name).startswith("SELECT wake_seq")}
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN EXECUTE {name}('{execution_id}')")
        return "\n".join(row[0] for row in cursor.fetchall())


def statement_of(name):
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE name = %s", [name])
        return cursor.fetchone()[0]


def test_a_broken_transaction_is_refused_as_django_does(durable):
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(TransactionManagementError), hot_cursor(connection) as cursor:
            cursor.execute("SELECT 1")


def test_the_log_of_queries_shows_them_with_their_parameters(durable, django_assert_num_queries):
    run = Deployed("flow", no_op).workflow.start()
    with django_assert_num_queries(3) as logged:
        ask(run.id)
    assert all(run.id.hex in query["sql"] for query in logged)


def test_a_statement_is_seen_by_the_wrappers_of_its_connection(durable):
    seen = []

    def wrapper(execute, sql, params, many, context):
        seen.append(sql)
        return execute(sql, params, many, context)

    run = Deployed("flow", no_op).workflow.start()
    with connections["default"].execute_wrapper(wrapper):
        ask(run.id, times=1)
    assert seen == [BY_ID]
