"""The database does its work and the reply is lost, or it never got the call: nothing is lost and nothing doubles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
from django.db import OperationalError, connection, connections

from django_durable import client
from django_durable.clock import DatabaseNow
from django_durable.engine import worker
from django_durable.models import Execution, Timer
from django_durable.testing.faults import DatabaseCalls, watch_database
from tests.invariants import check
from tests.ledger_app import programs
from tests.ledger_app.ledger import Ledger
from tests.telling import EVERYTHING, untold


def _cut() -> None:
    """The connection goes while the server goes on."""
    if connection.vendor == "mysql":  # its driver cannot close a connection under an open cursor
        other = connection.copy()
        with other.cursor() as cursor:
            cursor.execute("KILL %s", [connection.connection.thread_id()])
        other.close()
    else:
        connection.connection.close()
    raise OperationalError("server closed the connection unexpectedly")


def _plain() -> Any:
    return programs.plain.start(7)


def _with_two_answers() -> Any:
    execution = programs.signals.start(2)
    for name, payload in [("answer", 1), ("answer", 2), ("last", "bye")]:
        client.signal(execution.id, name, payload)
    return execution


STORIES: dict[str, Callable[[], Any]] = {
    "plain steps": _plain,
    "atomic steps": lambda: programs.atomic.start(),
    "atomic step that is retried": lambda: programs.atomic_retried.start(),
    "retried step": lambda: programs.retried.start(),
    "at-most-once step": lambda: programs.once.start(),
    "two signals of one name": _with_two_answers,
    "wait": lambda: programs.signal.start(),
    "token": lambda: programs.by_token.start(),
    "facts": lambda: programs.facts.start(),
    "events": lambda: programs.emits.start(),
    "events in a race": lambda: programs.emits_in_branches.start(),
}


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("start", STORIES.values(), ids=STORIES)
def test_every_lost_reply_is_looked_up(
    ledger: Ledger, start: Callable[[], Any], when: Literal["before", "after"]
) -> None:
    assert _findings(ledger, start, when) == []


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_told_is_told_once_when_its_reply_is_lost(
    ledger: Ledger, configure: Callable[..., None], when: Literal["before", "after"]
) -> None:
    configure(**EVERYTHING)
    assert _findings(ledger, lambda: programs.talks_once.start(), when, untold) == []


def _nothing(using: str, execution_ids: Any) -> list[str]:
    return []


def _findings(
    ledger: Ledger,
    start: Callable[[], Any],
    when: Literal["before", "after"],
    more: Callable[..., list[str]] = _nothing,
) -> list[str]:
    if connection.vendor == "sqlite":
        pytest.skip("SQLite has no connection that could be cut")
    findings, at = [], 0
    while True:
        at += 1
        assert at < 200
        calls = DatabaseCalls(at=at, when=when, die=_cut)
        execution = start()
        _work_under(calls, execution, ledger)
        _finish(execution)
        if len(calls.seen) < at:
            break
        found = check("default", ledger, only=[execution.id]) + more("default", [execution.id])
        findings += [f"{when} call {at} {calls.seen[at - 1]!r}: {text}" for text in found]
    return findings
    assert set(Execution.objects.values_list("status", flat=True)) <= {"completed"}


def _work_under(calls: DatabaseCalls, execution: Any, ledger: Ledger) -> None:
    try:
        with watch_database(calls):
            worker.advance_one(execution.id, using="default")
    except OperationalError:
        # The pass gave up. Its process lives, so its lease has to run out.
        ledger.interrupted(execution.id)
    connections.close_all()
    Timer.objects.filter(execution_id=execution.id).leased().update(due_at=DatabaseNow())


def _finish(execution: Any) -> None:
    for _ in range(4):
        worker.drain("default", using="default")
    if not client.get(execution.id).is_closed:
        client.signal(execution.id, "answer", "yes")
        worker.drain("default", using="default")
