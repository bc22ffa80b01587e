"""The shop's workflows, from the page that starts them to what is in the books at the end."""

from datetime import timedelta
from decimal import Decimal
from unittest import mock

import pytest
from django.core import mail
from django.test import Client

from django_durable import ExecutionClosedError
from django_durable import client as durable_client
from django_durable.testing import DurableKit
from testproject.shop.models import (
    Order,
    Parcel,
    PaymentBehaviour,
    PaymentRecord,
    Product,
)
from testproject.shop.workflows import stock
from testproject.shop.workflows.orders import withdrawn
from tests.demo.shopping import PACKING, buy, execution_of, shipping_mails

# -- the workflow ----------------------------------------------------------------------------------


def test_approved_order_is_paid_and_shipped_once(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product)
    durable.run_until_idle()
    client.post(f"/orders/{order.pk}/approve/")
    client.post(f"/orders/{order.pk}/approve/")  # a double click
    durable.advance(PACKING)
    client.post(f"/orders/{order.pk}/approve/")  # and a late one
    order.refresh_from_db()
    product.refresh_from_db()
    assert durable_client.result(execution_of(order)) == "shipped"
    assert (order.status, order.paid, order.decided_by) == ("shipped", True, "the shop's owner")
    assert product.stock == 3
    assert PaymentRecord.objects.get().charge_id == order.charge_id
    assert shipping_mails() == [f"Order {order.pk} has shipped"]


def test_failing_service_is_asked_again_with_the_same_key(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    PaymentBehaviour.objects.create(pk=1, fail_next=2)
    order = buy(client, product)
    durable.advance(timedelta(seconds=30))
    assert execution_of(order).status == "waiting"
    assert len(payment_service) == 3
    assert len(set(payment_service)) == 1
    assert PaymentRecord.objects.count() == 1


def test_declined_card_cancels_the_order_and_returns_its_stock(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    PaymentBehaviour.objects.create(pk=1, decline_next=1)
    order = buy(client, product)
    durable.run_until_idle()
    order.refresh_from_db()
    product.refresh_from_db()
    assert (order.status, order.cancel_reason) == ("cancelled", "card declined")
    assert product.stock == 5
    assert len(payment_service) == 1


def test_order_beyond_the_stock_is_cancelled_unpaid(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product, quantity=6)
    durable.run_until_idle()
    order.refresh_from_db()
    assert (order.status, order.cancel_reason) == ("cancelled", "not enough pieces left")
    assert payment_service == []


@pytest.mark.parametrize("answer", ["rejected", "nobody approved it in time"])
def test_order_without_approval_is_refunded(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str], answer: str
) -> None:
    order = buy(client, product)
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


def test_small_order_is_approved_by_itself_unless_somebody_objects(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    Product.objects.update(price=Decimal("9.99"))
    left_alone, objected = buy(client, product, quantity=1), buy(client, product, quantity=1)
    durable.run_until_idle()
    client.post(f"/orders/{objected.pk}/reject/")
    durable.advance(timedelta(minutes=11))
    ends = [Order.objects.get(pk=order.pk) for order in (left_alone, objected)]
    assert [order.status for order in ends] == ["shipped", "cancelled"]
    assert ends[0].decided_by == "nobody's objection"


def test_order_goes_out_in_parcels_with_its_papers(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product, quantity=5)
    durable.run_until_idle()
    client.post(f"/orders/{order.pk}/approve/")
    durable.run_until_idle()
    assert client.get("/live/").json()["orders"][0]["phase"] == "packing"
    durable.advance(PACKING)
    assert list(order.parcels.order_by("label").values_list("label", "pieces")) == [
        (f"P-{order.pk}-1", 2),
        (f"P-{order.pk}-2", 2),
        (f"P-{order.pk}-3", 1),
    ]
    assert not order.parcels.filter(sent_at=None).exists()
    assert sorted(map(str, order.papers.all())) == [f"invoice {order.pk}", f"packing list {order.pk}"]
    assert durable_client.query(execution_of(order), "progress").parcels == "3 of 3"


def test_parcel_that_cannot_be_sent_calls_off_the_others_and_everything_is_undone(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product, quantity=4)
    durable.run_until_idle()
    with durable.stub("hand_over", raises=ConnectionError("the van has gone")):
        client.post(f"/orders/{order.pk}/approve/")
        durable.advance(timedelta(minutes=1))
    order.refresh_from_db()
    product.refresh_from_db()
    execution = execution_of(order)
    assert (execution.status, execution.compensated) == ("failed", True)
    assert (order.status, order.cancel_reason, product.stock) == ("cancelled", "it could not be fulfilled", 5)
    assert PaymentRecord.objects.get().refunded
    assert not Parcel.objects.exists()
    assert shipping_mails() == []


def test_operator_who_cancels_leaves_nothing_to_tidy_up(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product)
    durable.run_until_idle()
    durable_client.cancel(execution_of(order), reason="fraud")
    assert "Approve" not in client.get("/").content.decode()
    durable.run_until_idle()
    order.refresh_from_db()
    product.refresh_from_db()
    assert (execution_of(order).status, order.status, product.stock) == ("cancelled", "cancelled", 5)
    assert PaymentRecord.objects.get().refunded


def test_mail_server_that_is_down_holds_up_no_order(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    order = buy(client, product)
    durable.run_until_idle()
    client.post(f"/orders/{order.pk}/approve/")
    with mock.patch("testproject.shop.workflows.shipping_news.EmailMessage", side_effect=ConnectionError("down")):
        durable.advance(PACKING)
    assert execution_of(order).status == "completed"
    assert shipping_mails() == []
    durable.advance(timedelta(minutes=10))
    assert shipping_mails() == [f"Order {order.pk} has shipped"]


def test_withdrawn_order_is_refunded(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product)
    durable.run_until_idle()
    assert client.post(f"/orders/{order.pk}/withdraw/").status_code == 302
    durable.run_until_idle()
    order.refresh_from_db()
    assert order.cancel_reason == "withdrawn by the customer"
    assert PaymentRecord.objects.get().refunded
    with pytest.raises(ExecutionClosedError):
        durable_client.signal(execution_of(order), withdrawn)
    late = client.post(f"/orders/{order.pk}/approve/", follow=True).content.decode()
    assert f"Order {order.pk} is finished already" in late


@pytest.mark.parametrize(
    ("orders_before", "subject"), [(0, "How do you like it?"), (2, "Thank you for coming back")], ids=["new", "regular"]
)
def test_customer_hears_of_us_a_week_later(
    client: Client,
    product: Product,
    durable: DurableKit,
    payment_service: list[str],
    orders_before: int,
    subject: str,
) -> None:
    bought = [buy(client, product, quantity=1) for _ in range(orders_before + 1)]
    durable.run_until_idle()
    for order in bought:
        client.post(f"/orders/{order.pk}/approve/")
    durable.advance(timedelta(days=8))
    assert [message.subject for message in mail.outbox][-len(bought) :] == [subject] * len(bought)
    assert durable_client.find(workflow="customers.follow_up", status="completed").count() == len(bought)


# -- the stock watch -------------------------------------------------------------------------------


def test_watch_fills_shelves_every_night_and_when_asked(client: Client, product: Product, durable: DurableKit) -> None:
    lantern = Product.objects.create(name="Lantern", price=Decimal(39), stock=15)
    assert client.post("/restock/").status_code == 302
    durable.advance(timedelta(seconds=5))
    assert list(Product.objects.order_by("pk").values_list("stock", flat=True)) == [20, 15]
    Product.objects.filter(pk=lantern.pk).update(stock=3)
    durable.advance(timedelta(days=1, seconds=5))
    assert list(Product.objects.order_by("pk").values_list("stock", flat=True)) == [20, 20]
    rounds = durable_client.find(workflow="stock.watch")
    assert [execution.status for execution in rounds] == ["waiting", "continued", "continued"]
    client.post("/restock/")
    assert durable_client.find(workflow="stock.watch", key=stock.KEY).count() == 1


def test_supplier_who_gets_no_mail_is_asked_the_next_night(
    client: Client, product: Product, durable: DurableKit
) -> None:
    Product.objects.create(name="Lantern", price=Decimal(39), stock=1)
    no_teapots = lambda product_id: 1 / (product_id != product.pk)  # noqa: E731
    with durable.stub("mail_supplier", no_teapots):
        client.post("/restock/")
        durable.advance(timedelta(minutes=5))
    assert list(Product.objects.order_by("pk").values_list("stock", flat=True)) == [5, 20]
    durable.advance(timedelta(days=1))
    assert list(Product.objects.order_by("pk").values_list("stock", flat=True)) == [20, 20]
