"""Fixtures of this directory."""

from tests.authoring import isolated_registry

__all__ = ["isolated_registry"]
