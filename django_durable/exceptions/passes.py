"""What ends a pass."""

from __future__ import annotations

from django_durable.exceptions.base import DurableError


class NondeterminismError(DurableError):
    """The workflow's calls no longer match its recorded history.

    position: of the first difference, from 0. expected: what the history holds. found: what the code did.
    difference: these in a sentence, without the advice.
    """

    def __init__(self, position: int, expected: str, found: str, source: str = "") -> None:
        super().__init__(position, expected, found, source)
        self.position = position
        self.expected = expected
        self.found = found
        self.source = source

    @property
    def difference(self) -> str:
        where = f" at {self.source}" if self.source else ""
        return f"Position {self.position}: the history has {self.expected}, the code asked for {self.found}{where}."

    def __str__(self) -> str:
        return (
            f"{self.difference} Nothing new was run. "
            "Deploy code that matches the history and the execution goes on by itself; "
            "for incompatible changes register the new code under a higher version= and keep the old one."
        )


class SwallowedControlFlowError(DurableError):
    """Workflow code caught ``Suspend`` or ``Cancelled`` and went on.

    Look for a bare ``except:``, an ``except BaseException:`` or a ``return`` inside ``finally``; let these pass.
    """

    def __init__(self, swallowed: str) -> None:
        super().__init__(swallowed)
        self.swallowed = swallowed

    def __str__(self) -> str:
        return (
            f"The workflow caught {self.swallowed}, which tells the engine to leave the function, and went on. "
            "Look for a bare `except:`, `except BaseException:` or a `return` inside `finally:`; "
            "catch `Exception` instead, or raise it again."
        )


class LeaseLostError(DurableError):
    """Another worker holds the execution, or it has ended; this pass writes nothing more."""
