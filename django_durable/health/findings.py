"""What a report is made of: findings, and the catalog of every kind there is, from which the docs' table is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    """Greater is worse."""

    OK = 0
    WARNING = 1  # somebody should look at it today
    CRITICAL = 2  # something does not go on

    @property
    def label(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at. what: a sentence with figures. fix: what to do. data: the figures."""

    code: str
    severity: Severity
    what: str
    fix: str = ""  # empty iff ok
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of finding. asks: for the table in the docs. worst: the most that it can be."""

    code: str
    asks: str
    warning: str  # when it is one; empty: never
    critical: str
    fix: str

    def ok(self, what: str, **data: Any) -> Finding:
        return Finding(code=self.code, severity=Severity.OK, what=what, data=data)

    def warn(self, what: str, *, fix: str = "", **data: Any) -> Finding:
        return self._found(Severity.WARNING, what, fix, data)

    def alarm(self, what: str, *, fix: str = "", **data: Any) -> Finding:
        return self._found(Severity.CRITICAL, what, fix, data)

    def _found(self, severity: Severity, what: str, fix: str, data: Mapping[str, Any]) -> Finding:
        return Finding(code=self.code, severity=severity, what=what, fix=fix or self.fix, data=data)


KINDS: dict[str, Kind] = {}


def kind(code: str, asks: str, *, warning: str = "", critical: str = "", fix: str) -> Kind:
    """Enter a kind into the catalog."""
    KINDS[code] = Kind(code, asks, warning, critical, fix)
    return KINDS[code]
