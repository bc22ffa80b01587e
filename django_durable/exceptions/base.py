"""The base of all of them."""

from __future__ import annotations


class DurableError(Exception):
    """Catch this to catch everything the library raises."""
