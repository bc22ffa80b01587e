"""The shop's workflows. django-durable imports this package because of its name, and so finds what it imports."""

from testproject.shop.workflows.customers import onboard
from testproject.shop.workflows.follow_up import follow_up
from testproject.shop.workflows.orders import fulfil
from testproject.shop.workflows.parcels import send_parcel
from testproject.shop.workflows.shipping_news import mail_customer
from testproject.shop.workflows.stock import watch

__all__ = ["follow_up", "fulfil", "mail_customer", "onboard", "send_parcel", "watch"]
