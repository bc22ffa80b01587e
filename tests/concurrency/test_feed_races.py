"""Many writers, whose transactions end in any order or not at all, and readers who go on from where they were."""

from __future__ import annotations

import random
import threading
from uuid import UUID

import pytest
from django.db import transaction

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.models import AuditEntry
from django_durable.models.identity import new_id
from tests.concurrency.together import together

WRITERS, EACH, READERS = 4, 40, 3


def _write(number: int, execution_id: UUID) -> None:
    """Entries of one execution, numbered; some transactions hold several, some are rolled back."""
    chance, written = random.Random(number), 0
    while written < EACH:
        with transaction.atomic():
            kept = chance.random() > 0.2
            for _ in range(chance.randint(1, 3)):
                AuditEntry.objects.create(
                    execution_id=execution_id,
                    kind="kept" if kept else "undone",
                    reason=str(written),
                    created_at=DatabaseNow(),
                )
                written += kept
            transaction.set_rollback(not kept)


def _read(ended: threading.Event, seen: list[client.FeedEntry]) -> None:
    position = 0
    while True:
        was_ended = ended.is_set()
        page = client.feed(after=position, limit=7)
        seen += page.entries
        position = page.position
        if was_ended and not page.entries:
            return


@pytest.mark.slow
def test_each_reader_sees_each_entry_once_in_one_order() -> None:
    executions = [new_id() for _ in range(WRITERS)]
    ended, left = threading.Event(), threading.Semaphore(0)
    seen: list[list[client.FeedEntry]] = [[] for _ in range(READERS)]

    def writer(number: int) -> None:
        try:
            _write(number, executions[number])
        finally:
            left.release()

    def watcher() -> None:
        for _ in range(WRITERS):
            assert left.acquire(timeout=150)
        ended.set()

    outcomes = together(
        watcher,
        *[lambda number=number: writer(number) for number in range(WRITERS)],
        *[lambda entries=entries: _read(ended, entries) for entries in seen],
    )

    assert not [outcome for outcome in outcomes if isinstance(outcome, Exception)], outcomes
    there = list(AuditEntry.objects.order_by("position").values_list("position", "id"))
    assert [position for position, _ in there] == list(range(1, len(there) + 1))
    for entries in seen:
        assert [(entry.position, entry.id) for entry in entries] == there
        for execution_id in executions:
            own = [int(entry.reason) for entry in entries if entry.execution_id == execution_id]
            assert own == list(range(len(own)))
            assert len(own) >= EACH
