"""``customers.onboard``: what a new customer hears of us."""

from __future__ import annotations

from datetime import timedelta

from django.core.mail import EmailMessage

from django_durable import Context, step, workflow
from testproject.shop.models import Customer
from testproject.shop.workflows.order_steps import RETRY


@workflow("customers.onboard", version=1)
def onboard(ctx: Context, customer_id: int) -> str:
    """Greet a new customer, and give a voucher a little later."""
    ctx.step(send_welcome_mail, customer_id)
    ctx.sleep(timedelta(seconds=10))
    voucher = ctx.step(give_voucher, customer_id)
    if ctx.patched("voucher-by-mail"):
        ctx.step(send_voucher_mail, customer_id, voucher)
    return voucher


@step(retry=RETRY)
def send_welcome_mail(customer_id: int) -> None:
    customer = Customer.objects.get(pk=customer_id)
    EmailMessage("Welcome", f"Hello {customer.name}, good to have you.\n", to=[customer.email]).send()


@step(atomic=True)
def give_voucher(customer_id: int) -> str:
    voucher = f"HELLO-{customer_id}"
    Customer.objects.filter(pk=customer_id).update(voucher=voucher)
    return voucher


@step(retry=RETRY)
def send_voucher_mail(customer_id: int, voucher: str) -> None:
    customer = Customer.objects.get(pk=customer_id)
    EmailMessage("A voucher for you", f"Hello {customer.name}, here it is: {voucher}\n", to=[customer.email]).send()
