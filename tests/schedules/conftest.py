"""Fixtures of this directory."""

import pytest

from tests import invariants
from tests.authoring import isolated_registry, polling
from tests.schedules.making import START

__all__ = ["at_start", "isolated_registry", "polling"]


@pytest.fixture
def at_start(durable):
    """The kit, when its clock shows ``START``; what is true of all ticks is looked at in the end."""
    durable.clock.move_to(START)
    yield durable
    assert list(invariants.schedules("default")) == []
