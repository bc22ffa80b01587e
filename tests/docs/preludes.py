"""Names that the README takes for granted: the shop that every reader can imagine.

Other pages bring theirs in hidden ``<!-- setup: -->`` comments; the README is kept free of them.
"""

from types import SimpleNamespace
from typing import Any
from uuid import UUID

from django.db import transaction

from django_durable import Context, client, workflow
from django_durable.testing import DurableKit
from testproject.shop.models import Customer, Order, Product
from testproject.shop.payments import CardDeclined


def new_order() -> Order:
    # In bulk: the test project greets every other new customer with a workflow that is not registered here.
    customer = Customer(name="Customer", email=f"customer-{Customer.objects.count()}@example.com")
    Customer.objects.bulk_create([customer])
    product, _ = Product.objects.get_or_create(name="Kettle", defaults={"price": 20, "stock": 100})
    return Order.objects.create(customer=customer, product=product, quantity=1, amount=20)


def names_for(page: str, durable: DurableKit) -> dict[str, Any]:
    """What is in the namespace of a page before its first block."""
    names: dict[str, Any] = {"durable": durable, "new_order": new_order}
    return names | _readme() if page == "README" else names


def _readme() -> dict[str, Any]:
    return {
        "CardDeclined": CardDeclined,
        "Order": Order,
        "payments": SimpleNamespace(charge=lambda order_id, idempotency_key: f"charge-{order_id}"),
        "send_parcel": send_parcel,
        "transaction": transaction,
        "client": client,
        "form": SimpleNamespace(save=new_order),
        "request": SimpleNamespace(user=SimpleNamespace(username="somebody")),
        "execution_id": _waiting_execution(),
    }


def send_parcel(order_id: int) -> None:
    """Stand in for the shop's own function."""


def _waiting_execution() -> UUID:
    @workflow("docs.waiting")
    def waiting(ctx: Context) -> Any:
        return ctx.wait_for_signal("orders.approved")

    return waiting.start().id
