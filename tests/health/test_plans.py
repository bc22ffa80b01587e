"""The report beside full tables: no question of it reads one, on PostgreSQL."""

import pytest
from django.db import connection, transaction

from django_durable import clock, health
from django_durable.conf import get_settings
from django_durable.health import executions, nodes, tables, work
from django_durable.health.look import Look
from django_durable.models import Delivery, Execution, Timer
from tests.models.test_plans import backlog, crowd, explained

__all__ = ["backlog", "crowd", "explained"]

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="plans are read on PostgreSQL, whose EXPLAIN is fit for a test"
)
SMALL = {"django_durable_node"}  # a row for each worker
OURS = {model._meta.db_table for model in (Execution, Timer, Delivery)} | {"django_durable_step"}
PROBES = [
    nodes.find_tick,
    nodes.find_workers,
    nodes.find_versions,
    work.find_due,
    work.find_deliveries,
    executions.find_stuck,
    executions.find_no_worker,
    executions.find_retrying,
    executions.find_compensation_failed,
    tables.find_sizes,
    tables.find_dead_rows,
    tables.find_long_transactions,
]


@pytest.fixture
def undone(crowd):
    """What the test changes in the full tables is taken back."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def ask(probe):
    look = Look(using="default", settings=get_settings(), now=clock.now())
    return list(probe(look))


def test_every_question_to_the_tables_is_explained_here():
    asked = {
        probe
        for probe in health.PROBES
        if probe.__module__.rpartition(".")[2] in {"nodes", "work", "executions", "tables"}
    }
    assert set(PROBES) == asked


@pytest.mark.parametrize("due", ["nothing", "everything"])
@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.__name__)
def test_no_question_reads_a_table_through(request, explained, due, probe):
    request.getfixturevalue("crowd" if due == "nothing" else "backlog")
    plan = explained(ask, probe)
    assert OURS.isdisjoint(plan.tables_read_through)


@pytest.mark.parametrize("status", ["stuck", "retrying", "compensation_failed"])
def test_nor_does_it_when_very_many_are_in_trouble(crowd, undone, explained, status):
    reason = "poison" if status == "stuck" else ""
    ended = clock.now() if status == "compensation_failed" else None
    Execution.objects.filter(status="sleeping").update(status=status, stuck_reason=reason, finished_at=ended)
    for probe in (executions.find_stuck, executions.find_retrying, executions.find_compensation_failed):
        plan = explained(ask, probe)
        assert OURS.isdisjoint(plan.tables_read_through)


def test_a_backlog_is_counted_up_to_a_bound(backlog, monkeypatch):
    monkeypatch.setattr(work, "MOST_COUNTED", 100)
    found = [finding for finding in ask(work.find_due) if finding.data.get("queue") == "default"]
    assert {finding.data["due_on_queue"] for finding in found} == {100}
