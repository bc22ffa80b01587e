"""A shop with one product, an order by itself, and a network that leads to the payment service."""

import io
import json
from collections.abc import Iterator
from decimal import Decimal
from unittest import mock
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request

import pytest

from django_durable.testing import DurableKit
from testproject.shop.models import Customer, Order, Product
from tests.demo.shopping import call


@pytest.fixture
def no_receivers() -> None:
    """Here the shop's own are what is tested."""


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
        answer = call(urlsplit(request.full_url).path, json.loads(request.data), key)
        if answer.status_code >= 400:
            body = io.BytesIO(answer.content)
            raise HTTPError(request.full_url, answer.status_code, "refused", answer.headers, body)
        return io.BytesIO(answer.content)

    with mock.patch("testproject.shop.payments.urlopen", carry):
        yield keys
