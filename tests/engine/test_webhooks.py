"""Webhooks: signed, sent by workers to real servers, retried, given up; nothing leaves that should not."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.conf import settings as project
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_durable import (
    DeliveryConflict,
    EventType,
    InvalidOptionError,
    WebhookNotFoundError,
    client,
    signals,
    workflow,
)
from django_durable.engine import shutdown, worker
from django_durable.engine.tick import tick
from django_durable.engine.webhooks import delivering, routing
from django_durable.models import AuditEntry, Execution, WebhookDelivery, WebhookEndpoint
from django_durable.testing import DurableKit
from tests.engine.webhook_server import ALLOWED, Receiver, receiving
from tests.models import rows

pytestmark = pytest.mark.django_db


class Reversed:
    """A cipher of sorts."""

    def seal(self, text):
        return text[::-1]

    def open(self, text):
        return text[::-1]


@dataclass
class Parcel:
    number: int


shipped = EventType("shipped", payload=Parcel)


@pytest.fixture
def receiver(durable, settings) -> Iterator[Receiver]:
    """The kit's clock stands; what it forbids, to send, is allowed here."""
    settings.DURABLE = {**project.DURABLE, **ALLOWED}
    with receiving() as made:
        yield made


@pytest.fixture
def shipping():
    @workflow("shipping")
    def shipping(ctx, number):
        ctx.emit(shipped, Parcel(number))
        ctx.wait_for_signal("go", timeout=timedelta(days=30))

    return shipping


def add(receiver, **options):
    endpoint, receiver.secret = client.add_webhook(receiver.url, **options)
    return endpoint


def only():
    return WebhookDelivery.objects.get()


def endpoint_now():
    return WebhookEndpoint.objects.get()


def send():
    return worker.drain("default", using="default")


# -- delivering ----------------------------------------------------------------------------------------


def test_an_endpoint_is_told_what_happens_from_then_on(durable, receiver, shipping):
    client.cancel(shipping.start(1))
    add(receiver)
    run = shipping.start(2)
    client.terminate(run, reason="a secret reason")
    durable.run_until_idle()
    assert receiver.refused == []
    assert sorted(receiver.kinds) == ["cancelled", "terminated", "webhook_added"]
    body = next(body for _, body in receiver.got if body["type"] == "terminated")
    entry = AuditEntry.objects.get(kind="terminated")
    assert body == {
        "type": "terminated",
        "timestamp": entry.created_at.isoformat(),
        "data": {
            "id": str(entry.id),
            "position": entry.position,
            "execution_id": str(run.id),
            "workflow": "shipping",
        },
    }
    assert {each.status for each in WebhookDelivery.objects.all()} == {"delivered"}


def test_it_gets_what_it_wants_only(durable, receiver, shipping):
    add(receiver, kinds=["event:shipped", "terminated"], workflows=["shipping"])
    other = workflow("other")(lambda ctx: ctx.emit("shipped", None)).start()
    client.terminate(shipping.start(1))
    shipping.start(2)
    durable.run_until_idle()
    assert other is not None
    assert sorted(receiver.kinds) == ["event:shipped", "terminated"]


def test_the_payload_of_an_event_leaves_only_when_it_is_to(durable, receiver, shipping):
    endpoint = add(receiver, kinds=["event:shipped"])
    shipping.start(7)
    durable.run_until_idle()
    assert "payload" not in receiver.got[0][1]["data"]
    client.update_webhook(endpoint, include_payload=True)
    shipping.start(8)
    durable.run_until_idle()
    assert receiver.got[1][1]["data"]["payload"] == {"number": 8}


def test_an_answer_that_is_no_success_is_retried_under_the_same_id(durable, receiver):
    receiver.answers = [500]
    add(receiver, kinds=["terminated"])
    rows.audit(kind="terminated")
    durable.run_until_idle()
    assert (only().status, only().attempts, endpoint_now().failures) == ("pending", 1, 1)
    assert "status 500" in only().error
    durable.clock.advance(timedelta(seconds=5))
    durable.run_until_idle()
    assert (only().status, only().error, endpoint_now().failures) == ("delivered", None, 0)
    assert receiver.ids == [str(only().id)] * 2


def test_a_redirect_is_not_followed(durable, receiver):
    receiver.answers, receiver.location = [307], receiver.url
    add(receiver, kinds=["terminated"])
    rows.audit(kind="terminated")
    durable.run_until_idle()
    assert (len(receiver.got), only().status) == (1, "pending")
    assert "status 307" in only().error


def test_an_endpoint_that_fails_is_left_alone_and_holds_up_no_other(durable, receiver):
    with receiving() as broken:
        broken.answers = [500] * 100
        add(broken, kinds=["terminated"])
        add(receiver, kinds=["terminated"])
        for _ in range(5):
            rows.audit(kind="terminated")
        durable.run_until_idle()
        assert (len(broken.got), len(receiver.got)) == (1, 5)
        durable.clock.advance(timedelta(seconds=5))
        durable.run_until_idle()
        assert len(broken.got) == 2
        broken.answers = []
        durable.clock.advance(timedelta(hours=1))
        durable.run_until_idle()
        assert set(WebhookDelivery.objects.values_list("status", flat=True)) == {"delivered"}


def test_one_that_does_not_answer_at_all_is_a_failure(durable, receiver):
    client.add_webhook("http://127.0.0.1:1/", kinds=["terminated"])
    rows.audit(kind="terminated")
    durable.run_until_idle()
    assert (only().status, endpoint_now().failures) == ("pending", 1)
    assert "ConnectionRefusedError" in only().error


def test_a_message_that_was_given_up_is_kept_until_a_person_retries_it(durable, receiver, monkeypatch):
    monkeypatch.setattr(delivering, "RETRY", delivering.Retry(max_attempts=1))
    receiver.answers = [500]
    add(receiver, kinds=["terminated"])
    rows.audit(kind="terminated")
    durable.run_until_idle()
    assert (only().status, only().due_at) == ("failed", None)
    client.retry_webhook(only(), actor="ops", reason="they are back")
    durable.run_until_idle()
    assert only().status == "delivered"
    entry = AuditEntry.objects.get(kind="webhook_delivery_retried")
    assert (entry.actor, entry.reason, entry.before["status"]) == ("ops", "they are back", "failed")
    with pytest.raises(DeliveryConflict, match="delivered"):
        client.retry_webhook(only())


def test_one_that_is_gone_is_disabled_at_once(durable, receiver):
    receiver.answers = [410]
    add(receiver, kinds=["terminated"])
    rows.audit(kind="terminated")
    durable.run_until_idle()
    assert (endpoint_now().active, only().status) == (False, "failed")
    assert "410" in endpoint_now().disabled_reason
    assert AuditEntry.objects.filter(kind="webhook_disabled").count() == 1


def test_one_that_fails_for_days_is_disabled_and_goes_on_where_it_stopped(durable, receiver):
    receiver.answers = [500] * 1000
    endpoint = add(receiver, kinds=["terminated"])
    rows.audit(kind="terminated")
    for _ in range(100):
        durable.clock.advance(timedelta(hours=2))
        durable.run_until_idle()
    assert not endpoint_now().active
    assert "It has failed since" in endpoint_now().disabled_reason
    assert AuditEntry.objects.filter(kind="webhook_disabled").count() == 1
    asked = len(receiver.got)
    rows.audit(kind="terminated")
    durable.run_until_idle()
    assert len(receiver.got) == asked
    receiver.answers = []
    found = client.update_webhook(endpoint, active=True)
    durable.run_until_idle()
    assert (found.active, found.failures, found.disabled_reason) == (True, 0, "")
    assert WebhookDelivery.objects.filter(status="delivered").count() >= 1


def test_a_test_message_goes_the_way_of_all_others(durable, receiver):
    endpoint = add(receiver, kinds=["nothing"])
    delivery = client.test_webhook(endpoint)
    assert delivery.status == "pending"
    durable.run_until_idle()
    delivery.refresh_from_db()
    assert (receiver.kinds, delivery.status) == (["webhook.test"], "delivered")
    client.update_webhook(endpoint, active=False)
    with pytest.raises(DeliveryConflict):
        client.test_webhook(endpoint)


def test_a_payload_that_cannot_be_read_is_not_the_endpoints_fault(durable, receiver):
    add(receiver, kinds=["event:shipped"], include_payload=True)
    rows.event(rows.execution(status="completed", finished_at=rows.AT), name="shipped", payload="no text of ours")
    durable.run_until_idle()
    assert (only().status, only().attempts, endpoint_now().failures, receiver.got) == ("pending", 1, 0, [])


def test_an_event_that_was_erased_before_is_told_without_its_payload(durable, receiver):
    add(receiver, kinds=["event:paid"], include_payload=True)
    rows.event(rows.closed(subject_type="app.model", subject_id="7"))
    client.erase(("app.model", 7), actor="dpo", reason="request")
    durable.run_until_idle()
    assert (only().status, receiver.got[0][1]["data"]["payload"]) == ("delivered", None)


# -- who sends, and when -------------------------------------------------------------------------------


def test_the_tick_finds_what_is_to_be_routed_and_sent(durable, receiver):
    assert tick(using="default") == []
    add(receiver, kinds=["terminated"])
    durable.run_until_idle()
    assert tick(using="default") == []
    rows.audit(kind="terminated")
    assert tick(using="default") == ["default"]
    routing.route(using="default")
    assert tick(using="default") == ["default"]
    durable.run_until_idle()
    assert tick(using="default") == []


def test_without_the_setting_nobody_asks(durable, receiver, settings):
    add(receiver)
    settings.DURABLE = {**settings.DURABLE, "WEBHOOK_QUEUE": None}
    with CaptureQueriesContext(
        connection,
    ) as asked:
        durable.run_until_idle()
        tick(using="default")
    assert not [each["sql"] for each in asked if "webhook" in each["sql"] or "position" in each["sql"]]


def test_an_idle_tick_asks_once_more_where_webhooks_are_sent(durable, receiver):
    add(receiver)
    durable.run_until_idle()
    with CaptureQueriesContext(connection) as asked:
        tick(using="default")
    assert len(asked) <= 4


def test_the_kit_of_a_project_sends_nothing(settings):
    settings.DURABLE = ALLOWED
    with receiving() as receiver, DurableKit() as kit:
        add(receiver)
        kit.run_until_idle()
        assert (receiver.got, receiver.refused) == ([], [])


def test_a_worker_that_stops_begins_no_other(durable, receiver):
    add(receiver)
    shutdown.request_stop()
    try:
        assert send() == 0
    finally:
        shutdown.forget()
    assert receiver.got == []


def test_a_lease_that_has_run_out_is_another_ones(durable, receiver):
    endpoint = add(receiver, kinds=["terminated"])
    rows.audit(kind="terminated")
    routing.route(using="default")
    first = delivering.take_next(endpoint.pk, using="default")
    durable.clock.advance(timedelta(seconds=60))
    second = delivering.take_next(endpoint.pk, using="default")
    delivering.attempt(first, using="default")
    assert (only().status, only().token) == ("pending", second.token)
    delivering.attempt(second, using="default")
    assert (only().status, only().attempts, len(receiver.got)) == ("delivered", 2, 2)


# -- secrets -------------------------------------------------------------------------------------------


def test_both_secrets_sign_while_one_is_replaced(durable, receiver):
    endpoint = add(receiver, kinds=["terminated"])
    old = receiver.secret
    new = client.rotate_webhook_secret(endpoint, keep=timedelta(hours=1), actor="ops")
    assert new != old
    for secret in (old, new):
        receiver.secret = secret
        rows.audit(kind="terminated")
        durable.run_until_idle()
    assert (len(receiver.got), receiver.refused) == (2, [])


@pytest.mark.parametrize("keep", [0, timedelta(hours=1)])
def test_the_old_one_ends(durable, receiver, keep):
    endpoint = add(receiver, kinds=["terminated"])
    client.rotate_webhook_secret(endpoint, keep=keep)
    durable.clock.advance(timedelta(hours=1))
    WebhookEndpoint.objects.update(previous_until=durable.clock.now() if keep else None)
    rows.audit(kind="terminated")
    durable.run_until_idle()
    assert receiver.got == []
    assert len(receiver.refused) == 1


def test_a_secret_is_kept_sealed_and_told_once(durable, receiver, settings, caplog):
    settings.DURABLE = {**settings.DURABLE, "PAYLOAD_CIPHER": "tests.engine.test_webhooks.Reversed"}
    with caplog.at_level(logging.DEBUG):
        endpoint = add(receiver, kinds=["terminated"])
        rows.audit(kind="terminated")
        receiver.answers = [500]
        durable.run_until_idle()
    assert endpoint_now().secret == receiver.secret[::-1]
    assert receiver.refused == []
    assert receiver.secret not in caplog.text
    assert receiver.secret not in f"{endpoint!r} {endpoint}"
    assert "secret" in client.webhooks().get().get_deferred_fields()
    told = [*AuditEntry.objects.values_list("before", "after", "reason")]
    assert receiver.secret not in str(told)
    assert receiver.url not in str(told)


def test_failures_are_told_by_a_django_signal_and_the_log(
    durable, receiver, caplog, django_capture_on_commit_callbacks
):
    heard = []

    def hear(sender, **facts):
        heard.append(facts)

    signals.webhook_failed.connect(hear)
    try:
        receiver.answers = [500]
        endpoint = add(receiver, kinds=["terminated"])
        rows.audit(kind="terminated")
        with django_capture_on_commit_callbacks(execute=True):
            durable.run_until_idle()
    finally:
        signals.webhook_failed.disconnect(hear)
    (told,) = heard
    assert (told["endpoint_id"], told["delivery_id"], told["attempt"]) == (endpoint.pk, only().pk, 1)
    assert (told["type_name"], told["will_retry"]) == ("django_durable.exceptions.WebhookError", True)
    assert "webhook failed" in caplog.text


# -- managing ------------------------------------------------------------------------------------------


def test_what_is_managed_is_audited(durable, receiver):
    endpoint = add(receiver, actor="ada", reason="the shop wants it")
    client.update_webhook(endpoint, kinds=["failed"], url=receiver.url + "&more", actor="ada")
    client.rotate_webhook_secret(endpoint)
    client.remove_webhook(endpoint, actor="bob")
    kinds = AuditEntry.objects.order_by("created_at", "id").values_list("kind", flat=True)
    assert list(kinds) == ["webhook_added", "webhook_updated", "webhook_secret_rotated", "webhook_removed"]
    assert AuditEntry.objects.get(kind="webhook_updated").before == {"endpoint_id": str(endpoint.pk), "kinds": []}
    assert not WebhookEndpoint.objects.exists()


def test_one_that_is_not_there_is_not_found(durable, receiver):
    gone = add(receiver)
    client.remove_webhook(gone)
    for act in (client.remove_webhook, client.test_webhook, client.rotate_webhook_secret):
        with pytest.raises(WebhookNotFoundError):
            act(gone.pk)
    with pytest.raises(WebhookNotFoundError):
        client.update_webhook(gone.pk, active=False)


@pytest.mark.parametrize(
    "bad",
    [
        {"kinds": "failed"},
        {"workflows": [7]},
        {"include_payload": 1},
        {"after": -1},
        {"after": 99},
        {"after": "1"},
    ],
    ids=str,
)
def test_bad_input_writes_nothing(durable, receiver, bad):
    with pytest.raises(InvalidOptionError):
        client.add_webhook(receiver.url, **bad)
    assert not WebhookEndpoint.objects.exists()


def test_an_endpoint_can_be_told_of_the_past(durable, receiver):
    rows.audit(kind="terminated")
    add(receiver, after=0, kinds=["terminated"])
    durable.run_until_idle()
    assert receiver.kinds == ["terminated"]
    assert Execution.objects.count() == 0
