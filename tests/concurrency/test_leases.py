"""Leases: they end, they are kept alive, and whoever lost one writes nothing more."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import OperationalError, transaction

from django_durable import Context, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, forcing, heartbeat, transitions, worker
from django_durable.engine.claims import Claim
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.outcomes import Ended, Park
from django_durable.exceptions import LeaseLostError
from django_durable.models import AuditEntry, Execution, Signal, Status, Step, StuckReason, Timer
from tests.concurrency.together import LONGEST_SECONDS, Gate, in_background
from tests.invariants import check
from tests.ledger_app import programs
from tests.ledger_app.ledger import Ledger
from tests.ledger_app.models import LedgerRow

DONE = Ended(status=Status.COMPLETED, result="[1,null]")


def _take(execution: Execution) -> Claim:
    claim = claims.take(execution.id, using="default")
    assert claim is not None
    return claim


def _end_lease(execution: Execution) -> None:
    """As if its worker had been stopped for longer than the lease."""
    assert Timer.objects.filter(execution_id=execution.id).leased().update(due_at=DatabaseNow()) == 1


def _everything() -> list[object]:
    tables = (Execution, Timer, Step, Signal, AuditEntry, LedgerRow)
    return [list(table.objects.order_by("pk").values()) for table in tables]


def _checkpoint(claim: Claim, **values: object) -> Checkpoint:
    return Checkpoint(position=0, name="late", kind="step", started_at=claim.now(), finished_at=claim.now(), **values)


def _open_checkpoint(claim: Claim) -> Checkpoint:
    return Checkpoint(position=0, name="late", kind="wait", status="waiting", started_at=claim.now())


def _journal(claim: Claim) -> Journal:
    return Journal(claim, inbox=[], cancel_requested_at=None)


def _record_in_transaction(claim: Claim, execution: Execution) -> None:
    with transaction.atomic():
        LedgerRow.objects.create(execution_id=execution.id, step="late", attempt=1)
        _journal(claim).record_in_transaction(_checkpoint(claim), is_new=True)


def _park(claim: Claim, execution: Execution) -> None:
    park = Park(
        opens=((_open_checkpoint(claim), True),),
        status=Status.WAITING,
        until=None,
        waiting_for="signal x",
        wake_seq=claim.wake_seq,
    )
    if not transitions.park(claim, execution, park):
        _journal(claim).renew()  # what the pass does with a park that was refused


def _stick(claim: Claim, execution: Execution) -> None:
    transitions.stick(claim, execution, StuckReason.POISON, error="{}", error_type="", detail="")


WRITES: dict[str, Callable[[Claim, Execution], None]] = {
    "append": lambda claim, execution: _journal(claim).append(_checkpoint(claim)),
    "settle": lambda claim, execution: _journal(claim).settle(_checkpoint(claim), is_new=False),
    "atomic step": _record_in_transaction,
    "park": _park,
    "close": lambda claim, execution: transitions.close(claim, execution, DONE),
    "stick": _stick,
    "hand back": transitions.hand_back,
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
@pytest.mark.parametrize("successor", ["holds it", "parked it", "closed it"])
def test_a_zombie_writes_nothing(write: Callable[[Claim, Execution], None], successor: str) -> None:
    started = programs.signal.start()
    execution = Execution.objects.get(pk=started.id)
    zombie = _take(execution)
    _end_lease(execution)
    if successor == "holds it":
        _take(execution)
    else:
        worker.drain("default", using="default")
    if successor == "closed it":
        forcing.terminate(execution.id, using="default", actor="ada", reason="")
    before = _everything()

    with pytest.raises(LeaseLostError):
        write(zombie, execution)

    assert _everything() == before
    assert claims.extend(zombie) is False


@pytest.mark.parametrize("atomic", [False, True], ids=["ordinary", "atomic"])
def test_a_worker_that_wakes_up_late_doubles_nothing(ledger: Ledger, atomic: bool) -> None:
    """The first worker is in a step when its lease ends; a second one does all the work; then the first goes on."""
    gate, calls = Gate(), []

    @programs.witnessed(atomic=atomic)
    def held() -> str:
        calls.append(1)
        if len(calls) == 1 and not atomic:
            programs.effect()
            gate.pass_through()
        else:
            programs.insert() if atomic else programs.effect()
        return f"run {len(calls)}"

    @workflow("race.zombie")
    def program(ctx: Context) -> str:
        if atomic:  # held before the transaction begins: SQLite's write lock would stop the second worker
            calls or (calls.append(1), gate.pass_through())
        return ctx.step(held)

    execution = program.start()
    with in_background(lambda: worker.drain("default", using="default")) as outcomes:
        assert gate.entered.wait(LONGEST_SECONDS)
        _end_lease(execution)
        assert worker.advance_one(execution.id, using="default")
        after_second = list(Step.objects.values())
        gate.opened.set()

    assert outcomes == [1]
    assert list(Step.objects.values()) == after_second
    assert Execution.objects.get(pk=execution.id).status == "completed"
    ledger.interrupted(execution.id)
    assert check("default", ledger) == []


def test_a_live_lease_is_respected_and_an_ended_one_is_not(configure: Callable[..., None]) -> None:
    configure(LEASE_SECONDS=0.4, HEARTBEAT_SECONDS=60)
    execution = programs.plain.start(1)
    first = _take(execution)
    due = Timer.objects.filter(execution_id=execution.id).due()

    second, ends_at = None, time.monotonic() + LONGEST_SECONDS
    while second is None:
        assert time.monotonic() < ends_at
        was_due = due.exists()
        second = claims.take(execution.id, using="default")
        assert second is None or was_due or due.model.objects.get().token == second.token
        time.sleep(0.01)

    assert second.token != first.token
    assert second.now() - first.database_now >= claims.timedelta(seconds=0.4)
    assert (second.claims, first.timers().count()) == (2, 0)


def test_the_heartbeat_keeps_the_lease_of_a_long_step(configure: Callable[..., None]) -> None:
    """Its end moves on while the step runs: what a slow machine cannot be late for is a lease of minutes."""
    configure(LEASE_SECONDS=300, HEARTBEAT_SECONDS=0.1)
    gate = Gate()

    @workflow("race.long")
    def program(ctx: Context) -> None:
        ctx.step("long", gate.pass_through)

    execution = program.start()
    with in_background(lambda: worker.drain("default", using="default")) as outcomes:
        assert gate.entered.wait(LONGEST_SECONDS)
        timer = Timer.objects.filter(execution_id=execution.id)
        first, ends_at, stolen = timer.get().due_at, time.monotonic() + LONGEST_SECONDS, None
        while stolen is None and timer.get().due_at < first + timedelta(seconds=0.3):
            assert time.monotonic() < ends_at
            stolen = claims.take(execution.id, using="default")
            time.sleep(0.02)
        gate.opened.set()

    assert stolen is None
    assert outcomes == [1]
    assert Execution.objects.get(pk=execution.id).status == "completed"


def test_the_heartbeat_notices_a_lost_lease(configure: Callable[..., None]) -> None:
    configure(HEARTBEAT_SECONDS=0.05)
    execution = programs.plain.start(1)
    claim = _take(execution)
    with heartbeat.keep(claim):
        _end_lease(execution)
        # The old heartbeat may have been faster and extended its lease; then it is tried again.
        while claims.take(execution.id, using="default") is None:
            _end_lease(execution)
        _wait_until_lost(claim)

    assert claim.lost


def test_a_heartbeat_that_the_database_refuses_counts_as_lost(
    configure: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(HEARTBEAT_SECONDS=0.05)
    claim = _take(programs.plain.start(1))

    def fail(_: Claim) -> bool:
        raise OperationalError("the server is gone")

    monkeypatch.setattr(claims, "extend", fail)
    with heartbeat.keep(claim):
        _wait_until_lost(claim)

    assert claim.lost


def test_a_pass_that_lost_its_lease_starts_no_further_step(ledger: Ledger, configure: Callable[..., None]) -> None:
    configure(HEARTBEAT_SECONDS=0.05)

    @workflow("race.lost")
    def program(ctx: Context) -> None:
        ctx.step(programs.append)
        ctx.step("second", lose)
        ctx.step("third", programs.append)

    def lose() -> None:
        """Its successor takes the lease; wait until this worker's heartbeat has seen that."""
        Timer.objects.update(token="0" * 32, holder="somebody else")
        time.sleep(0.01)
        ends_at = time.monotonic() + LONGEST_SECONDS
        while not heartbeat_is_idle() and time.monotonic() < ends_at:
            time.sleep(0.01)

    def heartbeat_is_idle() -> bool:
        return not heartbeat._heartbeat._claims

    program.start()
    worker.drain("default", using="default")

    assert list(Step.objects.values_list("name", flat=True)) == ["append"]
    assert [line["step"] for line in ledger.lines("effect")] == ["append"]


def _wait_until_lost(claim: Claim) -> None:
    ends_at = time.monotonic() + LONGEST_SECONDS
    while not claim.lost and time.monotonic() < ends_at:
        time.sleep(0.01)
