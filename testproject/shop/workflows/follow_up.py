"""``customers.follow_up``: a word to the customer when the parcels have been there for a week, as a declared list."""

from __future__ import annotations

from datetime import timedelta

from django.core.mail import EmailMessage

from django_durable import Flow, FlowData, Part, step
from testproject.shop.models import Order
from testproject.shop.workflows.order_steps import RETRY

REGULAR_FROM = 3


@step
def count_orders(order_id: int) -> int:
    """How many the customer of this order has got so far."""
    return Order.objects.filter(customer__orders=order_id, status=Order.Status.SHIPPED).count()


@step(retry=RETRY)
def ask_how_it_is(order_id: int) -> None:
    _mail(order_id, "How do you like it?")


@step(retry=RETRY)
def thank_regular(order_id: int) -> None:
    _mail(order_id, "Thank you for coming back")


def _mail(order_id: int, subject: str) -> None:
    customer = Order.objects.select_related("customer").get(pk=order_id).customer
    EmailMessage(subject, f"Dear {customer.name}, it is about order {order_id}.\n", to=[customer.email]).send()


def order_of(data: FlowData) -> list[int]:
    """The arguments of every step: the order that it is about."""
    return [data.input]


def kind_of_customer(data: FlowData) -> str:
    return "regular" if data.results["orders"] >= REGULAR_FROM else "new"


follow_up = (
    Flow("customers.follow_up")
    .sleep("a_week", timedelta(days=7))
    .step("orders", count_orders, given=order_of)
    .route(
        "word",
        kind_of_customer,
        {
            "regular": Part().step("thank", thank_regular, given=order_of),
            "new": Part().step("ask", ask_how_it_is, given=order_of),
        },
    )
    .returns(kind_of_customer)
    .register()
)
