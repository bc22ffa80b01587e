"""What the shop sells, to whom, what was ordered; and the ledger of the payment service that it plays itself."""

from __future__ import annotations

from django.db import models
from django.db.models import F
from django.utils import timezone

from django_durable.models import DurableSubject


class Product(models.Model):
    name = models.CharField(max_length=100, unique=True)
    price = models.DecimalField(max_digits=8, decimal_places=2)
    stock = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.name} ({self.price})"


class Customer(DurableSubject, models.Model):
    name = models.CharField(max_length=100)
    email = models.EmailField(unique=True)
    voucher = models.CharField(max_length=20, blank=True)  # given by customers.onboard at its end
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name


class Order(DurableSubject, models.Model):
    class Status(models.TextChoices):
        NEW = "new"
        RESERVED = "reserved"
        PAID = "paid"
        SHIPPED = "shipped"
        CANCELLED = "cancelled"

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="orders")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="orders")
    quantity = models.PositiveIntegerField()
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    status = models.CharField(max_length=20, choices=Status, default=Status.NEW)
    paid = models.BooleanField(default=False)
    charge_id = models.CharField(max_length=40, blank=True)
    decided_by = models.CharField(max_length=100, blank=True)
    cancel_reason = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    shipped_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(status="shipped", shipped_at__isnull=False, paid=True)
                | (~models.Q(status="shipped") & models.Q(shipped_at__isnull=True)),
                name="shop_order_shipped_iff_paid_and_dated",
            ),
        ]

    def __str__(self) -> str:
        return f"Order {self.pk}"

    @property
    def execution_key(self) -> str:
        """Under which its one ``orders.fulfil`` execution is found."""
        return f"order:{self.pk}"


class StockReservation(models.Model):
    """Pieces set aside for an order; one per order, so that a second reservation is refused by the database."""

    order = models.OneToOneField(Order, on_delete=models.CASCADE, related_name="reservation")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="reservations")
    quantity = models.PositiveIntegerField()

    def __str__(self) -> str:
        return f"{self.quantity} of {self.product_id} for {self.order_id}"


class Parcel(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="parcels")
    label = models.CharField(max_length=40, unique=True)
    pieces = models.PositiveIntegerField()
    note = models.CharField(max_length=80, blank=True)  # to the carrier
    sent_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.label


class Paper(models.Model):
    """An invoice or a packing list; one of each for an order."""

    class Kind(models.TextChoices):
        INVOICE = "invoice"
        PACKING_LIST = "packing list"

    order = models.ForeignKey(Order, on_delete=models.CASCADE, related_name="papers")
    kind = models.CharField(max_length=20, choices=Kind)
    text = models.CharField(max_length=300)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["order", "kind"], name="shop_paper_one_of_each")]

    def __str__(self) -> str:
        return f"{self.kind} {self.order_id}"


class PaymentRecord(models.Model):
    """The payment service's ledger. The shop never reads it: it talks HTTP, as it would to a real one."""

    idempotency_key = models.CharField(max_length=100, unique=True)
    charge_id = models.CharField(max_length=40, unique=True)
    reference = models.CharField(max_length=100)
    amount = models.DecimalField(max_digits=10, decimal_places=2)
    refunded = models.BooleanField(default=False)
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return f"{self.charge_id} {self.amount} for {self.reference}"


class PaymentBehaviour(models.Model):
    """How the payment service misbehaves; one row, changed from the shop's page."""

    fail_next = models.PositiveIntegerField(default=0)  # so many calls answer 503
    decline_next = models.PositiveIntegerField(default=0)  # so many new charges are declined
    slow_seconds = models.FloatField(default=0)  # a charge is answered so late, after it was booked

    def __str__(self) -> str:
        return f"fail {self.fail_next}, decline {self.decline_next}, {self.slow_seconds} s late"

    @classmethod
    def load(cls) -> PaymentBehaviour:
        return cls.objects.get_or_create(pk=1)[0]

    @classmethod
    def use_up(cls, field: str) -> bool:
        """Count one of ``fail_next`` or ``decline_next`` down; False: there was none left."""
        return bool(cls.objects.filter(pk=1, **{f"{field}__gt": 0}).update(**{field: F(field) - 1}))
