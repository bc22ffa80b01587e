"""``orders.fulfil``: the way of an order from the cart to the carrier. Its steps are in ``order_steps``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django_durable import Context, SignalType, workflow
from testproject.shop.payments import CardDeclined
from testproject.shop.workflows.order_steps import (
    OutOfStock,
    cancel_order,
    charge,
    mail_shop_keeper,
    mark_paid,
    mark_shipped,
    plan_parcels,
    refund,
    release_stock,
    reserve_stock,
    write_invoice,
    write_packing_list,
)
from testproject.shop.workflows.parcels import send_parcel
from testproject.shop.workflows.shipping_news import Shipped, shipped

SMALL = Decimal(20)  # an order below this is approved by itself, unless somebody objects in time
TIME_TO_OBJECT = timedelta(minutes=10)
TIME_TO_DECIDE = timedelta(days=3)
LONGEST_NOTE = 80


@dataclass(frozen=True)
class Decision:
    """What a person said about a paid order."""

    by: str
    accepted: bool = True


approved = SignalType("orders.approved", payload=Decision)
withdrawn = SignalType("orders.withdrawn")


class NotApproved(Exception):
    """The order is not to be sent; the text says why."""


@workflow("orders.fulfil", version=1)
def fulfil(ctx: Context, order_id: int) -> str:
    """Reserve, charge, have it approved, pack, ship. Returns how the order ended."""
    try:
        ctx.step(reserve_stock, order_id, compensate=release_stock)
        payment = ctx.step(charge, order_id, compensate=refund)
        ctx.step(mark_paid, order_id, payment.charge_id)
        decided_by = await_approval(ctx, order_id, is_small=payment.amount < SMALL)
    except (OutOfStock, CardDeclined, NotApproved) as reason:
        ctx.state.set(phase="cancelled")
        ctx.rollback()
        ctx.step(cancel_order, order_id, str(reason))
        return "cancelled"
    ctx.state.set(phase="packing")
    ctx.parallel(
        "packing",
        {
            "invoice": lambda ctx: ctx.step(write_invoice, order_id),
            "packing_list": lambda ctx: ctx.step(write_packing_list, order_id),
            "parcels": lambda ctx: send_parcels(ctx, order_id),
        },
    )
    ctx.state.set(phase="shipped")
    ctx.emit(shipped, Shipped(order_id))
    ctx.step(mark_shipped, order_id, decided_by)  # in one transaction with the event
    return "shipped"


def await_approval(ctx: Context, order_id: int, *, is_small: bool) -> str:
    """Ask the shop keeper, and return who approved the order. Raises NotApproved."""
    patience = TIME_TO_OBJECT if is_small else TIME_TO_DECIDE
    ctx.state.set(phase="approval")
    link = ctx.signal_token(approved, expires=patience)
    ctx.step(mail_shop_keeper, order_id, link)
    event, decision = ctx.wait_any({"decision": approved, "withdrawal": withdrawn, "time": patience}, id="approval")
    if event == "withdrawal":
        raise NotApproved("withdrawn by the customer")
    if event == "time" and is_small:
        return "nobody's objection"
    if event == "time":
        raise NotApproved("nobody approved it in time")
    if not decision.accepted:
        raise NotApproved("rejected")
    return str(decision.by)


def send_parcels(ctx: Context, order_id: int) -> None:
    """Send them all at the same time, each by a workflow of its own."""
    note = ctx.state.get("note", "")
    contents = ctx.step(plan_parcels, order_id)
    parcels = [
        ctx.start_child(send_parcel, order_id, number, pieces, note) for number, pieces in enumerate(contents, 1)
    ]
    for sent, parcel in enumerate(parcels, 1):
        ctx.wait_for_execution(parcel)
        ctx.state.set(parcels=f"{sent} of {len(parcels)}")


@dataclass(frozen=True)
class Progress:
    """What the order's page shows of its execution."""

    phase: str
    note: str
    parcels: str

    @property
    def needs_decision(self) -> bool:
        return self.phase == "approval"

    @property
    def takes_note(self) -> bool:
        return self.phase not in CLOSED_PHASES


CLOSED_PHASES = {"packing", "shipped", "cancelled"}


@fulfil.query("progress")
def progress(state: dict[str, Any]) -> Progress:
    return Progress(state.get("phase", "payment"), state.get("note", ""), state.get("parcels", ""))


def fits_on_label(note: str) -> bool:
    if len(note) > LONGEST_NOTE:
        raise ValueError(f"A label has room for {LONGEST_NOTE} characters.")
    return True


@fulfil.update("leave_note", validator=fits_on_label)
def leave_note(state: dict[str, Any], note: str) -> str:
    """Print a note to the carrier on the parcels; answered until they are packed."""
    if state.get("phase") in CLOSED_PHASES:
        raise ValueError("it is being packed already, or was cancelled")
    state["note"] = note
    return f"The label will say: {note}" if note else "The label will say nothing more."
