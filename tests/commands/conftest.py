"""Fixtures of this directory."""

from tests.authoring import isolated_registry, polling
from tests.clusters import cluster

__all__ = ["cluster", "isolated_registry", "polling"]
