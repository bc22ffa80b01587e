"""pytest plugin, found by its entry point: the fixture ``durable``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from django_durable.testing.kit import DurableKit


@pytest.fixture
def durable(db: Any) -> Iterator[DurableKit]:
    """Executions in this process, under a clock that the test moves; see ``django_durable.testing``."""
    from django_durable.testing.kit import DurableKit  # models are importable only once Django is set up

    with DurableKit() as kit:
        yield kit
