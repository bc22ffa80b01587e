"""Values that cannot be stored."""

from __future__ import annotations

from django_durable.exceptions.base import DurableError


class CodecError(DurableError):
    """A value cannot be stored, or stored text cannot be read.

    path: where inside the value, like ``args[0]['lines']``; empty for the value itself.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message, path)
        self.message = message
        self.path = path

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class PayloadTooLargeError(CodecError):
    """An encoded value exceeds ``DURABLE["PAYLOAD_LIMIT_BYTES"]``."""

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"{size_bytes} bytes encoded, the limit is {limit_bytes}. "
            "Store the data in a model or a file and pass its key."
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes

    def __reduce__(self) -> tuple[type, tuple[int, int]]:
        return type(self), (self.size_bytes, self.limit_bytes)


class PayloadErasedError(CodecError):
    """The value was removed by ``client.erase``; only that it was there is kept."""

    def __init__(self) -> None:
        super().__init__("This payload was erased; there is nothing to read.")

    def __reduce__(self) -> tuple[type, tuple[()]]:
        return type(self), ()
