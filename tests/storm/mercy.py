"""Which executions may go on where they have failed: a file for each, beside the ledger."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

from tests.ledger_app.ledger import Ledger


def have_mercy(ledger: Ledger, execution_id: UUID) -> None:
    place = _place(ledger, execution_id)
    place.parent.mkdir(exist_ok=True)
    place.touch()


def has_mercy(ledger: Ledger, execution_id: UUID) -> bool:
    return _place(ledger, execution_id).exists()


def _place(ledger: Ledger, execution_id: UUID) -> Path:
    return ledger.path.parent / "mercy" / str(execution_id)
