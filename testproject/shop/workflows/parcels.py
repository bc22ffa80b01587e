"""``parcels.send``: one parcel of an order, a child of its ``orders.fulfil``."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from django_durable import Context, step, workflow
from testproject.shop.models import Parcel


@workflow("parcels.send", version=1)
def send_parcel(ctx: Context, order_id: int, number: int, pieces: int, note: str) -> str:
    """Print the label, pack, hand it to the carrier. Returns what is on the label."""
    label = ctx.step(print_label, order_id, number, pieces, note, compensate=void_label)
    ctx.sleep(timedelta(seconds=2), id="packing")
    ctx.step(hand_over, label)
    return label


@step(atomic=True)
def print_label(order_id: int, number: int, pieces: int, note: str) -> str:
    label = f"P-{order_id}-{number}"
    Parcel.objects.create(order_id=order_id, label=label, pieces=pieces, note=note)
    return label


@step(atomic=True)
def void_label(label: str) -> None:
    Parcel.objects.filter(label=label).delete()


@step(atomic=True)
def hand_over(label: str) -> None:
    Parcel.objects.filter(label=label).update(sent_at=timezone.now())
