"""Status changes: each is whole, fenced and told; closed is final."""

import pytest
from django.db import connection

from django_durable import signals, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, transitions
from django_durable.exceptions import ExecutionClosedError, ExecutionNotFoundError, LeaseLostError
from django_durable.models import AuditEntry, Execution, Status, StuckReason, Timer


@pytest.fixture
def claimed():
    @workflow("transitions.flow")
    def flow(ctx):
        return None

    started = flow.start()
    claim = claims.take(started.id, using="default")
    return claim, Execution.objects.get(pk=started.id)


@pytest.fixture
def told():
    heard = []

    def hear(sender, signal, **facts):
        heard.append({"is_open": connection.in_atomic_block, **facts})

    for signal in (signals.execution_closed, signals.execution_parked, signals.execution_stuck):
        signal.connect(hear, weak=False, dispatch_uid="test")
    yield heard
    for signal in (signals.execution_closed, signals.execution_parked, signals.execution_stuck):
        signal.disconnect(dispatch_uid="test")


def test_a_close_takes_the_timer_and_leaves_the_outcome_and_one_audit_row(durable, claimed):
    claim, execution = claimed
    transitions.close(claim, execution, Status.COMPLETED, result="[1,null]")
    stored = Execution.objects.get()
    assert (stored.status, stored.result, stored.finished_at is not None) == ("completed", "[1,null]", True)
    assert stored.started_at is not None
    assert Timer.objects.count() == 0
    assert list(AuditEntry.objects.values_list("kind", "before")) == [("completed", {"status": "pending"})]


def test_a_second_close_changes_nothing(durable, claimed):
    claim, execution = claimed
    transitions.close(claim, execution, Status.COMPLETED, result="[1,null]")
    before = list(Execution.objects.values())
    with pytest.raises(LeaseLostError):
        transitions.close(claim, execution, Status.FAILED, error="x")
    assert list(Execution.objects.values()) == before
    assert AuditEntry.objects.count() == 1


def test_hand_back_makes_it_due_at_once_and_counts_as_no_crash(durable, claimed):
    claim, execution = claimed
    transitions.hand_back(claim, execution)
    timer = Timer.objects.due().get()
    assert (timer.token, timer.holder, timer.claims) == (None, "", 0)
    assert Execution.objects.get().started_at is not None  # so that the next pass loads the history


def test_poison_waits_for_a_person(durable, claimed):
    claim, execution = claimed
    transitions.stick(claim, execution, StuckReason.POISON, error="[1,1]", error_type="", detail="")
    timer = Timer.objects.get()
    assert (timer.due_at, timer.held) == (None, True)
    Timer.objects.filter(pk=execution.pk).bump()
    assert not Timer.objects.due().exists()


def test_a_mismatch_is_looked_at_again_and_told_once(durable, claimed):
    claim, execution = claimed
    for _ in range(2):
        transitions.stick(claim, execution, StuckReason.NONDETERMINISM, error="[1,1]", error_type="", detail="")
        assert Timer.objects.get().due_at is not None
        Timer.objects.update(due_at=DatabaseNow())
        claim, execution = claims.take(execution.id, using="default"), Execution.objects.get()
    assert list(AuditEntry.objects.values_list("kind", flat=True)) == ["stuck_nondeterminism"]


def test_orders_need_a_timer(durable, claimed):
    claim, execution = claimed
    transitions.close(claim, execution, Status.COMPLETED)
    for order in (transitions.request_cancel, transitions.terminate):
        with pytest.raises(ExecutionClosedError):
            order(execution.id, using="default", actor="", reason="")
        with pytest.raises(ExecutionNotFoundError):
            order(claim.token, using="default", actor="", reason="")


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_django_signals_are_sent_after_the_commit(claimed, told):
    claim, execution = claimed
    transitions.close(claim, execution, Status.COMPLETED)
    assert [(facts["execution_id"], facts["status"], facts["is_open"]) for facts in told] == [
        (execution.id, "completed", False)
    ]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("polling")
def test_a_receiver_that_fails_does_not_harm_the_engine(claimed):
    def fails(**_):
        raise RuntimeError

    claim, execution = claimed
    signals.execution_closed.connect(fails, weak=False, dispatch_uid="test")
    try:
        transitions.close(claim, execution, Status.COMPLETED)
    finally:
        signals.execution_closed.disconnect(dispatch_uid="test")
    assert Execution.objects.get().status == "completed"
