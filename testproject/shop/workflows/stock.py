"""``stock.watch``: fills the shelves, for ever."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage

from django_durable import Context, SignalType, StepFailed, step, workflow
from testproject.shop.models import Product
from testproject.shop.workflows.order_steps import RETRY

KEY = "stock:watch"  # there is one, whoever starts it
LOW, FULL = 10, 20

look_now = SignalType("stock.look_now")


@workflow("stock.watch", version=1)
def watch(ctx: Context, rounds: int = 0) -> None:
    """Every night, or when somebody asks, restock what runs low. Each round is an execution with a short history."""
    ctx.wait_for_signal(look_now, timeout=timedelta(days=1))
    low = ctx.step(find_low)
    ctx.map("restock", restock, low, concurrency=10)
    ctx.continue_as_new(rounds + 1)


def restock(ctx: Context, product_id: int) -> None:
    """Order a product from its supplier and put it on the shelf; what goes wrong is tried again the next night."""
    try:
        ctx.step(mail_supplier, product_id)
    except StepFailed as failed:
        ctx.note(f"Product {product_id} is not ordered: {failed}")
        return
    ctx.sleep(timedelta(seconds=5), id="delivery")
    ctx.step(fill_shelf, product_id)


@step
def find_low() -> list[int]:
    return list(Product.objects.filter(stock__lt=LOW).order_by("pk").values_list("pk", flat=True))


@step(retry=RETRY)
def mail_supplier(product_id: int) -> None:
    product = Product.objects.get(pk=product_id)
    EmailMessage("Please send more", f"{product.name} runs low here.\n", to=[settings.SUPPLIER]).send()


@step(atomic=True)
def fill_shelf(product_id: int) -> None:
    Product.objects.filter(pk=product_id, stock__lt=FULL).update(stock=FULL)
