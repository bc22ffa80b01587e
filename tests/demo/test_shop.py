"""The shop: its views start and signal in their own transaction, its steps are ordinary functions."""

import io
import json
import os
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request

import pytest
from django.core import mail
from django.test import Client

from django_durable import ExecutionClosedError, NotInWorkflowError
from django_durable import client as durable_client
from django_durable.definitions import BoundWorkflow
from django_durable.models import Execution
from django_durable.testing import DurableKit
from testproject.shop import board, worker_control
from testproject.shop.models import Customer, Order, PaymentBehaviour, PaymentRecord, Product, StockReservation
from testproject.shop.workflows import (
    OutOfStock,
    cancel_order,
    charge,
    mark_paid,
    mark_shipped,
    reserve_stock,
    send_shipping_mail,
)

PACKING = timedelta(seconds=3)


@pytest.fixture
def product(durable: DurableKit) -> Product:
    return Product.objects.create(name="Teapot", price=Decimal("24.50"), stock=5)


@pytest.fixture
def order(product: Product) -> Order:
    """An order row by itself, with no execution."""
    customer = Customer.objects.create(name="Ada", email="ada@shop.example")
    return Order.objects.create(customer=customer, product=product, quantity=2, amount=Decimal("49.00"))


@pytest.fixture
def payment_service() -> Iterator[list[str]]:
    """The network between the shop and its payment service. Gives the idempotency keys that went over it."""
    keys: list[str] = []

    def carry(request: Request, timeout: float) -> io.BytesIO:
        key = request.headers["Idempotency-key"]  # urllib capitalizes it so
        keys.append(key)
        answer = _call(urlsplit(request.full_url).path, json.loads(request.data), key)
        if answer.status_code >= 400:
            body = io.BytesIO(answer.content)
            raise HTTPError(request.full_url, answer.status_code, "refused", answer.headers, body)
        return io.BytesIO(answer.content)

    with mock.patch("testproject.shop.payments.urlopen", carry):
        yield keys


def _call(path: str, body: Any, key: str) -> Any:
    return Client().post(path, body, content_type="application/json", headers={"Idempotency-Key": key})


def _charge(key: str, amount: str = "49.00") -> Any:
    return _call("/payment/charges/", {"reference": "order-1", "amount": amount}, key)


def _buy(client: Client, product: Product, quantity: int = 2) -> Order:
    assert client.post("/orders/", _form(product, quantity)).status_code == 302
    return Order.objects.latest("pk")


def _form(product: Product, quantity: int) -> dict[str, object]:
    return {"name": "Ada", "email": "ada@shop.example", "product": product.pk, "quantity": quantity}


def _execution(order: Order) -> Execution:
    return durable_client.find(workflow="orders.fulfil", key=order.execution_key).get()


def _shipping_mails() -> list[str]:
    return [message.subject for message in mail.outbox if "shipped" in message.subject]


# -- views and their transactions ------------------------------------------------------------------


def test_view_creates_order_and_execution(client: Client, product: Product) -> None:
    order = _buy(client, product)
    execution = _execution(order)
    assert order.amount == Decimal("49.00")
    assert (execution.subject_type, execution.subject_id) == ("shop.order", str(order.pk))


@pytest.mark.django_db(transaction=True)
def test_failure_after_the_start_leaves_neither_order_nor_execution(client: Client, product: Product) -> None:
    Customer.objects.create(name="Ada", email="ada@shop.example")
    executions = Execution.objects.count()
    client.raise_request_exception = False
    start = BoundWorkflow.start

    def start_then_fail(*args: Any) -> None:
        start(*args)
        assert Execution.objects.count() == executions + 1
        raise RuntimeError("the rest of the view failed")

    with mock.patch.object(BoundWorkflow, "start", start_then_fail):
        assert client.post("/orders/", _form(product, quantity=2)).status_code == 500
    assert not Order.objects.exists()
    assert Execution.objects.count() == executions


def test_new_customer_is_welcomed_by_a_workflow(durable: DurableKit) -> None:
    customer = Customer.objects.create(name="Ada", email="ada@shop.example")
    customer.save()  # a second save is no second customer
    durable.advance(timedelta(seconds=20))
    customer.refresh_from_db()
    assert customer.voucher == f"HELLO-{customer.pk}"
    assert [message.subject for message in mail.outbox] == ["Welcome"]


def test_page_and_live_data_show_what_an_order_waits_for(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = _buy(client, product)
    durable.run_until_idle()
    page = client.get("/").content.decode()
    live = client.get("/live/").json()
    assert f'id="order-{order.pk}"' in page
    assert "Approve" in page
    assert live["orders"][0]["state"] == "waiting"
    assert live["orders"][0]["detail"].startswith("signal orders.approved")


def test_board_needs_three_queries_for_any_number_of_orders(
    client: Client, product: Product, order: Order, django_assert_num_queries: Any
) -> None:
    _buy(client, product)
    _buy(client, product)
    with django_assert_num_queries(3):
        assert len(board.rows()) == 3


def test_bad_form_is_shown_again_and_writes_nothing(client: Client, product: Product) -> None:
    answer = client.post("/orders/", {"name": "", "email": "?", "product": product.pk, "quantity": 0})
    assert answer.status_code == 400
    assert not Order.objects.exists()


# -- the workflow ----------------------------------------------------------------------------------


def test_approved_order_is_paid_and_shipped_once(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = _buy(client, product)
    durable.run_until_idle()
    client.post(f"/orders/{order.pk}/approve/")
    client.post(f"/orders/{order.pk}/approve/")  # a double click
    durable.advance(PACKING)
    client.post(f"/orders/{order.pk}/approve/")  # and a late one
    order.refresh_from_db()
    product.refresh_from_db()
    assert durable_client.result(_execution(order)) == "shipped"
    assert (order.status, order.paid, order.decided_by) == ("shipped", True, "the shop's owner")
    assert product.stock == 3
    assert PaymentRecord.objects.get().charge_id == order.charge_id
    assert _shipping_mails() == [f"Order {order.pk} has shipped"]


def test_failing_service_is_asked_again_with_the_same_key(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    PaymentBehaviour.objects.create(pk=1, fail_next=2)
    order = _buy(client, product)
    durable.advance(timedelta(seconds=30))
    assert _execution(order).status == "waiting"
    assert len(payment_service) == 3
    assert len(set(payment_service)) == 1
    assert PaymentRecord.objects.count() == 1


def test_declined_card_cancels_the_order_and_returns_its_stock(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    PaymentBehaviour.objects.create(pk=1, decline_next=1)
    order = _buy(client, product)
    durable.run_until_idle()
    order.refresh_from_db()
    product.refresh_from_db()
    assert (order.status, order.cancel_reason) == ("cancelled", "card declined")
    assert product.stock == 5
    assert len(payment_service) == 1


def test_order_beyond_the_stock_is_cancelled_unpaid(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = _buy(client, product, quantity=6)
    durable.run_until_idle()
    order.refresh_from_db()
    assert (order.status, order.cancel_reason) == ("cancelled", "not enough pieces left")
    assert payment_service == []


@pytest.mark.parametrize("answer", ["rejected", "nobody approved it in time"])
def test_order_without_approval_is_refunded(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str], answer: str
) -> None:
    order = _buy(client, product)
    durable.run_until_idle()
    if answer == "rejected":
        client.post(f"/orders/{order.pk}/reject/")
        durable.run_until_idle()
    else:
        durable.advance(timedelta(days=3))
    order.refresh_from_db()
    product.refresh_from_db()
    assert (order.status, order.cancel_reason) == ("cancelled", answer)
    assert product.stock == 5
    assert PaymentRecord.objects.get().refunded


def test_mail_server_that_stays_down_fails_the_execution_with_its_error(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = _buy(client, product)
    durable.run_until_idle()
    with durable.stub("send_shipping_mail", raises=ConnectionError("no mail server")):
        client.post(f"/orders/{order.pk}/approve/")
        durable.advance(timedelta(minutes=10))
    execution = _execution(order)
    assert execution.status == "failed"
    assert execution.error_type.endswith("ConnectionError")
    with pytest.raises(ExecutionClosedError):
        durable_client.signal(execution, "orders.approved")


# -- steps as plain functions ----------------------------------------------------------------------


def test_reserving_takes_stock_and_cancelling_returns_it(order: Order, product: Product) -> None:
    reserve_stock(order.pk)
    product.refresh_from_db()
    assert (product.stock, StockReservation.objects.get().quantity) == (3, 2)
    cancel_order(order.pk, "changed my mind")
    cancel_order(order.pk, "changed my mind")
    product.refresh_from_db()
    assert product.stock == 5


def test_reserving_more_than_there_is_raises(order: Order) -> None:
    Product.objects.update(stock=1)
    with pytest.raises(OutOfStock):
        reserve_stock(order.pk)


def test_paid_order_can_be_mailed_and_shipped(order: Order) -> None:
    mark_paid(order.pk, "ch_1")
    send_shipping_mail(order.pk)
    mark_shipped(order.pk, "grace")
    order.refresh_from_db()
    assert (order.status, order.charge_id, order.decided_by) == ("shipped", "ch_1", "grace")
    assert mail.outbox[-1].extra_headers["Message-ID"] == f"<order-{order.pk}-shipped@shop.example>"


def test_charge_needs_the_key_that_only_an_execution_has(order: Order) -> None:
    with pytest.raises(NotInWorkflowError):
        charge(order.pk)


# -- the payment service ---------------------------------------------------------------------------


@pytest.mark.django_db
def test_same_key_gets_the_same_charge_and_one_row() -> None:
    first, second = _charge("key"), _charge("key")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json() == second.json()
    assert PaymentRecord.objects.count() == 1


@pytest.mark.django_db
def test_other_key_gets_another_charge() -> None:
    assert _charge("one").json() != _charge("two").json()


@pytest.mark.django_db
def test_same_key_for_another_amount_is_refused() -> None:
    _charge("key")
    assert _charge("key", amount="1.00").status_code == 409


@pytest.mark.django_db
def test_charge_is_booked_before_a_slow_answer() -> None:
    PaymentBehaviour.objects.create(pk=1, slow_seconds=9)
    with mock.patch("testproject.shop.payment_service.time.sleep") as sleep:
        sleep.side_effect = lambda seconds: seconds == 9 and PaymentRecord.objects.get(idempotency_key="key")
        _charge("key")
    assert sleep.call_count == 1


@pytest.mark.django_db
def test_broken_requests_are_refused() -> None:
    assert _charge("").status_code == 400
    assert _charge("key", amount="a lot").status_code == 400
    assert _call("/payment/charges/", [], "key").status_code == 400
    assert _call("/payment/refunds/", {"charge_id": "ch_unknown"}, "key").status_code == 404


# -- killing ---------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_workers_can_be_killed_in_the_demo_only(client: Client) -> None:
    with mock.patch("os.kill") as kill, mock.patch("os.killpg") as killpg:
        assert client.post("/kill/", {"what": "busy", "pid": os.getpid()}).status_code == 404
    assert not kill.called
    assert not killpg.called


@pytest.mark.django_db
def test_process_that_holds_no_lease_is_not_killed() -> None:
    with mock.patch("os.kill") as kill, pytest.raises(worker_control.NothingToKill):
        worker_control.kill_busy(os.getpid())
    assert not kill.called
