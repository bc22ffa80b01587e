"""What every phase stands on: the servers, a folder, and the ways to them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connections

from django_durable.models import Step, StepStatus
from tests.ledger_app.ledger import VARIABLE, Ledger
from tests.storm.clients import patiently


@dataclass(frozen=True)
class Ground:
    database: str
    folder: Path
    database_server: Any
    broker: Any
    seed: int

    def begin(self, name: str) -> tuple[Path, Ledger]:
        """A folder and a ledger for one phase; what is started from now on writes there."""
        folder = self.folder / name
        folder.mkdir()
        ledger = Ledger(folder / "ledger")
        os.environ[VARIABLE] = str(ledger.path)
        return folder, ledger


def point_clients_to(port: int) -> None:
    """Where clients, and the workers that are started from now on, find the database."""
    connections["default"].close()
    connections.settings["default"]["PORT"] = os.environ["STORM_PORT"] = str(port)
    del connections["default"]  # the next use of it makes it anew


def recorded_steps() -> int:
    return patiently("direct", Step.objects.using("direct").filter(status=StepStatus.COMPLETED).count)
