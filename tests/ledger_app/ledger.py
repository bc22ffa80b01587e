"""The witness outside the database: a file to which every process appends what it did.

The engine cannot roll it back, fence it or forget it. One line is one write, so that lines of processes that write
at the same time, or die, stay whole.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

VARIABLE = "DURABLE_TEST_LEDGER"  # names the file; child processes inherit it


class Ledger:
    """Lines about effects, values that workflows saw, and what the test itself did to an execution."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.touch()

    def write(self, what: str, execution_id: UUID | str | None, **facts: Any) -> None:
        line = {"what": what, "execution": None if execution_id is None else str(execution_id), **facts}
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, (json.dumps(line) + "\n").encode())
        finally:
            os.close(handle)

    def lines(self, *what: str) -> list[dict[str, Any]]:
        """Those that say one of these, in the order in which they were written."""
        found = (json.loads(line) for line in self.path.read_text().splitlines())
        return [line for line in found if line["what"] in what]

    # -- what the test says ------------------------------------------------------------------------

    def interrupted(self, execution_id: UUID | None = None) -> None:
        """A worker was killed or its lease taken while it may have run a body; None: no matter whose."""
        self.write("interrupted", execution_id)

    def started(self, execution_id: UUID, *, workflow: str, key: str) -> None:
        """``start`` returned and its transaction committed."""
        self.write("started", execution_id, workflow=workflow, key=key)

    def never_started(self, *, workflow: str, key: str) -> None:
        """The transaction of a ``start`` was rolled back."""
        self.write("never_started", None, workflow=workflow, key=key)

    def sent(self, execution_id: UUID, name: str, signal_id: str) -> None:
        """``signal`` returned and its transaction committed."""
        self.write("sent", execution_id, name=name, signal_id=signal_id)

    def pruned(self, execution_id: UUID | str, *, chain: str | None = None, events: Sequence[str] = ()) -> None:
        """It was deleted, and rightly. chain: what it was continued from or as goes with it. events: its own."""
        self.write("pruned", execution_id, chain=chain, events=events)

    # -- what the test asks ------------------------------------------------------------------------

    def token(self, execution_id: UUID | None) -> str | None:
        """The signal token that an execution has shown, if it came so far."""
        shown = (line for line in self.lines("seen") if line["execution"] == str(execution_id))
        return next((line["value"].split("'")[1] for line in shown if line["name"] == "token"), None)

    # -- what the checker asks ---------------------------------------------------------------------

    def gone(self) -> set[str]:
        """What was pruned, and the chains of which parts were."""
        return {each for line in self.lines("pruned") for each in (line["execution"], line["chain"]) if each}

    def interruptions(self) -> Counter[str | None]:
        return Counter(line["execution"] for line in self.lines("interrupted"))


def current() -> Ledger:
    """The ledger of the running test."""
    return Ledger(os.environ[VARIABLE])
