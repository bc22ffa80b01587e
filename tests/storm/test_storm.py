"""The parts of the storm that decide what is hurt, and that need no server."""

from pathlib import Path
from uuid import UUID

import pytest

from django_durable.engine import worker
from tests.engine.webhook_server import ALLOWED
from tests.ledger_app import programs
from tests.ledger_app.ledger import VARIABLE, Ledger
from tests.storm import account, coalescer, hooks, plan, report, seats
from tests.storm.wire import MySQLFrames, PostgresFrames, Session


def _postgres(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def _mysql(number: int, body: bytes) -> bytes:
    return len(body).to_bytes(3, "little") + bytes([number]) + body


@pytest.mark.parametrize(
    ("said", "commits"),
    [
        (["INSERT INTO step SELECT 1"], [True]),
        (["BEGIN", "UPDATE timer SET due_at = now()", "COMMIT"], [False, False, True]),
        (["BEGIN", "INSERT INTO a", "ROLLBACK TO SAVEPOINT s", "DELETE FROM a", "ROLLBACK"], [False] * 5),
        (["BEGIN", "ROLLBACK", "update a set b = 1"], [False, False, True]),
        (
            ["set autocommit=0", "INSERT INTO a", "commit", "set autocommit=1", "REPLACE a"],
            [False, False, True, False, True],
        ),
        (["WITH x AS (INSERT INTO a VALUES (1) RETURNING 1) SELECT * FROM x"], [True]),
        (["SELECT 1", "SAVEPOINT s", "RELEASE SAVEPOINT s", "SET x = 1", ""], [False] * 5),
    ],
)
def test_commits_are_recognised(said: list[str], commits: list[bool]) -> None:
    session = Session()
    assert [session.commits(sql) for sql in said] == commits


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_postgres_requests_come_whole_however_they_arrive(chunk: int) -> None:
    tls = (8).to_bytes(4, "big") + (80877103).to_bytes(4, "big")
    start = (12).to_bytes(4, "big") + (196608).to_bytes(4, "big") + b"u\0x\0"
    simple = _postgres(b"Q", b"COMMIT\0")
    extended = (
        _postgres(b"P", b"name\0INSERT INTO a VALUES ($1)\0\0\0") + _postgres(b"B", b"\0\0") + _postgres(b"S", b"")
    )
    stream = tls + start + simple + extended + _postgres(b"X", b"")
    frames = PostgresFrames()
    found = [one for at in range(0, len(stream), chunk) for one in frames.feed(stream[at : at + chunk])]
    assert b"".join(raw for raw, _ in found) == stream
    assert [(raw, sql) for raw, sql in found if sql] == [
        (simple, "COMMIT"),
        (extended, "INSERT INTO a VALUES ($1)"),
    ]


@pytest.mark.parametrize("chunk", [1, 5, 1000])
def test_only_mysql_queries_are_read_as_sql(chunk: int) -> None:
    query = _mysql(0, b"\x03COMMIT")
    stream = _mysql(1, b"\x03handshake") + query + _mysql(0, b"\x01")
    frames = MySQLFrames()
    found = [one for at in range(0, len(stream), chunk) for one in frames.feed(stream[at : at + chunk])]
    assert b"".join(raw for raw, _ in found) == stream
    assert [(raw, sql) for raw, sql in found if sql] == [(query, "COMMIT")]


def test_a_seed_draws_the_same_plan_and_another_one_another() -> None:
    again = [plan.draw(7, "mixed", 30, database="postgres") for _ in range(2)]
    assert again[0] == again[1]
    assert again[0].faults != plan.draw(8, "mixed", 30, database="postgres").faults


def test_the_full_form_asks_for_what_was_promised() -> None:
    drawn = {name: plan.draw(1, name, seconds, database="postgres") for name, seconds in plan.FULL.items()}
    counts = {name: sum(fault.kind == name for fault in one.faults) for name, one in drawn.items()}
    assert counts["kill"] >= 150
    assert counts["stop"] >= 20
    assert counts["broker"] >= 3
    assert counts["database"] >= 2
    assert drawn["cut"].cuts >= 300


def test_sqlite_is_not_hurt_where_it_has_nothing() -> None:
    kinds = {fault.kind for fault in plan.draw(1, "mixed", 60, database="sqlite").faults}
    assert kinds == {"kill", "stop", "broker", "beats"}
    assert sum(plan.long(10, database="sqlite").values()) == pytest.approx(600)


def test_the_table_counts_violations_by_invariant() -> None:
    row = {"database": "postgres", "name": "calm", "faults": {}, "executions": 1, "steps": 10, "violations": ["I4 x"]}
    row |= {"repeated": 0, "may_repeat": 0, "steps_per_second": 100.0, "settled_seconds": 0.5}
    row |= {"orders": "3 done", "coalesced": "5 in 2", "pruned": 1200, "webhooks": "4 of 4"}
    hurt = {**row, "name": "kill", "faults": {"kill": 1200}, "steps_per_second": 60.0, "violations": []}
    assert (
        "| postgres | kill | 1,200 kill | 1 | 10 | 0 (0) | 60 | 60% | 0.5 s | 3 done | 5 in 2 | 1,200 | 4 of 4 | 0 |"
        in report.faults([row, hurt])
    )
    assert "I4 1" in next(iter(report.invariants([row, hurt])))


@pytest.fixture
def told(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger")


@pytest.mark.parametrize(
    ("capacity", "stays", "crowded"),
    [
        (1, "a a b b", False),
        (1, "a b a b", True),
        (1, "a b a", True),
        (2, "a b a b", False),
        (2, "a b a c c b", False),
        (2, "a b c a", False),
        (2, "a b c a b", True),
    ],
)
def test_who_is_under_way_at_once_is_seen(told: Ledger, capacity: int, stays: str, crowded: bool) -> None:
    for name in stays.split():
        seats.tell(told, name, room="shelf", capacity=capacity)

    assert bool(list(seats.crowds(told))) == crowded


def test_what_a_stopped_process_writes_late_counts_for_nobody(told: Ledger) -> None:
    told.write("interrupted", "a")
    for name in "aba":
        seats.tell(told, name, room="shelf", capacity=1)

    assert not list(seats.crowds(told))


ONE = UUID(int=1)


@pytest.mark.parametrize(
    ("key", "lines", "wrong"),
    [
        ("skip", ["ask 1", "new 1", "ask 2", "coalesced 2", "runs 1"], ""),
        ("skip", ["ask 1", "new 1", "ask 2", "coalesced 2", "runs 2"], "ran for the start 2"),
        ("replace", ["ask 1", "new 1", "ask 2", "coalesced 2", "runs 2"], ""),
        ("replace", ["ask 1", "new 1", "ask 2", "coalesced 2", "runs 1"], "ran for the start 1"),
        ("replace", ["ask 1", "new 1", "ask 2", "runs 2", "coalesced 2"], ""),
        ("replace", ["ask 1", "new 1", "runs 1", "ask 2", "coalesced 2"], "joined by the start 2"),
        ("debounce", ["ask 1", "new 1", "ask 2", "new 2", "runs 2"], "new to several"),
        (None, ["ask 1", "new 1"], "is not there"),
    ],
)
def test_what_a_coalesced_start_may_come_to(told: Ledger, key: str | None, lines: list[str], wrong: str) -> None:
    for line in lines:
        what, number = line.split()
        if what == "ask":
            told.write("coalescing", None, key=key, number=int(number))
        elif what == "runs":
            told.write("seen", ONE, name="number", value=f"int {number}")
        else:
            told.write("coalesced", ONE, key=key, number=int(number), disposition=what)

    about, lost = coalescer.told_of(told, {str(ONE)})

    assert lost == 0
    found = list(coalescer.wrong(about[str(ONE)], key))
    assert bool(found) == bool(wrong)
    assert all(wrong in text for text in found[:1])


def test_a_start_without_a_reply_is_counted(told: Ledger) -> None:
    told.write("coalescing", None, key="skip", number=1)

    assert coalescer.told_of(told, set())[1] == 1


@pytest.mark.django_db(transaction=True)
def test_a_violation_comes_with_what_both_witnesses_know(told: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(told.path))
    failed = programs.refused.start()
    while worker.drain("default", using="default"):
        pass
    told.write("ordered", failed.id, order="retry")

    first, again, other = account.explained(
        [f"I2 ledger.refused {failed.id}: ended failed", f"I4 {failed.id}: is odd", "I6 3 bodies ran again"],
        told,
        using="default",
    )

    assert "error: tests.ledger_app.programs.Refused: no" in first
    assert "in refuse" in first
    assert "step 'refuse' failed, 1 attempts" in first
    assert "audit: failed" in first
    assert "ledger: ordered order=retry" in first
    assert (again, other) == (f"I4 {failed.id}: is odd", "I6 3 bodies ran again")


@pytest.mark.django_db(transaction=True)
def test_what_an_endpoint_was_not_told_is_seen(told: Ledger, settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.DURABLE = {**ALLOWED, "DISPATCHER": "django_durable.dispatch.NullDispatcher"}
    monkeypatch.setenv(VARIABLE, str(told.path))
    with hooks.receiving() as receiver:
        programs.emits_once.start()
        while worker.drain("default", using="default"):
            pass
        assert len(receiver.got) == 1
        assert not list(hooks.violations(receiver, told, using="default"))

        told.pruned("an execution", events=["its event"])
        [missing] = hooks.violations(receiver, told, using="default")
        assert missing == "nobody was told of the event its event, which is pruned"

        receiver.got.clear()
        lost, _ = hooks.violations(receiver, told, using="default")
        assert "is delivered, and was never received" in lost
