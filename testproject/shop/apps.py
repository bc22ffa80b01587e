"""The shop's application."""

from django.apps import AppConfig


class ShopConfig(AppConfig):
    name = "testproject.shop"

    def ready(self) -> None:
        """Connect the receiver that welcomes new customers."""
        from testproject.shop import receivers  # noqa: F401 - importing it connects it
