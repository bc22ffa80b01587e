"""Finding workflows by their stored name: nothing is ever imported because a row or a message says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from django_durable.describe import WorkflowInfo
from django_durable.describe.catalog import Definition
from django_durable.exceptions import ConfigurationError, UnknownWorkflowError

OWN_CATEGORY = "durable"  # of what the package itself registers

D = TypeVar("D", bound=Definition)


class Registry(Generic[D]):
    """Workflows by name and version."""

    def __init__(self) -> None:
        self._versions: dict[str, dict[int, D]] = {}

    def add(self, definition: D) -> None:
        versions = self._versions.setdefault(definition.name, {})
        other = versions.get(definition.version)
        if other is not None and place_of(other.fn) != place_of(definition.fn):
            raise ConfigurationError(
                f"Workflow {definition.name!r} version {definition.version} is defined twice: in "
                f"{place_of(other.fn)} and in {place_of(definition.fn)}. Rename one, or raise its version=."
            )
        versions[definition.version] = definition

    def find(self, name: str, version: int | None = None) -> D:
        """The newest version, or exactly the one asked for. Raises UnknownWorkflowError."""
        versions = self._versions.get(name, {})
        if version is None and versions:
            return versions[max(versions)]
        if version is None or version not in versions:
            raise UnknownWorkflowError(name, version)
        return versions[version]

    def knows(self, name: str, version: int) -> bool:
        return version in self._versions.get(name, {})

    def workflows(self) -> list[WorkflowInfo]:
        """What the project has registered, by name and version: for lists, forms and other people's code."""
        infos = (WorkflowInfo.of(definition) for definition in self if definition.category != OWN_CATEGORY)
        return sorted(infos, key=lambda info: (info.name, info.version))

    def __iter__(self) -> Iterator[D]:
        for versions in self._versions.values():
            yield from versions.values()

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Forget on exit what is registered inside; for tests."""
        before = {name: dict(versions) for name, versions in self._versions.items()}
        try:
            yield
        finally:
            self._versions = before


def place_of(fn: Callable[..., Any]) -> str:
    return f"{fn.__module__}.{fn.__qualname__}"
