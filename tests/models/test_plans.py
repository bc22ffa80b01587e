"""How PostgreSQL answers the hot questions once the tables are full: by their index, never by reading a table.

What is explained is the statement that the code itself sends, caught at the cursor.
"""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from django.db import connection, transaction

from django_durable import client, clock
from django_durable.clock import now
from django_durable.engine import claims, deliveries, feed, history, retention, slots, statements, tick
from django_durable.engine.pages import Place
from django_durable.models import (
    AuditEntry,
    Delivery,
    Execution,
    LimitKey,
    LogLine,
    OutboxEvent,
    Priority,
    Schedule,
    ScheduleTick,
    SetAsideStep,
    Signal,
    Slot,
    Status,
    Step,
    Timer,
    WebhookDelivery,
    WebhookEndpoint,
)
from tests.models import rows
from tests.plans import Plan

pytestmark = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="plans are read on PostgreSQL, whose EXPLAIN is fit for a test"
)
MANY = 20_000


def fill(model, **columns):
    """Insert ``MANY`` rows, number n from 0; columns: SQL by field name, the others have their defaults.

    By the database itself: making as many instances takes longer than all plans together.
    """
    names, values, params = [], [], []
    for field in model._meta.concrete_fields:
        if field.name in columns or not field.null:
            names.append(connection.ops.quote_name(field.column))
            values.append(columns.get(field.name, "%s"))
        if field.name not in columns and not field.null:
            params.append(field.get_db_prep_save(field.get_default(), connection))
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} ({', '.join(names)}) "
            f"SELECT {', '.join(values)} FROM generate_series(0, {MANY - 1}) AS n",
            params,
        )
        cursor.execute(f"ANALYZE {table}")


def uuid_sql(number):
    return f"lpad(to_hex({number}), 32, '0')::uuid"


def uuid_of(number):
    return UUID(int=number)


def fill_all():
    """One in a hundred executions is open; 20 checkpoints and 20 signals each for every twentieth."""
    own, of_twentieth = {"id": uuid_sql("n")}, {"id": uuid_sql("n"), "execution": uuid_sql("n / 20 * 20")}
    fill(
        Execution,
        **own,
        workflow="'flow.' || n %% 200",
        key="'key ' || n",
        status="CASE n %% 100 WHEN 0 THEN 'sleeping' WHEN 1 THEN 'failed' ELSE 'completed' END",
        error_type="CASE n %% 100 WHEN 1 THEN 'shop.errors.Error' || n / 100 %% 5 ELSE '' END",
        labels="CASE n %% 4 WHEN 0 THEN jsonb_build_object('tenant', 't' || n %% 60, 'order', n::text) "
        "ELSE '{}'::jsonb END",
        key_scope="'flow.' || n %% 200",
        finished_at="CASE n %% 100 WHEN 0 THEN NULL ELSE now() END",
        created_at="now() - n * interval '1 second'",
        subject_type="'shop.order'",
        subject_id="n",
        parent=f"CASE WHEN n > 10 THEN {uuid_sql('n / 10')} END",
    )
    settled = {"status": "'completed'", "started_at": "now()", "finished_at": "now()"}
    fill(Step, **of_twentieth, **settled, position="n %% 20", name="'step ' || n %% 20", kind="'step'")
    fill(
        Signal,
        **of_twentieth,
        seq="n %% 20",
        name="'go'",
        consumed_by="CASE WHEN n %% 20 < 15 THEN 'signal:go' ELSE '' END",
        consumed_at="CASE WHEN n %% 20 < 15 THEN now() END",
    )
    fill(
        AuditEntry,
        **own,
        execution_id=uuid_sql("n"),
        kind="'completed'",
        created_at="now() - n * interval '1 second'",
        position=f"CASE WHEN n < {MANY - 20} THEN n + 1 END",
    )
    fill(
        LogLine,
        **of_twentieth,
        number="n %% 20",
        level="20",
        message="'said'",
        said_at="now() - n * interval '1 second'",
    )
    fill(OutboxEvent, **own, execution=uuid_sql("n"), name="'paid'", position=f"{MANY} + n")
    fill(
        Delivery,
        **own,
        event=uuid_sql("n"),
        receiver="'mail'",
        queue="'default'",
        status="CASE WHEN n %% 1000 = 0 THEN 'failed' WHEN n %% 50 = 0 THEN 'pending' ELSE 'delivered' END",
        due_at="CASE WHEN n %% 1000 <> 0 AND n %% 50 = 0 THEN now() + (n + 1) * interval '1 hour' END",
        delivered_at="CASE WHEN n %% 50 <> 0 THEN now() END",
    )
    fill(LimitKey, **own, name="'limit'", key="'key ' || n", capacity="1")
    fill(
        Slot,
        **own,
        limit=f"CASE WHEN n < {MANY // 2} THEN {uuid_sql('0')} ELSE {uuid_sql('n')} END",
        execution=uuid_sql("n"),
        granted="n < 5",
        fair="'key ' || n %% 10",
        turn="n",
    )
    later = "now() + (n + 1) * interval '1 hour'"
    fill(Schedule, **own, name="'every ' || n", next_at=later, due_at=later)
    fill_timers("3600 + n")


def fill_timers(seconds):
    """Timers of two queues and every priority, due in so many seconds (SQL); the last few are leased."""
    Timer.objects.all()._raw_delete(using="default")
    is_leased = f"n >= {MANY - 20}"
    fill(
        Timer,
        execution=uuid_sql("n"),
        queue="CASE n %% 2 WHEN 0 THEN 'default' ELSE 'mail' END",
        priority="n %% 3 + 1",
        due_at=f"now() + CASE WHEN {is_leased} THEN 60 ELSE {seconds} END * interval '1 second'",
        token=f"CASE WHEN {is_leased} THEN {uuid_sql('n')} END",
        holder=f"CASE WHEN {is_leased} THEN 'elsewhere:1:1' ELSE '' END",
    )


@pytest.fixture(scope="module")
def crowd(django_db_setup, django_db_blocker):
    """Full tables for this file, in a transaction that is never committed."""
    with django_db_blocker.unblock():
        with transaction.atomic():
            fill_all()
            yield
            transaction.set_rollback(True)
        connection.close()


@pytest.fixture
def backlog(crowd):
    """Everything is due, and so much that reading all of it would show."""
    with transaction.atomic():
        fill_timers("n - 100000")
        yield
        transaction.set_rollback(True)


@pytest.fixture
def explained():
    """Run something and give the plans of what it sent."""

    def explain(work, *args, **kwargs):
        plan = Plan()
        with connection.execute_wrapper(plan):
            work(*args, **kwargs)
        assert plan.nodes, "nothing was sent"
        return plan

    return explain


def listed(found):
    """The first page of a list."""
    return list(found[:50])


def test_a_table_that_is_read_through_shows(db, explained):
    """What all other tests lean on; its ``db`` also makes pytest-django create the database for this file alone."""
    assert explained(list, Timer.objects.filter(holder="x")).tables_read_through == [Timer._meta.db_table]


# -- the queue -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("due", ["nothing", "everything"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda: statements.find_due("default", "default"),
        lambda: claims.take_next("default", using="default"),
        lambda: statements.any_due("default", ["default", "mail"]),
    ],
    ids=["find_due", "take_next", "any_due"],
)
def test_what_is_due_is_found_at_the_head_of_the_index(request, explained, due, ask):
    request.getfixturevalue("crowd" if due == "nothing" else "backlog")
    plan = explained(ask)
    assert plan.tables_read_through == []
    assert plan.sorts == []
    assert "durable_timer_due" in plan.indexes


def test_what_is_due_soon_is_one_range_of_the_index(crowd, explained):
    plan = explained(tick.tick, using="default")
    assert plan.tables_read_through == []
    slots = {"durable_slot_once_each", "durable_slot_of_body"}
    schedules = {"durable_schedule_due", "durable_schedule_buffering"}
    assert plan.indexes == {"durable_timer_due", "durable_timer_leased", "durable_delivery_due", *slots, *schedules}


def test_every_priority_is_one_probe_of_the_index(crowd, explained):
    plan = explained(statements.find_due, "default", "default")
    probes = [node["Index Cond"] for node in plan.nodes if node.get("Index Name") == "durable_timer_due"]
    assert len(probes) == len(Priority)
    assert all(part in probe for probe in probes for part in ("queue", "priority", "due_at"))


def test_a_claim_by_id_reads_one_row(crowd, explained):
    plan = explained(claims.take, uuid_of(MANY // 2), using="default")
    assert plan.tables_read_through == []


def test_the_leases_of_the_dead_are_found_among_the_few_leases(crowd, explained):
    plan = explained(claims.release_dead, using="default")
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_timer_leased"}


def test_a_due_delivery_is_found_at_the_head_of_its_index(crowd, explained):
    plan = explained(deliveries.take_next, "default", using="default")
    assert plan.tables_read_through == []
    assert plan.sorts == []
    assert plan.indexes == {"durable_delivery_due"}


def test_the_failed_deliveries_are_found_among_the_few(crowd, explained):
    plan = explained(lambda: listed(Delivery.objects.filter(status="failed").order_by("-id")))
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_delivery_failed"}


def test_what_an_execution_has_emitted_is_found_by_its_index(crowd, explained):
    plan = explained(list, OutboxEvent.objects.filter(execution_id=uuid_of(100)))
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_event_by_execution"}


def test_what_has_no_position_yet_is_found_among_the_few(crowd, explained):
    plan = explained(lambda: [list(feed._unnumbered(table, "default")) for table in (AuditEntry, OutboxEvent)])
    assert plan.tables_read_through == []
    assert plan.sorts == []
    assert plan.indexes == {"durable_auditentry_unfed", "durable_outboxevent_unfed"}


def test_the_feed_is_read_on_by_its_indexes(crowd, explained):
    wanted = feed.Wanted()

    def read():
        for found in (wanted.audited("default"), wanted.emitted("default")):
            listed(found.filter(position__gt=MANY // 2, position__lte=2 * MANY).order_by("position"))

    plan = explained(read)
    assert plan.tables_read_through == []
    assert plan.sorts == []
    assert plan.indexes == {"durable_auditentry_position", "durable_outboxevent_position"}


# -- one execution -------------------------------------------------------------------------------------


def test_a_full_limit_is_read_by_its_index_however_many_wait(crowd, explained):
    plan = explained(slots.lock, uuid_of(0), using="default")
    assert plan.tables_read_through == []
    assert "durable_slot_next" in plan.indexes


def test_who_waits_for_a_slot_is_found_at_the_head_of_the_index(crowd, explained):
    plan = explained(lambda: Slot.objects.filter(limit=uuid_of(0)).waiting().next_first().first())
    assert (plan.tables_read_through, plan.sorts) == ([], [])
    assert plan.indexes == {"durable_slot_next"}


def test_the_next_turn_of_a_key_is_read_off_its_index(crowd, explained):
    use = slots.Use(uuid_of(0), datetime(2026, 3, 1, tzinfo=UTC), 0, 0, None, True)
    plan = explained(slots.place, uuid_of(1), use, "key 1", using="default")
    assert plan.tables_read_through == []
    assert "durable_slot_fair" in plan.indexes


def test_what_dead_bodies_have_held_is_found_among_the_few_that_bodies_hold(crowd, explained):
    plan = explained(slots.mend, using="default")
    assert plan.tables_read_through == []
    assert "durable_slot_of_body" in plan.indexes


def test_the_slot_of_a_step_is_found_by_the_execution(crowd, explained):
    wanted = {"limit": uuid_of(0), "execution": uuid_of(1), "step": "charge"}
    plan = explained(lambda: Slot.objects.filter(**wanted).first())
    assert (plan.tables_read_through, plan.indexes) == ([], {"durable_slot_once_each"})


def test_history_is_read_in_order_by_its_index(crowd, explained):
    plan = explained(history.load, uuid_of(20), using="default")
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_step_position"}


def test_the_inbox_is_read_by_its_index(crowd, explained):
    plan = explained(history.load_inbox, uuid_of(20), using="default")
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_signal_seq"}


def test_a_repeated_signal_is_found_by_its_id(crowd, explained):
    plan = explained(Signal.objects.filter(execution_id=uuid_of(MANY // 2), signal_id="once").exists)
    assert plan.tables_read_through == []


def test_the_audit_trail_of_one_execution_is_read_by_its_index(crowd, explained):
    plan = explained(list, AuditEntry.objects.about(uuid_of(MANY // 2)))
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_audit_by_execution"}


def test_the_log_lines_of_one_execution_are_read_by_their_index(crowd, explained):
    plan = explained(list, client.logs(uuid_of(MANY // 2 // 20 * 20)))
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_log_line_number"}


def test_old_log_lines_are_found_by_their_index(crowd, explained):
    old = clock.now() - timedelta(days=30)
    plan = explained(lambda: list(LogLine.objects.before(old).order_by("said_at").values_list("pk")[:50]))
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_log_line_said"}


def test_a_key_is_looked_up_by_its_index(crowd, explained):
    plan = explained(Execution.objects.filter(workflow="flow.7", key="key 7").first)
    assert plan.tables_read_through == []
    assert plan.indexes <= {"durable_execution_key", "durable_execution_by_key"}


# -- lists ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [Status.SLEEPING, Status.COMPLETED], ids=["few", "nearly all"])
def test_a_page_of_one_status_is_the_head_of_its_index(crowd, explained, status):
    plan = explained(lambda: listed(client.find(status=status)))
    assert plan.tables_read_through == []
    assert plan.sorts == []
    assert plan.indexes == {"durable_execution_by_status"}


def test_a_page_of_one_workflow_is_the_head_of_its_index(crowd, explained):
    plan = explained(lambda: listed(client.find(workflow="flow.7")))
    assert plan.tables_read_through == []
    assert plan.sorts == []
    assert plan.indexes == {"durable_execution_by_workflow"}


def named(asked):
    """The same in each process of xdist: no times."""
    return ", ".join(asked) or "all" if isinstance(asked, dict) else str(asked)


MIDDLE = Place.cursor(Execution(pk=uuid_of(MANY // 2), created_at=now() - timedelta(seconds=MANY // 2)))


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"after": MIDDLE},
        {"before": MIDDLE},
        {"status": "open"},
        {"status": ["closed", "stuck"], "after": MIDDLE},
        {"status": "completed", "after": MIDDLE},
        {"created_before": now() - timedelta(seconds=MANY // 2)},
        {"waiting_for": "signal"},
        {"queue": "default"},
    ],
    ids=named,
)
def test_a_page_is_read_from_the_index_of_each_status_in_its_order(crowd, explained, asked):
    plan = explained(client.page, **asked)
    assert plan.tables_read_through == []
    assert "durable_execution_by_status" in plan.indexes
    # What is sorted as a whole is the pages of all statuses, or few rows.
    assert all(node["Plan Rows"] < 51 * len(Status) for node in plan.nodes if node["Node Type"] == "Sort")


@pytest.mark.parametrize(
    ("asked", "index"),
    [
        ({"workflow": "flow.7", "after": MIDDLE}, "workflow"),
        ({"labels": {"order": "400"}}, "label"),
        ({"labels": {"order": "400", "tenant": "t40"}, "status": "closed"}, "label"),
        ({"labels": {"order": "none"}}, "label"),
        ({"key": "key 77"}, "key"),
        ({"key_prefix": "key 77"}, "key"),
        ({"key_prefix": "key 77", "workflow": "flow.7", "status": "open"}, "key"),
        ({"error": "shop.errors.Error3"}, "error"),
        ({"error": "shop.errors.Error3", "after": MIDDLE}, "error"),
        ({"error": "Error3"}, "error"),
        ({"has_error": True}, "error"),
        ({"subject": "shop.order:77"}, "subject"),
        ({"parent": uuid_of(100)}, "parent"),
        ({"root": uuid_of(5_000)}, "parent"),
    ],
    ids=named,
)
def test_a_page_of_few_is_found_by_the_index_of_what_they_have_in_common(crowd, explained, asked, index):
    plan = explained(client.page, **asked)
    assert plan.tables_read_through == []
    assert f"durable_execution_by_{index}" in plan.indexes


def test_the_beginning_of_an_id_is_a_range_of_the_primary_key(crowd, explained):
    plan = explained(client.page, id_prefix="01a2b3c4")
    assert plan.tables_read_through == []
    assert any(
        "id >=" in range_ and "id <=" in range_ for range_ in (node.get("Index Cond", "") for node in plan.nodes)
    )


@pytest.mark.parametrize("asked", [{"labels": {"order": "400"}}, {"status": "failed"}, {"key_prefix": "key 77"}])
def test_a_count_reads_no_table_through(crowd, explained, asked):
    assert explained(client.count, **asked).tables_read_through == []


def test_what_is_about_a_row_is_found_by_its_index(crowd, explained):
    plan = explained(list, client.find(subject="shop.order:77"))
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_execution_by_subject"}


def test_children_are_found_by_their_parent(crowd, explained):
    plan = explained(list, Execution.objects.filter(parent_id=uuid_of(100)))
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_execution_by_parent"}


def test_the_running_are_found_from_the_few_leases(crowd, explained):
    plan = explained(lambda: listed(client.find(status=Status.RUNNING)))
    assert "django_durable_execution" not in plan.tables_read_through
    assert "durable_timer_leased" in plan.indexes


def test_the_latest_audit_entries_are_the_head_of_their_index(crowd, explained):
    plan = explained(lambda: listed(AuditEntry.objects.order_by("-created_at")))
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_audit_latest"}


def test_due_schedules_are_found_by_their_index(crowd, explained):
    plan = explained(list, Schedule.objects.due())
    assert plan.tables_read_through == []
    assert plan.indexes == {"durable_schedule_due"}


def test_an_idle_tick_asks_about_schedules_by_their_indexes(crowd, explained):
    """Whatever their number: the head of each index."""
    further = {"schedules": statements.any_schedule("default")}
    plan = explained(lambda: statements.any_due("default", [], also=further))
    assert plan.tables_read_through == []
    assert plan.sorts == []
    assert plan.indexes == {"durable_schedule_due", "durable_schedule_buffering"}


# -- retention -----------------------------------------------------------------------------------------


@pytest.fixture
def keeping_nothing(settings):
    settings.DURABLE = {"RETENTION": timedelta(0), "AUDIT_RETENTION": timedelta(0)}


def test_what_is_expired_is_found_at_the_head_of_its_index(crowd, explained, keeping_nothing):
    plan = explained(retention.find, retention.Wanted(workflow="flow.3", status="completed"), size=20, using="default")
    assert plan.tables_read_through == []
    assert plan.sorts == []
    assert "durable_execution_ended" in plan.indexes


def test_what_webhooks_have_not_told_is_asked_by_indexes(crowd, explained, settings):
    settings.DURABLE = {"RETENTION": timedelta(0), "WEBHOOK_QUEUE": "default"}
    rows.endpoint(include_payload=True, position=10**9)
    plan = explained(retention.find, retention.Wanted(workflow="flow.3", status="completed"), size=20, using="default")
    assert set(plan.tables_read_through) <= {WebhookDelivery._meta.db_table, WebhookEndpoint._meta.db_table}  # empty
    assert "durable_execution_ended" in plan.indexes


def test_the_names_of_workflows_are_probes_of_an_index(crowd, explained):
    plan = explained(list, retention._names("default"))
    assert plan.tables_read_through == []
    assert len(plan.nodes) < 1000


def test_a_batch_is_deleted_by_indexes(crowd, explained):
    with transaction.atomic():
        plan = explained(retention._delete, [uuid_of(n) for n in range(101, 106)], "default")
        transaction.set_rollback(True)
    empty = {ScheduleTick._meta.db_table, SetAsideStep._meta.db_table}
    assert set(plan.tables_read_through) <= empty


def test_old_audit_entries_are_found_by_their_index(crowd, explained, keeping_nothing):
    with transaction.atomic():
        plan = explained(retention.prune_audit, size=20, using="default")
        transaction.set_rollback(True)
    assert plan.tables_read_through == []
    assert "durable_audit_latest" in plan.indexes
