"""What the calls of a context take and give."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Case:
    """One branch of ``ctx.switch``: its name, which is stored; when to take it; what to run, with its own context."""

    name: str
    when: Callable[[Any], bool]
    run: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Settled:
    """How a branch of ``ctx.parallel(..., settle=True)`` has ended: with a value, or with an error."""

    value: Any = None
    error: BaseException | None = None

    @property
    def is_ok(self) -> bool:
        return self.error is None


@dataclass(frozen=True, slots=True)
class Child:
    """A child that was started. id: of its execution. name: of the checkpoint that started it."""

    id: uuid.UUID
    name: str
