"""What to tell someone whose value cannot be stored. Recognises by shape; imports no framework."""

from __future__ import annotations

import inspect

from django_durable.codec.objects import kind_of

_PLAIN = (bool, int, float, str, list, tuple, dict, set, frozenset, bytes)


def advice_for(value: object) -> str:
    """Say why a value of an unknown type is refused and what to return instead."""
    cls = type(value)
    name = cls.__qualname__
    if hasattr(cls, "_meta") and hasattr(cls, "pk"):
        return f"{name} is a model instance, which would be stale when the workflow reads it. Return its pk."
    if hasattr(cls, "query") and hasattr(cls, "as_manager"):
        return f"{name} is a query, not data. Return a list of pks or of values."
    if kind_of(cls) is not None:
        return f"{name} is not registered. Put @register_type from django_durable on the module-level class."
    if hasattr(cls, "__next__") or inspect.iscoroutine(value):
        return f"{name} is not data yet. Return what it produces, as a list."
    if cls.__name__ == "__proxy__":
        return "A lazy translation has no language yet. Return str(value), or the key of the text."
    if isinstance(value, (bytearray, memoryview)):
        return f"{name} can change. Return bytes(value)."
    for base in _PLAIN:
        if isinstance(value, base):
            plain = base.__name__
            return f"{name} is a subclass of {plain} and would come back as one. Return {plain}(value)."
    return f"{name} cannot be stored. Return plain data, or register a dataclass, Enum or pydantic class."
