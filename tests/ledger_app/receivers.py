"""Receivers that leave a witness. Registered by the tests that want them: where nobody receives, a drain asks less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django_durable import EventInfo, Retry, on_event
from django_durable.events import receivers
from tests.ledger_app import ledger, programs

EVENT = "ledger.told"
PATIENT = Retry(max_attempts=4, initial_seconds=0.01, multiplier=1, jitter=0)  # one may be lost with its worker


def _witness(receiver: str, event: EventInfo[dict[str, int]]) -> None:
    ledger.current().write(
        "received", event.execution_id, receiver=receiver, event=str(event.id), number=event.payload["number"]
    )


def hears(event: EventInfo[dict[str, int]]) -> None:
    _witness("hears", event)


def fails_twice(event: EventInfo[dict[str, int]]) -> None:
    _witness("fails_twice", event)
    if event.attempt <= 2:
        raise programs.Broken(f"attempt {event.attempt}")


@contextmanager
def receiving(*, failing: bool = True) -> Iterator[None]:
    with receivers.isolated():
        on_event(EVENT)(hears)
        if failing:
            on_event(EVENT, retry=PATIENT)(fails_twice)
        yield
