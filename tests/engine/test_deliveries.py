"""Deliveries: at least once to each receiver, by leases; failures are retried, kept and shown."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection

from django_durable import DeliveryConflict, InvalidOptionError, Retry, client, on_event, signals, tasks, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import deliveries, leasing, shutdown, worker
from django_durable.engine.embedded import EmbeddedWorker
from django_durable.engine.tick import tick
from django_durable.events import receivers
from django_durable.models import AuditEntry, Delivery, Execution, OutboxEvent

MINUTE = timedelta(minutes=1)
TWICE = Retry(max_attempts=2, initial_seconds=5, jitter=0)


class Broken(Exception):
    pass


@pytest.fixture
def paid():
    @workflow("paid")
    def paid(ctx, *orders):
        for order in orders:
            ctx.emit("paid", {"order": order})

    return paid


@pytest.fixture
def mail():
    """A receiver that fails as often as it is told to."""

    class Mail:
        failures = 0

        def __init__(self):
            self.told = []

        def __call__(self, event):
            self.told.append(event)
            if len(self.told) <= self.failures:
                raise Broken(f"attempt {event.attempt}")

    mail = Mail()

    @on_event("paid", name="mail", retry=TWICE)
    def send(event):
        mail(event)

    return mail


def only():
    return Delivery.objects.get()


def lease():
    return deliveries.take_next("default", using="default")


def test_a_receiver_is_told_what_was_emitted_and_by_whom(durable, paid, mail):
    execution = paid.start(7)
    durable.run_until_idle()
    (told,) = mail.told
    assert told.id == OutboxEvent.objects.get().id
    assert (told.name, told.payload, told.execution_id, told.attempt) == ("paid", {"order": 7}, execution.id, 1)
    delivery = only()
    assert (delivery.status, delivery.delivered_at, delivery.attempts) == ("delivered", durable.clock.now(), 1)


def test_one_that_fails_is_tried_again_after_its_back_off_with_the_same_id(durable, paid, mail):
    mail.failures = 1
    paid.start(7)
    durable.run_until_idle()
    assert (len(mail.told), only().status, only().due_at) == (1, "pending", durable.clock.now() + timedelta(seconds=5))
    assert "Broken: attempt 1" in only().error
    durable.advance(timedelta(seconds=5))
    assert [told.attempt for told in mail.told] == [1, 2]
    assert len({told.id for told in mail.told}) == 1
    assert (only().status, only().error) == ("delivered", None)


def test_one_that_fails_does_not_repeat_the_others(durable, paid, mail):
    others = []
    on_event("paid", name="stock")(others.append)
    mail.failures = 1
    paid.start(7)
    durable.advance(MINUTE)
    assert (len(mail.told), len(others)) == (2, 1)


def test_one_that_gives_up_is_kept_with_its_error_until_a_person_retries_it(durable, paid, mail):
    mail.failures = 2
    execution = paid.start(7)
    durable.advance(MINUTE)
    assert (only().status, only().due_at) == ("failed", None)
    assert "Broken: attempt 2" in only().error
    client.retry_delivery(only(), actor="ops", reason="the mail server is back")
    durable.run_until_idle()
    assert (only().status, only().attempts, len(mail.told)) == ("delivered", 1, 3)
    entry = AuditEntry.objects.get(kind="delivery_retried")
    assert (entry.execution_id, entry.actor, entry.reason) == (execution.id, "ops", "the mail server is back")
    assert (entry.before["receiver"], entry.before["status"], entry.before["attempts"]) == ("mail", "failed", 2)


def test_one_that_waits_for_its_next_attempt_can_be_had_now(durable, paid, mail):
    mail.failures = 1
    paid.start(7)
    durable.run_until_idle()
    client.retry_delivery(str(only().id))
    durable.run_until_idle()
    assert only().status == "delivered"


def test_what_is_delivered_or_being_tried_or_gone_cannot_be_retried(durable, paid, mail):
    paid.start(7)
    worker.advance_one(paid.using(key="k").start(8).id, using="default")
    delivery = lease()
    with pytest.raises(DeliveryConflict, match="being tried at this moment"):
        client.retry_delivery(delivery)
    deliveries.attempt(delivery, using="default")
    with pytest.raises(DeliveryConflict, match="is delivered"):
        client.retry_delivery(delivery)
    with pytest.raises(DeliveryConflict, match="There is no delivery"):
        client.retry_delivery(uuid4())
    with pytest.raises(InvalidOptionError):
        client.retry_delivery("seven")
    assert not AuditEntry.objects.filter(kind="delivery_retried").exists()


def test_a_failure_is_told_by_a_django_signal(transactional_db, polling, paid, mail):
    heard = []

    def hear(sender, *, receiver, attempt, type_name, will_retry, **_):
        heard.append((sender, receiver, attempt, type_name.rpartition(".")[2], will_retry))

    mail.failures = 2
    paid.start(7)
    signals.delivery_failed.connect(hear)
    try:
        for _ in range(2):
            worker.drain("default", using="default")
            Delivery.objects.filter(status="pending").update(due_at=DatabaseNow())
    finally:
        signals.delivery_failed.disconnect(hear)
    assert heard == [(Delivery, "mail", 1, "Broken", True), (Delivery, "mail", 2, "Broken", False)]


# -- a deploy between ----------------------------------------------------------------------------------


def test_a_receiver_that_this_worker_lacks_is_left_for_one_that_has_it(durable, paid):
    told = []
    with receivers.isolated():
        on_event("paid", name="mail")(told.append)
        worker.advance_one(paid.start(7).id, using="default")
    on_event("paid", name="newer")(told.append)
    durable.run_until_idle()
    assert (told, only().status, only().attempts) == ([], "pending", 0)
    assert "No receiver 'mail' of 'paid' is registered here" in only().error
    on_event("paid", name="mail")(told.append)
    durable.advance(MINUTE)
    assert [event.attempt for event in told] == [1]
    assert only().status == "delivered"


def test_the_pause_before_the_next_look_grows_up_to_ten_minutes(durable, paid):
    with receivers.isolated():
        on_event("paid", name="mail")(print)
        worker.advance_one(paid.start(7).id, using="default")
    on_event("other", name="newer")(print)
    durable.advance(timedelta(hours=1))
    left = only().due_at - durable.clock.now()
    assert timedelta(0) < left <= timedelta(minutes=10)


def test_a_payload_that_this_worker_cannot_read_is_left_for_one_that_can(durable, paid, mail):
    worker.advance_one(paid.start(7).id, using="default")
    readable = OutboxEvent.objects.get().payload
    OutboxEvent.objects.update(payload="sealed by another key")
    durable.run_until_idle()
    assert (mail.told, only().status, only().attempts) == ([], "pending", 0)
    OutboxEvent.objects.update(payload=readable)
    durable.advance(MINUTE)
    assert only().status == "delivered"


# -- leases --------------------------------------------------------------------------------------------


def test_a_lease_that_has_run_out_is_another_ones(durable, paid, mail):
    worker.advance_one(paid.start(7).id, using="default")
    first = lease()
    assert lease() is None
    durable.clock.advance(timedelta(seconds=leasing.LEASE_SECONDS))
    second = lease()
    deliveries.attempt(first, using="default")
    assert (only().status, only().token) == ("pending", second.token)
    deliveries.attempt(second, using="default")
    assert only().status == "delivered"
    assert [told.attempt for told in mail.told] == [1, 2]


def test_one_that_keeps_killing_its_workers_is_given_up(durable, paid, mail):
    worker.advance_one(paid.start(7).id, using="default")
    for _ in range(2):
        assert lease() is not None
        durable.clock.advance(timedelta(seconds=leasing.LEASE_SECONDS))
    durable.run_until_idle()
    assert (mail.told, only().status) == ([], "failed")
    assert "2 attempts were begun and 2 are allowed: the last one lost its worker" in only().error


def test_a_worker_that_is_stopping_begins_no_delivery(durable, paid, mail, stopping):
    shutdown.forget()
    worker.advance_one(paid.start(7).id, using="default")
    shutdown.request_stop()
    assert worker.drain("default", using="default") == 0
    assert mail.told == []


def test_deliveries_are_made_by_workers_of_the_executions_queue(durable, settings, paid, mail):
    settings.DURABLE = {**settings.DURABLE, "QUEUES": ("default", "slow")}
    execution = paid.using(queue="slow").start(7)
    worker.advance_one(execution.id, using="default")
    assert worker.drain("default", using="default") == 0
    assert worker.drain("slow", using="default") == 1
    assert len(mail.told) == 1


def test_a_receiver_runs_outside_any_transaction_of_ours(transactional_db, polling, paid):
    inside = []
    on_event("paid", name="look")(lambda event: inside.append(connection.in_atomic_block))
    paid.start(7)
    worker.drain("default", using="default")
    assert inside == [False]


def test_a_backlog_of_executions_does_not_hold_up_deliveries(transactional_db, polling, paid, mail):
    for _ in range(3):
        paid.start(7)
    worker.drain("default", using="default", seconds=0)
    assert len(mail.told) == 1


def test_the_tick_hints_at_a_queue_with_a_due_delivery(transactional_db, polling, paid, mail):
    worker.advance_one(paid.start(7).id, using="default")
    assert tick(using="default") == ["default"]
    worker.drain("default", using="default")
    assert tick(using="default") == []


def test_where_nobody_receives_a_drain_costs_nothing_more(transactional_db, polling, django_assert_num_queries):
    assert not receivers
    with django_assert_num_queries(1):
        worker.drain("default", using="default")


def test_an_embedded_worker_delivers(transactional_db, polling, paid, mail):
    paid.start(7, 8)
    try:
        EmbeddedWorker(queues=["default"], threads=1, using="default").run(until_idle=True)
    finally:
        shutdown.forget()
    assert sorted(told.payload["order"] for told in mail.told) == [7, 8]


def test_the_hint_of_celery_delivers(transactional_db, polling, paid, mail):
    worker.advance_one(paid.start(7).id, using="default")
    tasks.drain("default", "default")
    assert only().status == "delivered"


def test_events_and_their_deliveries_go_with_their_execution(durable, paid, mail):
    execution = paid.start(7)
    durable.run_until_idle()
    Execution.objects.filter(pk=execution.id).delete()
    assert (OutboxEvent.objects.count(), Delivery.objects.count()) == (0, 0)


def test_what_an_execution_has_emitted_is_delivered_after_its_end(durable, paid, mail):
    execution = paid.start(7)
    worker.advance_one(execution.id, using="default")
    assert (client.get(execution).status, mail.told) == ("completed", [])
    durable.run_until_idle()
    assert len(mail.told) == 1
