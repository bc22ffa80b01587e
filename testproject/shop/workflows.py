"""The shop's workflows and their steps. Found by django-durable because of this file's name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.core.mail import EmailMessage
from django.db.models import F
from django.utils import timezone

from django_durable import Context, Retry, SignalType, current_step, step, workflow
from testproject.shop import payments
from testproject.shop.models import Customer, Order, Product, StockReservation
from testproject.shop.payments import CardDeclined

RETRY = Retry(max_attempts=8, initial_seconds=0.5, maximum_seconds=30)


@dataclass(frozen=True)
class Decision:
    """What a person said about a paid order."""

    by: str
    accepted: bool = True


approved = SignalType("orders.approved", payload=Decision)


class OutOfStock(Exception):
    """There are not enough pieces left."""


@step(atomic=True, raises=(OutOfStock,))
def reserve_stock(order_id: int) -> None:
    """Take the pieces from the shelf; the rows and the checkpoint commit together."""
    order = Order.objects.get(pk=order_id)
    shelf = Product.objects.filter(pk=order.product_id, stock__gte=order.quantity)
    if not shelf.update(stock=F("stock") - order.quantity):
        raise OutOfStock("not enough pieces left")
    StockReservation.objects.create(order=order, product_id=order.product_id, quantity=order.quantity)
    Order.objects.filter(pk=order_id).update(status=Order.Status.RESERVED)


@step(retry=RETRY, timeout=timedelta(seconds=30), raises=(CardDeclined,))
def charge(order_id: int) -> str:
    """Call the payment service; it may be called twice, and charges once thanks to the key."""
    order = Order.objects.get(pk=order_id)
    return payments.charge(f"order-{order.pk}", order.amount, current_step().idempotency_key)


@step(atomic=True)
def mark_paid(order_id: int, charge_id: str) -> None:
    Order.objects.filter(pk=order_id).update(paid=True, charge_id=charge_id, status=Order.Status.PAID)


@step(atomic=True)
def cancel_order(order_id: int, reason: str) -> None:
    """Put reserved pieces back and close the order."""
    for reservation in StockReservation.objects.filter(order_id=order_id):
        Product.objects.filter(pk=reservation.product_id).update(stock=F("stock") + reservation.quantity)
        reservation.delete()
    Order.objects.filter(pk=order_id).update(status=Order.Status.CANCELLED, cancel_reason=reason)


@step(retry=RETRY)
def refund(charge_id: str) -> None:
    payments.refund(charge_id)


@step(retry=RETRY)
def send_shipping_mail(order_id: int) -> None:
    order = Order.objects.select_related("customer", "product").get(pk=order_id)
    text = f"Dear {order.customer.name},\n\n{order.quantity} x {order.product.name} is on its way.\n"
    # A mail cannot be taken back, so a crash right after sending it sends it again: the same id lets servers tell.
    headers = {"Message-ID": f"<order-{order.pk}-shipped@shop.example>"}
    EmailMessage(f"Order {order.pk} has shipped", text, to=[order.customer.email], headers=headers).send()


@step(atomic=True)
def mark_shipped(order_id: int, decided_by: str) -> None:
    Order.objects.filter(pk=order_id).update(
        status=Order.Status.SHIPPED, decided_by=decided_by, shipped_at=timezone.now()
    )


@workflow("orders.fulfil", version=1)
def fulfil(ctx: Context, order_id: int) -> str:
    """Reserve, charge, wait for a person, pack, ship. Returns how the order ended."""
    try:
        ctx.step(reserve_stock, order_id)
        charge_id = ctx.step(charge, order_id)
    except (OutOfStock, CardDeclined) as error:
        ctx.step(cancel_order, order_id, str(error))
        return "cancelled"
    ctx.step(mark_paid, order_id, charge_id)
    decision = ctx.wait_for_signal(approved, timeout=timedelta(days=3))
    if decision is None or not decision.accepted:
        ctx.step(refund, charge_id)
        ctx.step(cancel_order, order_id, "rejected" if decision else "nobody approved it in time")
        return "cancelled"
    ctx.sleep(timedelta(seconds=2))  # packing
    ctx.step(send_shipping_mail, order_id)
    ctx.step(mark_shipped, order_id, decision.by)
    return "shipped"


@step(retry=RETRY)
def send_welcome_mail(customer_id: int) -> None:
    customer = Customer.objects.get(pk=customer_id)
    EmailMessage("Welcome", f"Hello {customer.name}, good to have you.\n", to=[customer.email]).send()


@step(atomic=True)
def give_voucher(customer_id: int) -> str:
    voucher = f"HELLO-{customer_id}"
    Customer.objects.filter(pk=customer_id).update(voucher=voucher)
    return voucher


@workflow("customers.onboard", version=1)
def onboard(ctx: Context, customer_id: int) -> str:
    """Greet a new customer, and give a voucher a little later."""
    ctx.step(send_welcome_mail, customer_id)
    ctx.sleep(timedelta(seconds=10))
    return ctx.step(give_voucher, customer_id)
