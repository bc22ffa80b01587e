"""The feed: writers whose entries commit in any order, and readers who each must see all of them once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.db import transaction

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.engine import feed, worker
from django_durable.engine.webhooks import delivering, routing
from django_durable.models import AuditEntry, OutboxEvent, WebhookDelivery, WebhookEndpoint
from tests.concurrency.interleaver import Act
from tests.concurrency.scenes import Outcomes, Scene
from tests.ledger_app import programs


class _Reader:
    """Reads twice, each time on from where it was; once more when all is done."""

    def __init__(self, start: int) -> None:
        self._position = start
        self.seen: list[UUID] = []

    def read(self) -> None:
        page = client.feed(after=self._position)
        self.seen += [entry.id for entry in page.entries]
        self._position = page.position

    def twice(self) -> None:
        self.read()
        self.read()


def reader_x_late_writer() -> Scene:
    """Both entries are older by their ids and times than what commits before them."""
    runs = [programs.signal.start() for _ in range(2)]

    def write() -> None:
        with transaction.atomic():
            client.cancel(runs[0].id)
            client.cancel(runs[1].id)

    return _reading(runs, lambda readers: {"writer": write, "reader": readers[0].twice})


def reader_x_writers() -> Scene:
    """What is written and committed first and second, and a reader between them."""
    runs = [programs.signal.start() for _ in range(2)]
    return _reading(
        runs,
        lambda readers: {
            "writer": lambda: client.cancel(runs[0].id),
            "other writer": _in_a_transaction(lambda: client.cancel(runs[1].id)),
            "reader": readers[0].twice,
        },
    )


def number_x_number() -> Scene:
    """Two find an entry without a position: one of them gives it one."""
    run = programs.signal.start()

    def acts(_: list[_Reader]) -> dict[str, Act]:
        client.cancel(run.id)
        return {name: lambda: feed.number(using="default") for name in ("reader", "other reader")}

    return _reading([run], acts)


def reader_x_end() -> Scene:
    """An execution that emits and fails, by a worker, beside a reader."""
    run = programs.emits_once.start()
    return _reading(
        [run],
        lambda readers: {
            "worker": lambda: worker.advance_one(run.id, using="default"),
            "reader": readers[0].twice,
        },
        ends={"completed"},
    )


# -- webhooks ------------------------------------------------------------------------------------------


def route_x_route() -> Scene:
    """Two workers see the same news: one of them makes the deliveries."""
    scene = _sending(dict.fromkeys(("worker", "other worker"), _route), 2)
    client.feed_position()  # "number x number" is another scene
    return scene


def route_x_late_writer() -> Scene:
    """What commits behind the back of a worker that routes is routed later, by it or the next."""

    def write() -> None:
        with transaction.atomic():
            _happened("late")

    return _sending({"worker": _route, "writer": write}, 3)


def send_x_send() -> Scene:
    """One of them sends it."""

    def agree(outcomes: Outcomes) -> Iterable[str]:
        if list(outcomes.values()).count(True) != 1:
            yield f"was sent so many times: {outcomes}"

    scene = _sending(dict.fromkeys(("worker", "other worker"), _send), 1)
    _route()
    scene.agree = agree
    return scene


def _route() -> None:
    routing.route(using="default")


def _send() -> bool:
    found = WebhookEndpoint.objects.get()
    delivery = delivering.take_next(found.pk, using="default")
    if delivery is not None:
        delivering.attempt(delivery, using="default")
    return delivery is not None


def _happened(kind: str) -> None:
    AuditEntry.objects.create(kind=kind, created_at=DatabaseNow())


def _sending(acts: dict[str, Act], count: int) -> Scene:
    """An endpoint, and news that nobody has numbered; one execution that has ended, for what all scenes have."""
    run = programs.emits_once.start()
    worker.advance_one(run.id, using="default")
    WebhookEndpoint.objects.all().delete()
    made, _ = client.add_webhook("https://example.com/", kinds=["news", "late"])
    for _ in range(min(count, 2)):
        _happened("news")

    def settled(_: Outcomes) -> Iterable[str]:
        _route()
        while _send():
            pass
        sent = WebhookDelivery.objects.filter(endpoint=made, status="delivered", attempts=1).count()
        if not sent == WebhookDelivery.objects.count() == count:
            yield f"{sent} of {count} were sent once, {WebhookDelivery.objects.count()} are there"

    return Scene(acts, {"completed"}, [run.id], settled=settled)


# -- inside --------------------------------------------------------------------------------------------


def _in_a_transaction(act: Act) -> Act:
    def within() -> None:
        with transaction.atomic():
            act()

    return within


def _reading(
    runs: list[Any], acts: Callable[[list[_Reader]], dict[str, Act]], *, ends: Iterable[str] = ("cancelled",)
) -> Scene:
    start = client.feed_position()
    readers = [_Reader(start), _Reader(start)]

    def settled(_: Outcomes) -> Iterable[str]:
        tables: tuple[Any, ...] = (AuditEntry, OutboxEvent)
        for reader in readers:
            reader.read()
        rows = [row for table in tables for row in table.objects.values_list("position", "id")]
        if any(position is None for position, _ in rows):
            yield f"some have no position: {rows}"
            return
        told = [pk for position, pk in sorted(rows) if position > start]
        for reader in readers:
            if reader.seen != told:
                yield f"the feed told {told}, a reader saw {reader.seen}"
        if sorted(position for position, _ in rows if position > start) != list(
            range(start + 1, start + 1 + len(told))
        ):
            yield f"positions are {rows}"

    return Scene(acts(readers), set(ends), [run.id for run in runs], settled=settled)
