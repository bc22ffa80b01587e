"""The shop's tables in the admin, as they come."""

from django.contrib import admin

from testproject.shop import models

admin.site.register(
    [
        models.Product,
        models.Customer,
        models.Order,
        models.StockReservation,
        models.Parcel,
        models.Paper,
        models.PaymentRecord,
        models.PaymentBehaviour,
    ]
)
