"""What a database client says on the wire, as far as it tells when something is about to be committed. Pure."""

from __future__ import annotations

import re
from typing import Protocol

_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "WITH"})
_AUTOCOMMIT = re.compile(r"SET\s+AUTOCOMMIT\s*=\s*(\d)", re.IGNORECASE)
_TYPELESS = {80877103, 80877104}  # PostgreSQL's requests for TLS and GSS encryption, before the start-up message


class Session:
    """One connection's transactions. A write outside a transaction commits by itself."""

    def __init__(self) -> None:
        self._in_transaction = False
        self._autocommit = True

    def commits(self, sql: str) -> bool:
        """Whether this statement ends in a commit; call it for every statement, in order."""
        words = sql.upper().replace(";", " ").split(None, 2)
        verb = words[0] if words else ""
        if verb in {"BEGIN", "START"}:
            self._in_transaction = True
        elif verb == "COMMIT":
            self._in_transaction = False
            return True
        elif verb == "ROLLBACK" and "TO" not in words:
            self._in_transaction = False
        elif found := _AUTOCOMMIT.match(sql.strip()):
            self._autocommit = found[1] == "1"
        return verb in _WRITES and self._autocommit and not self._in_transaction


class Frames(Protocol):
    """Cuts a client's byte stream into requests: the bytes to forward, and the SQL in them, if any."""

    def feed(self, data: bytes) -> list[tuple[bytes, str | None]]: ...


class PostgresFrames:
    """A request ends with Query or, in the extended protocol, with Sync."""

    def __init__(self) -> None:
        self._buffer = self._request = b""
        self._sql: str | None = None
        self._started = False

    def feed(self, data: bytes) -> list[tuple[bytes, str | None]]:
        self._buffer += data
        found = []
        while (message := self._next()) is not None:
            self._request += message
            if not self._started:
                self._started = int.from_bytes(message[4:8], "big") not in _TYPELESS
            elif message[:1] == b"Q":
                self._sql = _text(message[5:])
            elif message[:1] == b"P":
                self._sql = _text(message[5:].split(b"\0", 1)[1])
            if message[:1] not in b"PBDEC" or len(message) < 5:
                found.append((self._request, self._sql))
                self._request, self._sql = b"", None
        return found

    def _next(self) -> bytes | None:
        at = 1 if self._started else 0  # the start-up messages have no type byte
        if len(self._buffer) < at + 4:
            return None
        end = at + int.from_bytes(self._buffer[at : at + 4], "big")
        if len(self._buffer) < end:
            return None
        message, self._buffer = self._buffer[:end], self._buffer[end:]
        return message


class MySQLFrames:
    """Every packet is a request; the one that carries a query has number 0 and command 3."""

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[tuple[bytes, str | None]]:
        self._buffer += data
        found: list[tuple[bytes, str | None]] = []
        while len(self._buffer) >= 4:
            end = 4 + int.from_bytes(self._buffer[:3], "little")
            if len(self._buffer) < end:
                break
            packet, self._buffer = self._buffer[:end], self._buffer[end:]
            is_query = packet[3] == 0 and packet[4:5] == b"\x03"
            found.append((packet, _text(packet[5:]) if is_query else None))
        return found


FRAMES: dict[str, type[Frames]] = {"postgres": PostgresFrames, "mariadb": MySQLFrames}


def _text(data: bytes) -> str:
    return data.split(b"\0", 1)[0].decode(errors="replace")
