"""What retention has deleted in a storm, by the witness that it leaves: the archive."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from django_durable import archive
from django_durable.clock import DatabaseNow
from django_durable.engine.archiving import storage_of_archive
from django_durable.models import CLOSED, Delivery, Execution
from tests.ledger_app.ledger import Ledger
from tests.storm.workflows import BRIEF, brief, brief_item

KEPT = {definition.name: BRIEF for definition in (brief, brief_item)}
PATIENCE = timedelta(seconds=20)  # how long something may be expired before it must have gone
AT_ONCE = 500


def violations(ledger: Ledger) -> Iterator[str]:
    """What is archived had ended and was expired; tell the ledger of what is gone since. What is expired is gone."""
    archived = {}
    for line, written_at in _lines():
        archived[line["id"]] = line
        age = KEPT[line["workflow"]].after(line["status"]) if line["workflow"] in KEPT else None
        ended_at = line["execution"]["finished_at"]
        if line["status"] not in CLOSED or age is None or datetime.fromisoformat(ended_at) + age > written_at:
            yield (
                f"{line['workflow']} {line['id']}: was taken for expired at {written_at}, when it was {line['status']} "
                f"since {ended_at}"
            )
    for pk in archived.keys() - _present(archived):
        events = [event["id"] for event in archived[pk]["events"]]
        ledger.pruned(pk, chain=archived[pk]["execution"]["chain"], events=events)
    yield from _forgotten()


def _lines() -> Iterator[tuple[dict[str, Any], datetime]]:
    """Each archived execution, and when, by the clock of the machine."""
    for name in archive.files():
        written_at = datetime.fromtimestamp(Path(storage_of_archive().path(name)).stat().st_mtime, UTC)
        yield from ((line, written_at) for line in archive.read(name))


def _present(archived: dict[str, Any]) -> set[str]:
    ids = [UUID(pk) for pk in archived]
    executions = Execution.objects.using("direct")
    batches = (executions.filter(pk__in=ids[at : at + AT_ONCE]) for at in range(0, len(ids), AT_ONCE))
    return {str(pk) for batch in batches for pk in batch.values_list("pk", flat=True)}


def _forgotten() -> Iterator[str]:
    """Only the last of a chain is asked for: it holds the others. An event that nobody has received holds it."""
    pending = Delivery.objects.using("direct").filter(due_at__isnull=False).values("event__execution")
    ended = Execution.objects.using("direct").filter(workflow=brief.name, status="completed").exclude(pk__in=pending)
    for execution in ended.filter(finished_at__lt=DatabaseNow() - PATIENCE):
        yield f"{brief.name} {execution.pk}: ended at {execution.finished_at}, is expired, and nobody has deleted it"


def count(ledger: Ledger) -> int:
    return len(ledger.lines("pruned"))


def forget() -> None:
    shutil.rmtree(storage_of_archive().location, ignore_errors=True)
