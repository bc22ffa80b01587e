"""The shop at the root, and the payment service below ``payment/``."""

from django.urls import path

from testproject.shop import payment_service, views

app_name = "shop"
urlpatterns = [
    path("", views.index, name="index"),
    path("live/", views.live, name="live"),
    path("orders/", views.create_order, name="create"),
    path("orders/<int:order_id>/", views.show_order, name="order"),
    path("orders/<int:order_id>/note/", views.leave_note, name="note"),
    path("orders/<int:order_id>/withdraw/", views.withdraw, name="withdraw"),
    path("decide/<str:token>/", views.decide_by_link, name="decide-by-link"),
    path("restock/", views.restock, name="restock"),
    path("orders/<int:order_id>/approve/", views.decide, {"accepted": True}, name="approve"),
    path("orders/<int:order_id>/reject/", views.decide, {"accepted": False}, name="reject"),
    path("misbehave/", views.misbehave, name="misbehave"),
    path("kill/", views.kill, name="kill"),
    path("payment/charges/", payment_service.charges),
    path("payment/refunds/", payment_service.refunds),
]
