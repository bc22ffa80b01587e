"""The shop: its views start and signal in their own transaction, its steps are ordinary functions."""

import os
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from django.core import mail
from django.test import Client

from django_durable import NotInWorkflowError
from django_durable.definitions import BoundWorkflow
from django_durable.models import Execution
from django_durable.testing import DurableKit
from testproject.shop import board, worker_control
from testproject.shop.models import (
    Customer,
    Order,
    PaymentBehaviour,
    PaymentRecord,
    Product,
    StockReservation,
)
from testproject.shop.workflows.order_steps import (
    OutOfStock,
    charge,
    mark_paid,
    mark_shipped,
    release_stock,
    reserve_stock,
)
from tests.demo.shopping import buy, call, execution_of, form

# -- views and their transactions ------------------------------------------------------------------


def test_view_creates_order_and_execution(client: Client, product: Product) -> None:
    order = buy(client, product)
    execution = execution_of(order)
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
        assert client.post("/orders/", form(product, quantity=2)).status_code == 500
    assert not Order.objects.exists()
    assert Execution.objects.count() == executions


def test_new_customer_is_welcomed_by_a_workflow(durable: DurableKit) -> None:
    customer = Customer.objects.create(name="Ada", email="ada@shop.example")
    customer.save()  # a second save is no second customer
    durable.advance(timedelta(seconds=20))
    customer.refresh_from_db()
    assert customer.voucher == f"HELLO-{customer.pk}"
    assert [message.subject for message in mail.outbox] == ["Welcome", "A voucher for you"]


def test_page_and_live_data_show_what_an_order_waits_for(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product)
    durable.run_until_idle()
    page = client.get("/").content.decode()
    live = client.get("/live/").json()
    assert f'id="order-{order.pk}"' in page
    assert "Approve" in page
    assert live["orders"][0]["state"] == "waiting"
    assert live["orders"][0]["phase"] == "approval"
    assert live["orders"][0]["detail"].startswith("waits for a decision, until ")


def test_board_needs_three_queries_and_two_for_each_open_order(
    client: Client, product: Product, order: Order, django_assert_num_queries: Any
) -> None:
    buy(client, product)
    buy(client, product)
    with django_assert_num_queries(3 + 2 * 2):
        assert len(board.rows()) == 3


def test_bad_form_is_shown_again_and_writes_nothing(client: Client, product: Product) -> None:
    answer = client.post("/orders/", {"name": "", "email": "?", "product": product.pk, "quantity": 0})
    assert answer.status_code == 400
    assert not Order.objects.exists()


# -- steps as plain functions ----------------------------------------------------------------------


def test_reserving_takes_stock_and_releasing_returns_it(order: Order, product: Product) -> None:
    reservation_id = reserve_stock(order.pk)
    product.refresh_from_db()
    assert (product.stock, StockReservation.objects.get().quantity) == (3, 2)
    release_stock(reservation_id)
    product.refresh_from_db()
    order.refresh_from_db()
    assert (product.stock, order.status) == (5, "cancelled")


def test_reserving_more_than_there_is_raises(order: Order) -> None:
    Product.objects.update(stock=1)
    with pytest.raises(OutOfStock):
        reserve_stock(order.pk)


def test_paid_order_can_be_shipped(order: Order) -> None:
    mark_paid(order.pk, "ch_1")
    mark_shipped(order.pk, "grace")
    order.refresh_from_db()
    assert (order.status, order.charge_id, order.decided_by) == ("shipped", "ch_1", "grace")


def test_charge_needs_the_key_that_only_an_execution_has(order: Order) -> None:
    with pytest.raises(NotInWorkflowError):
        charge(order.pk)


# -- the payment service ---------------------------------------------------------------------------


def _charge(key: str, amount: str = "49.00") -> Any:
    return call("/payment/charges/", {"reference": "order-1", "amount": amount}, key)


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
    assert call("/payment/charges/", [], "key").status_code == 400
    assert call("/payment/refunds/", {"charge_id": "ch_unknown"}, "key").status_code == 404


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
