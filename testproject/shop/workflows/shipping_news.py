"""The event ``orders.shipped``, and who in the shop wants to hear of it."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.mail import EmailMessage

from django_durable import EventInfo, EventType, on_event
from testproject.shop.models import Order
from testproject.shop.workflows.follow_up import follow_up


@dataclass(frozen=True)
class Shipped:
    order_id: int


shipped = EventType("orders.shipped", payload=Shipped)


@on_event(shipped)
def mail_customer(event: EventInfo[Shipped]) -> None:
    """Tell the customer. A mail server that is down holds up no order: this is tried again for hours."""
    order = Order.objects.select_related("customer", "product").get(pk=event.payload.order_id)
    labels = ", ".join(order.parcels.order_by("label").values_list("label", flat=True))
    text = f"Dear {order.customer.name},\n\n{order.quantity} x {order.product.name} is on its way: {labels}.\n"
    # A mail cannot be taken back, so a crash right after sending it sends it again: the same id lets servers tell.
    headers = {"Message-ID": f"<{event.id}@shop.example>"}
    EmailMessage(f"Order {order.pk} has shipped", text, to=[order.customer.email], headers=headers).send()


@on_event(shipped)
def begin_follow_up(event: EventInfo[Shipped]) -> None:
    """Start a workflow; the event's id as its key makes a second delivery harmless."""
    follow_up.using(key=str(event.id)).start(event.payload.order_id)
