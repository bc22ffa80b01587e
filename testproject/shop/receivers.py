"""A Django signal starts a workflow: every new customer is welcomed."""

from __future__ import annotations

from typing import Any

from django.db.models.signals import post_save
from django.dispatch import receiver

from testproject.shop.models import Customer
from testproject.shop.workflows import onboard


@receiver(post_save, sender=Customer, dispatch_uid="shop.welcome")
def welcome(instance: Customer, created: bool, raw: bool, **_: Any) -> None:
    """Start in the transaction that saves the customer: both exist, or neither does."""
    if created and not raw:
        onboard.using(key=f"customer:{instance.pk}", subject=instance).start(instance.pk)
