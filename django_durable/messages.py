"""Named messages with the class of their payload: what signal types and event types have in common."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from django_durable import codec
from django_durable.exceptions import InvalidOptionError
from django_durable.names import Named, check_name

T = TypeVar("T")
_PLAIN_TYPES: frozenset[type] = frozenset({str, int, float, bool, dict, list, tuple})


class Message(Named, Generic[T]):
    """A stored name and the class of what is sent under it; None for plain JSON values."""

    noun: ClassVar[str]

    def __init__(self, name: str, payload: type[T] | None = None) -> None:
        self.name = check_name(name, f"{self.noun} name")
        self.payload = payload
        if payload is not None and payload not in _PLAIN_TYPES:
            codec.register(payload)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    def check(self, payload: Any) -> None:
        """Refuse a payload of another class, at the call."""
        if self.payload is not None and not isinstance(payload, self.payload):
            raise InvalidOptionError(
                f"{self.noun} {self.name!r} carries {self.payload.__qualname__}, not {type(payload).__qualname__}."
            )
