"""Another entry of DATABASES, for one test."""

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

from django.db import connections


@contextmanager
def alias(name: str, entry: dict[str, Any], **options: Any) -> Iterator[None]:
    """Another entry of DATABASES for a while."""
    entry = deepcopy(entry)
    entry["OPTIONS"] = options
    connections.databases[name] = {**deepcopy(connections.databases["default"]), **entry}
    try:
        yield
    finally:
        connections[name].close()
        del connections.databases[name], connections[name]
