"""The shop's forms."""

from __future__ import annotations

from typing import Any

from django import forms

from testproject.shop.models import Customer, Order, PaymentBehaviour, Product


class OrderForm(forms.Form):
    """A new order, by a known or a new customer."""

    name = forms.CharField(max_length=100, initial="Ada")
    email = forms.EmailField(initial="ada@shop.example")
    product = forms.ModelChoiceField(Product.objects.order_by("name"), empty_label=None)
    quantity = forms.IntegerField(min_value=1, max_value=99, initial=1)

    def save(self) -> Order:
        data: dict[str, Any] = self.cleaned_data
        customer, _ = Customer.objects.get_or_create(email=data["email"], defaults={"name": data["name"]})
        product, quantity = data["product"], data["quantity"]
        return Order.objects.create(
            customer=customer, product=product, quantity=quantity, amount=product.price * quantity
        )


class NoteForm(forms.Form):
    """What the carrier should know; whether it fits is for the workflow's update to say."""

    note = forms.CharField(required=False, label="Note to the carrier, printed on the labels")


class BehaviourForm(forms.ModelForm):  # type: ignore[type-arg]  # generic for checkers only
    """What goes wrong at the payment service next."""

    class Meta:
        model = PaymentBehaviour
        fields = ["fail_next", "decline_next", "slow_seconds"]
        labels = {
            "fail_next": "Calls that fail (503)",
            "decline_next": "Cards to decline",
            "slow_seconds": "Seconds to answer a charge",
        }
        widgets = {
            "fail_next": forms.NumberInput(attrs={"min": 0, "max": 20}),
            "decline_next": forms.NumberInput(attrs={"min": 0, "max": 20}),
            "slow_seconds": forms.NumberInput(attrs={"min": 0, "max": 15, "step": "0.5"}),
        }
