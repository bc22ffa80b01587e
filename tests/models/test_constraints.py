"""Rows that must not exist are refused by the database itself, whoever writes them."""

from contextlib import contextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from django.apps import apps
from django.db import IntegrityError, OperationalError, connection, models, transaction

from django_durable.models import (
    CLOSED,
    SETTLED,
    Execution,
    Signal,
    Status,
    Step,
    StepStatus,
    StuckReason,
    TickOutcome,
    Timer,
)
from django_durable.models.execution import STORED
from tests.models import rows
from tests.models.rows import AT, HOUR, LEASE

pytestmark = pytest.mark.django_db

# MariaDB answers a broken CHECK with error 4025, which Django takes for an operational one.
REFUSAL = (IntegrityError, OperationalError) if connection.vendor == "mysql" else IntegrityError
OPEN = sorted(STORED - CLOSED - {Status.STUCK})
UNSETTLED = sorted(set(StepStatus) - SETTLED)
CONSTRAINTS = {
    constraint.name: (model, constraint)
    for model in apps.get_app_config("django_durable").get_models()
    for constraint in model._meta.constraints
}


@contextmanager
def refused_by(name):
    """The database refuses what is done here, and names that constraint."""
    model, constraint = CONSTRAINTS[name]
    told = name
    if connection.vendor == "sqlite" and isinstance(constraint, models.UniqueConstraint):
        columns = [model._meta.get_field(field).column for field in constraint.fields]
        told = ", ".join(f"{model._meta.db_table}.{column}" for column in columns)
    with pytest.raises(REFUSAL) as caught, transaction.atomic():
        yield
    assert told in str(caught.value)


# -- executions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", OPEN)
def test_every_open_status_is_stored_without_an_end(status):
    assert rows.execution(status=status).pk


@pytest.mark.parametrize("status", sorted(CLOSED))
def test_every_closed_status_is_stored_with_an_end(status):
    assert rows.closed(status).pk


@pytest.mark.parametrize("reason", sorted(StuckReason))
def test_a_stuck_execution_is_stored_with_its_reason(reason):
    assert rows.execution(status=Status.STUCK, stuck_reason=reason).pk


@pytest.mark.parametrize("status", [Status.RUNNING, "", "done"], ids=["running", "empty", "unknown"])
def test_a_status_that_is_never_stored_is_refused(status):
    with refused_by("durable_execution_status"):
        rows.execution(status=status)


@pytest.mark.parametrize("status", sorted(CLOSED))
def test_a_closed_execution_without_an_end_is_refused(status):
    with refused_by("durable_execution_finished_iff_closed"):
        rows.execution(status=status)


@pytest.mark.parametrize("status", OPEN)
def test_an_open_execution_with_an_end_is_refused(status):
    with refused_by("durable_execution_finished_iff_closed"):
        rows.execution(status=status, finished_at=AT)


def test_a_stuck_execution_without_a_reason_is_refused():
    with refused_by("durable_execution_reason_iff_stuck"):
        rows.execution(status=Status.STUCK)


@pytest.mark.parametrize("status", OPEN)
def test_a_reason_without_being_stuck_is_refused(status):
    with refused_by("durable_execution_reason_iff_stuck"):
        rows.execution(status=status, stuck_reason=StuckReason.POISON)


def test_an_update_is_held_to_the_same_rules_as_an_insert():
    execution = rows.execution()
    with refused_by("durable_execution_finished_iff_closed"):
        Execution.objects.filter(pk=execution.pk).update(status=Status.FAILED)
    execution.refresh_from_db()
    assert execution.status == Status.PENDING


def test_a_key_is_taken_once_per_workflow():
    rows.execution(workflow="a", key="k")
    rows.execution(workflow="b", key="k")
    with refused_by("durable_execution_key"):
        rows.execution(workflow="a", key="k")


def test_a_key_stays_taken_after_the_end():
    rows.closed(workflow="a", key="k")
    with refused_by("durable_execution_key"):
        rows.execution(workflow="a", key="k")


def test_a_scope_may_be_shared_and_a_key_given_up():
    rows.execution(workflow="a", key="k", key_scope="order")
    with refused_by("durable_execution_key"):
        rows.execution(workflow="b", key="k", key_scope="order")
    for _ in range(2):
        rows.closed(workflow="a", key="k", key_scope=None)


def test_nothing_is_held_without_a_key():
    with refused_by("durable_execution_scope_of_key"):
        rows.execution(key=None, key_scope="order")


def test_one_execution_of_a_workflow_is_the_last_one_of_its_coalescing_key():
    rows.execution(workflow="a", coalesce_key="k")
    rows.execution(workflow="b", coalesce_key="k")
    rows.execution(workflow="a")
    with refused_by("durable_execution_coalesce"):
        rows.execution(workflow="a", coalesce_key="k")


def test_any_number_of_executions_have_no_key():
    rows.execution()
    assert rows.execution().pk


@pytest.mark.parametrize("other", ["order", "Ordér", "Order "])
def test_keys_that_look_alike_are_two_keys(other):
    rows.execution(key="Order")
    assert rows.execution(key=other).pk


# -- timers --------------------------------------------------------------------------------------------


def test_a_whole_lease_and_no_lease_are_stored():
    rows.leased()
    rows.timer()
    rows.timer(due_at=None)
    assert Timer.objects.count() == 3


@pytest.mark.parametrize(
    "values",
    [
        {**LEASE, "token": None},
        {**LEASE, "token": uuid4(), "holder": ""},
        {**LEASE, "token": uuid4(), "due_at": None},
    ],
    ids=["holder without token", "token without holder", "token without end"],
)
def test_half_a_lease_is_refused(values):
    with refused_by("durable_timer_lease_whole"):
        rows.timer(**values)


def test_an_execution_has_one_timer():
    execution = rows.timer().execution
    with pytest.raises(IntegrityError), transaction.atomic():
        rows.timer(execution)


# -- history -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", sorted(StepStatus))
def test_every_step_status_is_stored(status):
    assert rows.step(status=status, finished_at=AT if status in SETTLED else None).pk


def test_an_unknown_step_status_is_refused():
    with refused_by("durable_step_status"):
        rows.step(status="done")


@pytest.mark.parametrize("status", sorted(SETTLED))
def test_a_settled_step_without_an_end_is_refused(status):
    with refused_by("durable_step_finished_iff_settled"):
        rows.step(status=status, finished_at=None)


@pytest.mark.parametrize("status", UNSETTLED)
def test_an_unsettled_step_with_an_end_is_refused(status):
    with refused_by("durable_step_finished_iff_settled"):
        rows.step(status=status, finished_at=AT)


def test_a_position_is_taken_once_per_execution():
    first = rows.step(position=3)
    rows.step(position=3)
    with refused_by("durable_step_position"):
        rows.step(first.execution, position=3)


def test_deleting_an_execution_deletes_its_steps():
    """By the ORM: there is no foreign key in the database that would."""
    kept = rows.step()
    rows.step().execution.delete()
    assert list(Step.objects.values_list("pk", flat=True)) == [kept.pk]


def test_step_ids_that_differ_in_case_are_two_steps():
    first = rows.step(name="Charge")
    assert rows.step(first.execution, name="charge").pk


# -- signals -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [{"consumed_by": "signal:go"}, {"consumed_at": AT}],
    ids=["by without at", "at without by"],
)
def test_half_a_consumption_is_refused(values):
    with refused_by("durable_signal_consumed_whole"):
        rows.signal(**values)


def test_a_signal_is_stored_pending_and_consumed():
    rows.signal()
    rows.signal(consumed_by="signal:go", consumed_at=AT)
    assert Signal.objects.count() == 2


def test_an_order_number_is_taken_once_per_execution():
    first = rows.signal(seq=1)
    rows.signal(seq=1)
    with refused_by("durable_signal_seq"):
        rows.signal(first.execution, seq=1)


def test_a_signal_id_is_taken_once_per_execution():
    first = rows.signal(signal_id="mail-7")
    rows.signal(signal_id="mail-7")
    with refused_by("durable_signal_once"):
        rows.signal(first.execution, signal_id="mail-7")


def test_any_number_of_signals_have_no_id():
    first = rows.signal()
    assert rows.signal(first.execution).pk


# -- schedules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "values"),
    [
        ("active", {"next_at": None, "due_at": None}),
        ("active", {"due_at": None}),
        ("paused", {"paused_at": AT}),
        ("ended", {"due_at": None}),
        ("over", {}),
    ],
)
def test_a_schedule_is_due_iff_it_is_active(status, values):
    with refused_by("durable_schedule_due_iff_active"):
        rows.schedule(status=status, **values)


def test_schedules_that_are_not_active_have_no_due_time():
    assert rows.schedule(status="paused", paused_at=AT, due_at=None).pk
    assert rows.schedule(status="ended", next_at=None, due_at=None).pk


def test_a_schedule_says_when_it_was_paused_iff_it_is():
    with refused_by("durable_schedule_paused_whole"):
        rows.schedule(status="paused", due_at=None)
    with refused_by("durable_schedule_paused_whole"):
        rows.schedule(paused_at=AT)


def test_no_schedule_is_due_before_its_next_time():
    with refused_by("durable_schedule_not_early"):
        rows.schedule(due_at=AT - HOUR)


@pytest.mark.parametrize(
    ("field", "constraint"), [("overlap", "durable_schedule_overlap"), ("catch_up", "durable_schedule_catch_up")]
)
def test_the_policies_of_a_schedule_are_known_ones(field, constraint):
    with refused_by(constraint):
        rows.schedule(**{field: "perhaps"})


def test_the_kind_of_a_tick_is_a_known_one():
    with refused_by("durable_tick_kind"):
        rows.tick(kind="by chance")


@pytest.mark.parametrize(
    "values",
    [
        {"outcome": "skipped", "live": True},
        {"outcome": "buffered"},
        {"outcome": "failed", "live": True},
    ],
)
def test_a_tick_is_live_only_while_something_may_come_of_it(values):
    with refused_by("durable_tick_live_iff_open"):
        rows.tick(**values)


def test_only_a_started_tick_has_an_execution():
    with refused_by("durable_tick_execution_iff_started"):
        rows.tick(outcome="skipped", execution=rows.execution())


@pytest.mark.parametrize("values", [{"count": 2}, {"until_at": AT}, {"count": 0}])
def test_a_tick_that_stands_for_many_says_how_many_and_until_when(values):
    with refused_by("durable_tick_many_whole"):
        rows.tick(outcome="missed", **values)


@pytest.mark.parametrize("outcome", sorted(TickOutcome))
def test_every_tick_outcome_is_stored(outcome):
    assert rows.tick(outcome=outcome, live=True if outcome == "buffered" else None).pk


def test_an_unknown_tick_outcome_is_refused():
    with refused_by("durable_tick_outcome"):
        rows.tick(outcome="late")


def test_a_nominal_time_is_ticked_once_per_schedule():
    schedule = rows.schedule()
    rows.tick(schedule)
    rows.tick()
    rows.tick(schedule, nominal_at=AT + HOUR)
    with refused_by("durable_tick_once"):
        rows.tick(schedule)


# -- what is deleted together --------------------------------------------------------------------------


def test_an_execution_takes_its_rows_along_but_not_its_audit_trail_nor_its_children():
    execution = rows.timer().execution
    rows.step(execution)
    rows.signal(execution)
    child, tick = rows.execution(parent=execution), rows.tick(execution=execution)
    entry = rows.audit(execution_id=execution.pk)
    pk = execution.pk
    execution.delete()
    assert [model.objects.count() for model in (Timer, Step, Signal)] == [0, 0, 0]
    for kept in (child, tick, entry):
        kept.refresh_from_db()
    assert (child.parent_id, tick.execution_id, entry.execution_id) == (None, None, pk)


def test_a_second_log_line_of_a_number_is_refused():
    execution = rows.execution()
    rows.log_line(execution)
    with refused_by("durable_log_line_number"):
        rows.log_line(execution)
    rows.log_line(execution, number=1)


def test_a_limit_has_one_row_for_each_key():
    rows.limit_key(name="erp", key="a")
    rows.limit_key(name="erp", key="b")
    with refused_by("durable_limit_once"):
        rows.limit_key(name="erp", key="a")


def test_an_execution_and_each_step_has_one_slot_of_a_limit_and_many_may_be_given_back():
    limit, execution = rows.limit_key(), rows.execution()
    for given_back in (None, None, execution):
        rows.slot(limit=limit, execution=given_back)
    rows.slot(limit=limit, execution=execution, step="charge")
    for step in ("", "charge"):
        with refused_by("durable_slot_once_each"):
            rows.slot(limit=limit, execution=execution, step=step)


def test_every_constraint_is_tried_above():
    source = Path(__file__).read_text()
    assert [name for name in CONSTRAINTS if f'"{name}"' not in source] == []


# -- nodes ---------------------------------------------------------------------------------------------


def test_a_node_is_noted_once():
    rows.node(name="w@here")
    with refused_by("durable_node_once"):
        rows.node(name="w@here")
    rows.node(name="w@here", kind="tick")


def test_a_node_is_a_worker_or_a_tick():
    with refused_by("durable_node_kind"):
        rows.node(kind="beat")


# -- events --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        {"status": "pending", "due_at": None},
        {"status": "pending", "delivered_at": AT},
        {"status": "delivered", "due_at": None},
        {"status": "delivered", "delivered_at": AT},
        {"status": "delivered", "due_at": None, "delivered_at": AT, "token": UUID(int=7)},
        {"status": "failed"},
        {"status": "failed", "due_at": None, "delivered_at": AT},
        {"status": "failed", "due_at": None, "token": UUID(int=7)},
        {"status": "lost"},
    ],
    ids=str,
)
def test_a_delivery_that_contradicts_itself_is_refused(values):
    with refused_by("durable_delivery_whole"):
        rows.delivery(**values)
    with refused_by("durable_webhookdelivery_whole"):
        rows.webhook(**values)


def test_a_second_delivery_of_an_event_to_one_receiver_is_refused():
    event = rows.event()
    rows.delivery(event)
    rows.delivery(event, receiver="other")
    with refused_by("durable_delivery_once"):
        rows.delivery(event)


# -- the feed and webhooks -----------------------------------------------------------------------------


def test_one_position_of_the_feed_is_one_entrys():
    for _ in range(2):
        rows.audit()
        rows.event()
    rows.audit(position=7)
    rows.event(position=8)
    with refused_by("durable_auditentry_position"):
        rows.audit(position=7)
    with refused_by("durable_outboxevent_position"):
        rows.event(position=8)


@pytest.mark.parametrize("values", [{"failures": 1}, {"failing_since": AT}, {"paused_until": AT}], ids=str)
def test_an_endpoint_that_half_fails_is_refused(values):
    rows.endpoint(failures=1, failing_since=AT, paused_until=AT)
    with refused_by("durable_webhook_failing_whole"):
        rows.endpoint(**values)


def test_an_entry_is_sent_to_an_endpoint_once():
    sent = rows.webhook()
    rows.webhook(entry_id=sent.entry_id)
    with refused_by("durable_webhook_once"):
        rows.webhook(sent.endpoint, entry_id=sent.entry_id)
