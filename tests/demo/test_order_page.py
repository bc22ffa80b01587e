"""What a customer changes on the page of an order, and what the shop keeper does with the link in a mail."""

from urllib.parse import urlsplit

import pytest
from django.core import mail
from django.test import Client

from django_durable import client as durable_client
from django_durable.testing import DurableKit
from testproject.shop.models import (
    Order,
    Product,
)
from tests.demo.shopping import PACKING, buy


@pytest.fixture
def answering(durable: DurableKit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody answers updates; the kit's own call, because nobody works beside a test's transaction."""
    monkeypatch.setattr(
        durable_client, "update", lambda execution, name, payload, **_: durable.update(execution, name, payload)
    )


@pytest.mark.usefixtures("answering")
def test_note_is_printed_on_the_parcels(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product)
    durable.run_until_idle()
    answer = client.post(f"/orders/{order.pk}/note/", {"note": "<b>Mind the cat"}, follow=True).content.decode()
    assert "The label will say: &lt;b&gt;Mind the cat" in answer
    assert "Note to the carrier: &lt;b&gt;Mind the cat" in answer
    assert "<b>Mind" not in answer
    client.post(f"/orders/{order.pk}/approve/")
    durable.advance(PACKING)
    assert order.parcels.get().note == "<b>Mind the cat"


@pytest.mark.usefixtures("answering")
def test_note_that_comes_too_late_or_is_too_long_is_refused(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product)
    durable.run_until_idle()
    too_long = client.post(f"/orders/{order.pk}/note/", {"note": "x" * 81})
    assert (too_long.status_code, "room for 80 characters" in too_long.content.decode()) == (400, True)
    client.post(f"/orders/{order.pk}/approve/")
    durable.run_until_idle()
    late = client.post(f"/orders/{order.pk}/note/", {"note": "Mind the cat"})
    assert (late.status_code, "it is being packed already, or was cancelled" in late.content.decode()) == (400, True)
    durable.advance(PACKING)
    closed = client.post(f"/orders/{order.pk}/note/", {"note": "Mind the cat"})
    assert (closed.status_code, "is finished already" in closed.content.decode()) == (400, True)


def test_order_page_shows_parcels_and_papers(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product)
    assert "None yet." in client.get(f"/orders/{order.pk}/").content.decode()
    durable.run_until_idle()
    client.post(f"/orders/{order.pk}/approve/")
    durable.advance(PACKING)
    page = client.get(f"/orders/{order.pk}/").content.decode()
    assert f"P-{order.pk}-1" in page
    assert f"invoice {order.pk}" in page
    assert "Leave the note" not in page
    assert client.get("/orders/0/").status_code == 404


def test_link_in_the_mail_asks_first_and_decides_once(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product)
    durable.run_until_idle()
    link = urlsplit(decision_link()).path
    for _ in range(2):  # mail scanners look at it, too
        assert "Ada wants 2 &times; Teapot" in client.get(link).content.decode()
    assert client.get(f"{link[:-2]}/").status_code == 404
    assert "was approved" in client.post(link, {"answer": "approve"}).content.decode()
    assert client.post(link, {"answer": "reject"}).status_code == 404
    durable.advance(PACKING)
    order.refresh_from_db()
    assert (order.status, order.decided_by) == ("shipped", "the link in the mail")
    assert client.get(link).status_code == 404


def test_link_decides_nothing_that_was_decided_on_the_page(
    client: Client, product: Product, durable: DurableKit, payment_service: list[str]
) -> None:
    order = buy(client, product)
    durable.run_until_idle()
    client.post(f"/orders/{order.pk}/approve/")
    durable.run_until_idle()
    for answer in (client.get, client.post):
        assert "nothing to decide" in answer(urlsplit(decision_link()).path).content.decode()


def test_forms_need_the_csrf_token(product: Product, order: Order) -> None:
    strict = Client(enforce_csrf_checks=True)
    for path in (f"/orders/{order.pk}/note/", f"/orders/{order.pk}/withdraw/", "/restock/", "/decide/x/"):
        assert strict.post(path).status_code == 403


def decision_link() -> str:
    body = next(str(message.body) for message in mail.outbox if "decide" in message.subject)
    return body.split()[-1]
