"""Changes of status: legal, under the lease, together with their audit line, announced after the commit."""

import uuid
from datetime import timedelta

import pytest

from django_durable import client, clock, signals
from django_durable.engine import claims, forcing, transitions
from django_durable.engine.history import Checkpoint
from django_durable.engine.outcomes import Ended, Park
from django_durable.exceptions import ExecutionClosedError, ExecutionNotFoundError, LeaseLostError
from django_durable.models import AuditEntry, Execution, Status, Step, StepStatus, StuckReason, Timer
from tests.authoring import Deployed, no_op, rows

USING = "default"
DONE = Ended(status=Status.COMPLETED, result="[1,null]")


@pytest.fixture
def execution(durable):
    return Deployed("flow", no_op).workflow.start()


@pytest.fixture
def claim(execution):
    return claims.take(execution.id, using=USING)


@pytest.fixture
def heard():
    """What was announced, by name of the Django signal."""
    told, receivers = [], {}
    for name in ("execution_parked", "execution_closed", "execution_stuck"):

        def receiver(*, _name=name, **facts):
            told.append((_name, facts.get("status") or facts.get("reason")))

        receivers[name] = receiver
        getattr(signals, name).connect(receiver)
    yield told
    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)


def current():
    return Execution.objects.get()


def a_park(claim, **values):
    now = claim.now()
    made = Checkpoint(position=0, name="sleep", kind="sleep", status=StepStatus.WAITING, started_at=now, due_at=now)
    given = {
        "opens": ((made, True),),
        "status": Status.SLEEPING,
        "until": now + timedelta(hours=1),
        "waiting_for": "timer",
        "wake_seq": claim.wake_seq,
    }
    return Park(**given | values)


def stick(claim, execution, reason):
    transitions.stick(claim, execution, reason, error="[1,null]", error_type="X", detail="why")


MOVES = {
    "park": lambda claim, execution: transitions.park(claim, execution, a_park(claim)),
    "close": lambda claim, execution: transitions.close(claim, execution, DONE),
    "stick": lambda claim, execution: stick(claim, execution, StuckReason.POISON),
    "hand back": transitions.hand_back,
}


# -- under the lease -----------------------------------------------------------------------------------


@pytest.mark.parametrize("move", MOVES)
def test_without_the_lease_nothing_is_written(execution, claim, move):
    Timer.objects.update(token=uuid.uuid4())
    before, row, timer = rows(), current().__dict__, Timer.objects.values().get()
    moved = None
    try:
        moved = MOVES[move](claim, execution)
    except LeaseLostError:
        moved = False
    assert moved is False
    after = current().__dict__
    assert rows() == before
    assert {k: v for k, v in after.items() if k != "_state"} == {k: v for k, v in row.items() if k != "_state"}
    assert Timer.objects.values().get() == timer


def test_a_park_gives_the_lease_back_with_its_checkpoint(execution, claim):
    Timer.objects.update(claims=4, progress=2, refused_since=clock.now())
    assert transitions.park(claim, execution, a_park(claim)) is True
    timer, row = Timer.objects.get(), current()
    assert (timer.token, timer.holder, timer.claims, timer.progress, timer.refused_since) == (None, "", 0, 0, None)
    assert (row.status, row.waiting_for, row.waiting_until) == ("sleeping", "timer", timer.due_at)
    assert row.started_at is not None
    assert Step.objects.get().name == "sleep"


def test_a_park_loses_to_news_and_writes_nothing(execution, claim):
    client.signal(execution, "go")
    assert transitions.park(claim, execution, a_park(claim)) is False
    assert Timer.objects.get().token == claim.token
    assert current().status == "pending"
    assert not Step.objects.exists()


def test_a_park_settles_nothing_that_is_settled(execution, claim):
    ((made, _),) = a_park(claim).opens
    Step.objects.create(
        execution=execution,
        id=made.id,
        position=0,
        name="sleep",
        kind="sleep",
        status="completed",
        started_at=clock.now(),
        finished_at=clock.now(),
    )
    with pytest.raises(LeaseLostError):
        transitions.park(claim, execution, a_park(claim, opens=((made, False),)))


def test_a_park_under_a_cancel_stays_cancelling(execution, claim):
    execution.cancel_requested_at = clock.now()
    transitions.park(claim, execution, a_park(claim))
    assert current().status == "cancelling"


def test_closing_takes_the_timer_and_keeps_the_outcome(execution, claim):
    transitions.close(claim, execution, Ended(status=Status.FAILED, error="[1,null]", error_type="shop.Boom"))
    row = current()
    assert (row.status, row.error, row.error_type, row.waiting_for) == ("failed", "[1,null]", "shop.Boom", "")
    assert row.finished_at == clock.now()
    assert not Timer.objects.exists()
    entry = AuditEntry.objects.get()
    assert (entry.kind, entry.before, entry.actor) == ("failed", {"status": "pending"}, "")


@pytest.mark.parametrize(
    ("reason", "held", "again"), [(StuckReason.NONDETERMINISM, False, 60), (StuckReason.POISON, True, None)]
)
def test_being_set_aside_is_looked_at_again_only_for_new_code(execution, claim, reason, held, again):
    stick(claim, execution, reason)
    timer, row = Timer.objects.get(), current()
    assert (row.status, row.stuck_reason, row.finished_at) == ("stuck", reason, None)
    assert timer.held is held
    assert timer.due_at == (clock.now() + timedelta(seconds=again) if again else None)


def test_being_set_aside_for_the_same_reason_again_is_no_news(durable, execution, claim):
    stick(claim, execution, StuckReason.NONDETERMINISM)
    durable.clock.advance(timedelta(minutes=1))
    stick(claims.take(execution.id, using=USING), current(), StuckReason.NONDETERMINISM)
    assert AuditEntry.objects.count() == 1


def test_handing_back_makes_it_due_and_counts_as_no_crash(execution, claim):
    transitions.hand_back(claim, execution)
    timer = Timer.objects.get()
    assert (timer.token, timer.holder, timer.claims, timer.due_at) == (None, "", 0, clock.now())
    assert current().status == "pending"


# -- from outside --------------------------------------------------------------------------------------


def test_a_cancel_of_what_is_stuck_leaves_it_marked(execution, claim):
    stick(claim, execution, StuckReason.NONDETERMINISM)
    transitions.request_cancel(execution.id, using=USING, actor="ada", reason="r")
    row = current()
    assert (row.status, row.stuck_reason) == ("stuck", "nondeterminism")
    assert row.cancel_requested_at is not None
    assert Timer.objects.get().due_at == clock.now()


def test_a_cancel_does_not_wait_for_a_start_that_was_planned(durable):
    execution = Deployed("flow", no_op).workflow.using(delay=3600).start()
    transitions.request_cancel(execution.id, using=USING, actor="", reason="")
    durable.run_until_idle()
    assert current().status == "cancelled"


def test_a_terminate_closes_whatever_the_status(execution, claim):
    stick(claim, execution, StuckReason.POISON)
    forcing.terminate(execution.id, using=USING, actor="ada", reason="enough")
    row = current()
    assert (row.status, row.stuck_reason, row.cancel_reason) == ("terminated", "", "enough")
    assert row.finished_at == clock.now()
    assert AuditEntry.objects.get(kind="terminated").before["status"] == "stuck"


def test_a_terminate_keeps_the_reason_of_the_cancel_before(execution):
    transitions.request_cancel(execution.id, using=USING, actor="", reason="first")
    forcing.terminate(execution.id, using=USING, actor="", reason="second")
    assert current().cancel_reason == "first"


@pytest.mark.parametrize("order", [transitions.request_cancel, forcing.terminate])
def test_closed_is_final(execution, claim, order):
    transitions.close(claim, execution, DONE)
    before = rows()
    with pytest.raises(ExecutionClosedError):
        order(execution.id, using=USING, actor="", reason="")
    with pytest.raises(ExecutionNotFoundError):
        order(uuid.uuid4(), using=USING, actor="", reason="")
    assert rows() == before
    assert current().status == "completed"


# -- announcements -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("move", "told"),
    [
        ("park", ("execution_parked", "sleeping")),
        ("close", ("execution_closed", "completed")),
        ("stick", ("execution_stuck", "poison")),
    ],
)
def test_a_change_is_announced_after_its_commit(
    execution, claim, heard, django_capture_on_commit_callbacks, move, told
):
    with django_capture_on_commit_callbacks(execute=True):
        MOVES[move](claim, execution)
        assert heard == []
    assert heard == [told]


def test_a_terminate_is_announced_too(execution, heard, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        forcing.terminate(execution.id, using=USING, actor="", reason="")
    assert heard == [("execution_closed", "terminated")]


def test_a_receiver_that_fails_does_not_harm_the_engine(execution, claim, django_capture_on_commit_callbacks):
    def broken(**facts):
        raise ValueError("receiver")

    signals.execution_closed.connect(broken)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            MOVES["close"](claim, execution)
    finally:
        signals.execution_closed.disconnect(broken)
    assert current().status == "completed"
