"""Retention: what is expired, what is kept although it is, and that a batch is bounded."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.db.models import CASCADE
from django.test.utils import CaptureQueriesContext

from django_durable import FOREVER, Limit, Retention, client, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import chores, retention
from django_durable.engine.retention import Wanted
from django_durable.engine.tick import tick
from django_durable.exceptions import ConfigurationError, InvalidOptionError
from django_durable.models import (
    AuditEntry,
    Delivery,
    Execution,
    LimitKey,
    OutboxEvent,
    Signal,
    Status,
    Step,
    Timer,
    Turn,
    WebhookDelivery,
    WebhookEndpoint,
)
from tests.authoring import NO_BROKER
from tests.models import rows

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def keeping(settings):
    def keep(**given):
        settings.DURABLE = {**NO_BROKER, **given}

    keep(RETENTION=10 * DAY)
    return keep


def ended(*, days, **values):
    execution = rows.closed(**values)
    Execution.objects.filter(pk=execution.pk).update(finished_at=DatabaseNow() - days * DAY)
    return execution


def opened(**values):
    execution = rows.execution(**values)
    rows.timer(execution)
    return execution


def prune(**options):
    return retention.prune(using="default", **options).deleted


def left():
    return set(Execution.objects.values_list("pk", flat=True))


# -- policies ------------------------------------------------------------------------------------------


def test_nothing_is_deleted_by_default(settings):
    settings.DURABLE = NO_BROKER
    ended(days=5000)
    assert prune() == 0
    assert not retention.has_policy()


def test_what_ended_long_enough_ago_is_deleted(keeping):
    kept = {ended(days=9).pk, opened().pk}
    ended(days=11)
    assert prune() == 1
    assert left() == kept


@pytest.mark.parametrize(
    ("setting", "own", "expected"),
    [
        (10 * DAY, None, 10 * DAY),
        (10 * DAY, 3 * DAY, 3 * DAY),
        (10 * DAY, Retention(failed=3 * DAY), 10 * DAY),
        (10 * DAY, Retention(completed=3 * DAY, otherwise=5 * DAY), 3 * DAY),
        (10 * DAY, Retention(failed=3 * DAY, otherwise=5 * DAY), 5 * DAY),
        (Retention(completed=2 * DAY), Retention(failed=DAY), 2 * DAY),
        (10 * DAY, FOREVER, None),
        (10 * DAY, Retention(completed=FOREVER, otherwise=DAY), None),
        (10 * DAY, timedelta(0), timedelta(0)),
        (None, 3 * DAY, 3 * DAY),
        (None, None, None),
    ],
)
def test_the_most_specific_policy_wins(keeping, setting, own, expected):
    keeping(RETENTION=setting)

    @workflow("flow", retention=own)
    def flow(ctx): ...

    assert retention.policy("flow", "completed") == expected


def test_a_workflow_without_code_has_the_default_policy(keeping):
    ended(days=11, workflow="gone.long.ago")
    assert prune() == 1


def test_the_newest_version_says_how_long(keeping):
    for version, kept in ((2, DAY), (1, 90 * DAY)):

        @workflow("flow", version=version, retention=kept)
        def flow(ctx): ...

    assert retention.policy("flow", "failed") == DAY


@pytest.mark.parametrize("given", [7, -DAY, "30d", {"completed": DAY}])
def test_a_policy_of_no_use_is_refused_where_it_is_given(keeping, given):
    with pytest.raises(InvalidOptionError, match="retention"):
        workflow("flow", retention=given)
    with pytest.raises(InvalidOptionError, match="completed"):
        Retention(completed=given)


def test_a_setting_of_no_use_is_refused(keeping):
    keeping(AUDIT_RETENTION=30)
    with pytest.raises(ConfigurationError, match="AUDIT_RETENTION"):
        retention.prune_audit(using="default")


@pytest.mark.parametrize("status", sorted(retention.CLOSED))
def test_each_status_has_its_own_time(keeping, status):
    keeping(RETENTION=Retention(**{status: DAY}))
    others = {ended(days=2, status=other).pk for other in retention.CLOSED if other != status}
    ended(days=2, status=status)
    assert prune() == 1
    assert left() == others


def test_an_order_may_name_time_workflow_and_status(keeping):
    keeping(RETENTION=None)
    kept = {ended(days=3, workflow="a", status="failed").pk, ended(days=3, workflow="b").pk, ended(days=1).pk}
    ended(days=3, workflow="a")
    (now,) = Execution.objects.values_list(DatabaseNow(), flat=True)[:1]
    assert prune(wanted=Wanted(workflow="a", status="completed", before=now - 2 * DAY)) == 1
    assert left() == kept


# -- what goes, and what stays -------------------------------------------------------------------------


def test_all_rows_of_an_execution_go_but_the_audit_trail(keeping):
    old, other = ended(days=11), ended(days=1)
    for execution in (old, other):
        rows.step(execution)
        rows.signal(execution)
        rows.delivery(rows.event(execution), status="delivered", due_at=None, delivered_at=rows.AT)
        rows.tick(execution=execution)
        rows.audit(execution_id=execution.pk)
    assert prune() == 1
    assert [model.objects.count() for model in (Execution, Step, Signal, OutboxEvent, Delivery)] == [1] * 5
    assert AuditEntry.objects.count() == 2
    assert sorted(Execution.objects.get().ticks.values_list("execution", flat=True)) == [other.pk]


def test_a_child_stays_while_its_parent_is_open(keeping):
    parent = opened()
    ended(days=11, parent=parent)
    assert prune() == 0
    Execution.objects.filter(pk=parent.pk).update(status="completed", finished_at=DatabaseNow())
    assert prune() == 1


def test_children_of_a_map_stay_as_long_as_their_parent(keeping):
    parent = ended(days=1)
    child = ended(days=11, parent=parent, fan_out=uuid4())
    assert prune() == 0
    Execution.objects.filter(pk=parent.pk).update(finished_at=DatabaseNow() - 11 * DAY)
    assert prune() == 1
    assert left() == {child.pk}
    assert prune() == 1


def test_children_live_on_without_a_parent_that_is_deleted(keeping):
    parent = ended(days=11)
    children = {opened(parent=parent).pk, ended(days=1, parent=parent).pk}
    assert prune() == 1
    assert left() == children
    assert set(Execution.objects.values_list("parent", flat=True)) == {None}


def test_a_parent_and_its_child_go_together(keeping):
    ended(days=12, parent=ended(days=11))
    assert prune() == 2


def test_a_chain_stays_until_its_last_one_is_gone(keeping):
    chain = uuid4()
    ended(days=20, status=Status.CONTINUED, chain=chain)
    last = opened(chain=chain)
    assert prune() == 0
    last.timer.delete()
    Execution.objects.filter(pk=last.pk).update(status="completed", finished_at=DatabaseNow() - DAY)
    assert prune() == 0
    Execution.objects.filter(pk=last.pk).update(finished_at=DatabaseNow() - 11 * DAY)
    assert prune() == 1
    assert prune() == 1


def test_an_event_that_is_not_delivered_keeps_its_execution(keeping):
    pending = rows.delivery(rows.event(ended(days=11)))
    assert prune() == 0
    Delivery.objects.filter(pk=pending.pk).update(status="failed", due_at=None)
    assert prune() == 1


def test_an_event_that_webhooks_have_not_told_keeps_its_execution(keeping):
    keeping(RETENTION=10 * DAY, WEBHOOK_QUEUE="default")
    execution = ended(days=11)
    event = rows.event(execution)
    endpoint = rows.endpoint(include_payload=True)
    assert prune() == 0  # it has no position yet
    OutboxEvent.objects.update(position=7)
    assert prune() == 0  # nobody was sent there
    WebhookEndpoint.objects.update(position=7)
    delivery = rows.webhook(endpoint, entry_id=event.pk)
    assert prune() == 0  # its payload is read when it is sent
    WebhookDelivery.objects.filter(pk=delivery.pk).update(status="failed", due_at=None)
    assert prune() == 1


def test_an_entry_that_webhooks_have_not_told_keeps_its_execution(keeping):
    keeping(RETENTION=10 * DAY, WEBHOOK_QUEUE="default")
    rows.audit(execution_id=ended(days=11).pk)
    rows.endpoint(workflows=["flow"])
    assert prune() == 0  # whether it is of this workflow is asked of the row
    AuditEntry.objects.update(position=7)
    WebhookEndpoint.objects.update(position=7)
    assert prune() == 1


@pytest.mark.parametrize(("queue", "is_active"), [("default", False), (None, True)])
def test_webhooks_to_which_nothing_is_sent_keep_nothing(keeping, queue, is_active):
    keeping(RETENTION=10 * DAY, WEBHOOK_QUEUE=queue)
    rows.event(ended(days=11))
    rows.endpoint(active=is_active)
    assert prune() == 1


def test_a_message_without_payload_needs_no_event(keeping):
    keeping(RETENTION=10 * DAY, WEBHOOK_QUEUE="default")
    event = rows.event(ended(days=11), position=7)
    rows.webhook(rows.endpoint(position=7), entry_id=event.pk)
    assert prune() == 1
    assert WebhookDelivery.objects.get().status == "pending"


def test_every_row_that_names_an_execution_goes_or_forgets_it():
    """A foreign key that is forgotten here fails on PostgreSQL and MariaDB, or leaves rows behind for ever."""
    named = {
        (relation.related_model, relation.field.name)
        for relation in Execution._meta.related_objects
        if relation.field.remote_field.on_delete is CASCADE
    }
    gone_at_the_end = {(Timer, "execution")}
    assert named - gone_at_the_end <= set(retention.DEPENDENTS)
    order = [model for model, _ in retention.DEPENDENTS]
    for model in order:
        pointing = {relation.related_model for relation in model._meta.related_objects}
        assert pointing <= set(order[: order.index(model)])


def test_the_key_is_free_again(keeping):
    keeping(RETENTION=timedelta(0))

    @workflow("flow")
    def flow(ctx): ...

    first = flow.using(key="k").start()
    client.terminate(first)
    prune()
    assert flow.using(key="k").start().id != first.id


# -- bounds --------------------------------------------------------------------------------------------


def test_a_batch_is_bounded_and_takes_the_oldest(keeping):
    executions = [ended(days=days) for days in (11, 14, 12, 13)]
    batch = retention.prune(size=2, using="default")
    assert (batch.deleted, batch.is_last) == (2, False)
    assert left() == {executions[0].pk, executions[2].pk}
    assert retention.prune(size=3, using="default") == retention.Batch(deleted=2, is_last=True)


def another_line(of):
    return rows.log_line(of, number=of.log_lines.count())


@pytest.mark.parametrize("make", [rows.step, another_line, rows.set_aside, rows.signal, rows.event])
def test_many_rows_make_a_batch_smaller(keeping, monkeypatch, make):
    monkeypatch.setattr(retention, "MOST_ROWS", 3)
    for _ in range(3):
        execution = ended(days=11)
        for _ in range(2):
            make(execution)
    assert [retention.prune(using="default").deleted for _ in range(4)] == [1, 1, 1, 0]


def test_a_parent_of_many_children_is_separated_from_them_first(keeping):
    parent = ended(days=11)
    for _ in range(5):
        ended(days=1, parent=parent)
    batches = [retention.prune(size=2, using="default") for _ in range(3)]
    assert [batch.deleted for batch in batches] == [0, 1, 0]
    assert Execution.objects.count() == 5


def test_a_batch_costs_the_same_however_many_it_deletes(keeping):
    def cost(number):
        for _ in range(number):
            rows.step(ended(days=11))
        with CaptureQueriesContext(connection) as queries:
            assert prune() == number
        return len(queries)

    assert cost(2) == cost(40)


def test_the_audit_trail_has_a_time_of_its_own(keeping):
    keeping(AUDIT_RETENTION=30 * DAY)
    alive = opened()
    for execution_id, days in ((alive.pk, 40), (uuid4(), 40), (uuid4(), 20)):
        rows.audit(execution_id=execution_id, created_at=rows.AT)
        AuditEntry.objects.filter(execution_id=execution_id).update(created_at=DatabaseNow() - days * DAY)
    assert retention.prune_audit(using="default") == 1
    assert AuditEntry.objects.count() == 2
    keeping()
    assert retention.prune_audit(using="default") == 0


def test_what_webhooks_have_told_goes_with_the_audit_trail(keeping):
    keeping(AUDIT_RETENTION=30 * DAY)
    endpoint = rows.endpoint()
    done = {"status": "delivered", "due_at": None, "delivered_at": rows.AT}
    for days, state in ((40, done), (40, {"status": "failed", "due_at": None}), (40, {}), (20, done)):
        made = rows.webhook(endpoint, **state)
        WebhookDelivery.objects.filter(pk=made.pk).update(created_at=DatabaseNow() - days * DAY)
    assert retention.prune_webhooks(using="default") == 2
    assert sorted(WebhookDelivery.objects.values_list("status", flat=True)) == ["delivered", "pending"]
    keeping()
    assert retention.prune_webhooks(using="default") == 0


# -- in the tick ---------------------------------------------------------------------------------------


@pytest.fixture
def ticking(transactional_db, monkeypatch):
    monkeypatch.setattr(chores, "_next_look", {})


def next_process(monkeypatch):
    monkeypatch.setattr(chores, "_next_look", {})


def test_the_tick_deletes_one_batch_and_the_next_look_is_a_minute_later(ticking, keeping, monkeypatch):
    ended(days=11)
    tick(using="default")
    assert left() == set()
    ended(days=11)
    for _ in range(3):
        next_process(monkeypatch)
        tick(using="default")
    assert len(left()) == 1
    Turn.objects.update(next_at=DatabaseNow())
    next_process(monkeypatch)
    tick(using="default")
    assert left() == set()


def test_a_backlog_is_worked_off_by_each_tick(ticking, keeping, monkeypatch):
    monkeypatch.setattr(retention.prune, "__kwdefaults__", {"size": 2})
    for _ in range(5):
        ended(days=11)
    counts = []
    for _ in range(3):
        next_process(monkeypatch)
        Turn.objects.filter(next_at__lt=DatabaseNow() + timedelta(seconds=1)).update(next_at=DatabaseNow())
        tick(using="default")
        counts.append(len(left()))
    assert counts == [3, 1, 0]


def test_an_idle_tick_with_policies_is_four_statements_and_no_commit(ticking, keeping):
    tick(using="default")
    with CaptureQueriesContext(connection) as queries:
        tick(using="default")
    assert len(queries) <= 4
    assert not [query for query in queries if not query["sql"].startswith("SELECT")]


def test_keys_of_limits_go_without_any_policy(ticking, keeping):
    @workflow("limited", concurrency=Limit(1, key=lambda name: name))
    def limited(ctx, name):
        pass

    keeping()
    rows.limit_key(key="Ada")
    tick(using="default")
    assert LimitKey.objects.count() == 0


def test_a_storage_that_fails_does_not_stop_the_tick(ticking, keeping, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError("full")

    monkeypatch.setattr(retention, "prune", fail)
    tick(using="default")
    assert "Chore retention failed" in caplog.text


def test_a_storage_that_fails_keeps_no_other_chore_waiting(ticking, keeping, monkeypatch):
    @workflow("limited", concurrency=Limit(1, key=lambda name: name))
    def limited(ctx, name):
        pass

    def fail(*_, **__):
        raise OSError("full")

    keeping(RETENTION=10 * DAY, AUDIT_RETENTION=10 * DAY)
    monkeypatch.setattr(retention, "prune", fail)
    rows.limit_key(key="Ada")
    rows.audit(execution_id=None)
    AuditEntry.objects.update(created_at=DatabaseNow() - timedelta(days=400))
    tick(using="default")
    assert (LimitKey.objects.count(), AuditEntry.objects.count()) == (0, 0)


def test_a_backlog_of_one_chore_leaves_the_others_their_pause(ticking, keeping, monkeypatch):
    monkeypatch.setattr(retention.prune, "__kwdefaults__", {"size": 1})
    ended(days=11)
    ended(days=11)
    tick(using="default")
    now = DatabaseNow()
    soon = Turn.objects.filter(next_at__lt=now + timedelta(seconds=30)).values_list("name", flat=True)
    assert list(soon) == ["retention"]
