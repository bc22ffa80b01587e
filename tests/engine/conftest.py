"""Fixtures of this directory."""

from collections.abc import Iterator

import pytest

from django_durable.engine import shutdown
from tests.authoring import isolated_registry, polling

__all__ = ["isolated_registry", "polling", "stopping"]


@pytest.fixture
def stopping() -> Iterator[None]:
    """This worker has been asked to stop."""
    shutdown.request_stop()
    yield
    shutdown.forget()
