"""Fixtures of this directory."""

from tests.authoring import isolated_registry, polling

__all__ = ["isolated_registry", "polling"]
