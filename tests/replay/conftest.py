"""Fixtures of this directory."""

import pytest

from tests.authoring import isolated_registry
from tests.replay.acting import ran

__all__ = ["isolated_registry"]


@pytest.fixture(autouse=True)
def _nothing_ran_yet() -> None:
    ran.clear()
