"""A death at every database call of a reader of the feed, and of a worker that sends webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
from standardwebhooks.webhooks import Webhook

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.engine.webhooks import delivering, sending
from django_durable.models import AuditEntry, OutboxEvent, WebhookDelivery
from tests.crash.sweep import Play, Scenario, Sweep, least, work
from tests.ledger_app import programs


def start(play: Play) -> None:
    play.start()


def read(play: Play) -> None:
    client.feed()


def send(play: Play) -> None:
    delivering.drain(using="default", ends_at=float("inf"))


READING = Scenario(
    name="feed of one that emits and fails",
    workflow=programs.emits_and_fails,
    acts=(start, work, read),
    ends=(("failed", None),),
    at_least=20,
)
SENDING = Scenario(
    name="webhooks of one that emits and fails",
    workflow=programs.emits_and_fails,
    acts=(start, work, send),
    ends=(("failed", None),),
    at_least=30,
)


def happened() -> list[tuple[object, object]]:
    """(position, id) of all there is."""
    rows = [row for table in (AuditEntry, OutboxEvent) for row in table.objects.values_list("position", "id")]
    return sorted(rows)


def test_every_crash_of_a_reader_leaves_one_order_without_a_gap(sweep: Sweep) -> None:
    points = sweep.run(READING)

    told = [(entry.position, entry.id) for entry in everything()]
    assert [position for position, _ in told] == list(range(1, len(told) + 1))
    assert told == happened()
    assert points >= least(READING)


def everything() -> Iterator[client.FeedEntry]:
    position = 0
    while (page := client.feed(after=position)).entries:
        yield from page.entries
        position = page.position


@pytest.fixture
def posted(sweep: Sweep, settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The outside world: a file with a line for each message. A server would be a thread in a process that forks."""
    # No act but its own sends.
    settings.DURABLE = {**settings.DURABLE, "WEBHOOK_QUEUE": "webhooks"}
    path = tmp_path / "posted"

    def post(url: str, body: bytes, headers: dict[str, str]) -> None:
        with path.open("a") as file:
            file.write(json.dumps([body.decode(), headers]) + "\n")

    monkeypatch.setattr(sending, "post", post)
    return path


def test_every_crash_of_a_sender_sends_everything_at_least_once(sweep: Sweep, posted: Path) -> None:
    kinds = ["failed", f"event:{programs.TOLD}"]
    _, secret = client.add_webhook("https://example.com/", kinds=kinds)

    points = sweep.run(SENDING)

    WebhookDelivery.objects.exclude(token=None).update(due_at=DatabaseNow())  # the leases of the dead run out
    delivering.drain(using="default", ends_at=float("inf"))
    deliveries = dict(WebhookDelivery.objects.filter(status="delivered").values_list("id", "entry_id"))
    wanted = {entry.id for entry in everything() if entry.kind in kinds}
    assert WebhookDelivery.objects.count() == len(deliveries) == len(wanted)
    assert set(deliveries.values()) == wanted
    told = set()
    for line in posted.read_text().splitlines():
        body, headers = json.loads(line)
        entry_id = UUID(Webhook(secret).verify(body, headers)["data"]["id"])
        assert deliveries[UUID(headers["webhook-id"])] == entry_id
        told.add(entry_id)
    assert told == wanted
    assert points >= least(SENDING)
