"""What the tests of the shop do again and again."""

from datetime import timedelta
from typing import Any

from django.core import mail
from django.test import Client

from django_durable import client as durable_client
from django_durable.models import Execution
from testproject.shop.models import Order, Product

PACKING = timedelta(seconds=3)


def call(path: str, body: Any, key: str) -> Any:
    return Client().post(path, body, content_type="application/json", headers={"Idempotency-Key": key})


def buy(client: Client, product: Product, quantity: int = 2) -> Order:
    assert client.post("/orders/", form(product, quantity)).status_code == 302
    return Order.objects.latest("pk")


def form(product: Product, quantity: int) -> dict[str, object]:
    return {"name": "Ada", "email": "ada@shop.example", "product": product.pk, "quantity": quantity}


def execution_of(order: Order) -> Execution:
    return durable_client.find(workflow="orders.fulfil", key=order.execution_key).get()


def shipping_mails() -> list[str]:
    return [message.subject for message in mail.outbox if "shipped" in message.subject]
