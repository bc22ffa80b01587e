"""What ``orders.fulfil`` does, and how it is undone: ordinary functions, each tried until its outcome is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from django.conf import settings
from django.core.mail import EmailMessage
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from django_durable import Retry, current_step, step
from testproject.shop import payments
from testproject.shop.models import Order, Paper, Product, StockReservation
from testproject.shop.payments import CardDeclined

RETRY = Retry(max_attempts=8, initial_seconds=0.5, maximum_seconds=30)
PIECES_IN_A_PARCEL = 2


class OutOfStock(Exception):
    """There are not enough pieces left."""


@dataclass(frozen=True)
class Payment:
    charge_id: str
    amount: Decimal


@step(atomic=True, raises=(OutOfStock,))
def reserve_stock(order_id: int) -> int:
    """Take the pieces from the shelf; the rows and the checkpoint commit together. Returns the reservation."""
    order = Order.objects.get(pk=order_id)
    shelf = Product.objects.filter(pk=order.product_id, stock__gte=order.quantity)
    if not shelf.update(stock=F("stock") - order.quantity):
        raise OutOfStock("not enough pieces left")
    Order.objects.filter(pk=order_id).update(status=Order.Status.RESERVED)
    return StockReservation.objects.create(order=order, product_id=order.product_id, quantity=order.quantity).pk


@step(atomic=True)
def release_stock(reservation_id: int) -> None:
    """Put the pieces back. Nothing can be sent without them, so the order is off, whoever wanted that."""
    reservation = StockReservation.objects.get(pk=reservation_id)
    Product.objects.filter(pk=reservation.product_id).update(stock=F("stock") + reservation.quantity)
    Order.objects.filter(pk=reservation.order_id).update(
        status=Order.Status.CANCELLED, cancel_reason="it could not be fulfilled"
    )
    reservation.delete()


@step(retry=RETRY, timeout=timedelta(seconds=30), raises=(CardDeclined,))
def charge(order_id: int) -> Payment:
    """Call the payment service; it may be called twice, and charges once thanks to the key."""
    order = Order.objects.get(pk=order_id)
    charge_id = payments.charge(f"order-{order.pk}", order.amount, current_step().idempotency_key)
    return Payment(charge_id, order.amount)


@step(retry=RETRY)
def refund(payment: Payment) -> None:
    payments.refund(payment.charge_id)


@step(atomic=True)
def mark_paid(order_id: int, charge_id: str) -> None:
    Order.objects.filter(pk=order_id).update(paid=True, charge_id=charge_id, status=Order.Status.PAID)


@step(atomic=True)
def cancel_order(order_id: int, reason: str) -> None:
    Order.objects.filter(pk=order_id).update(status=Order.Status.CANCELLED, cancel_reason=reason)


@step(retry=RETRY)
def mail_shop_keeper(order_id: int, token: str) -> None:
    """Ask for approval by a link that works once."""
    order = Order.objects.select_related("customer", "product").get(pk=order_id)
    link = settings.SHOP_URL + reverse("shop:decide-by-link", args=[token])
    text = f"{order.customer.name} wants {order.quantity} x {order.product.name}.\n\nApprove or reject: {link}\n"
    EmailMessage(f"Please decide about order {order.pk}", text, to=[settings.SHOP_KEEPER]).send()


@step(atomic=True)
def write_invoice(order_id: int) -> None:
    order = Order.objects.select_related("product").get(pk=order_id)
    text = f"{order.quantity} x {order.product.name}: {order.amount}, paid with {order.charge_id}"
    Paper.objects.create(order=order, kind=Paper.Kind.INVOICE, text=text)


@step(atomic=True)
def write_packing_list(order_id: int) -> None:
    order = Order.objects.select_related("product", "customer").get(pk=order_id)
    text = f"{order.quantity} x {order.product.name} for {order.customer.name}"
    Paper.objects.create(order=order, kind=Paper.Kind.PACKING_LIST, text=text)


@step
def plan_parcels(order_id: int) -> list[int]:
    """How many pieces go into each parcel."""
    whole, rest = divmod(Order.objects.get(pk=order_id).quantity, PIECES_IN_A_PARCEL)
    return [PIECES_IN_A_PARCEL] * whole + [rest] * bool(rest)


@step(atomic=True)
def mark_shipped(order_id: int, decided_by: str) -> None:
    Order.objects.filter(pk=order_id).update(
        status=Order.Status.SHIPPED, decided_by=decided_by, shipped_at=timezone.now()
    )
