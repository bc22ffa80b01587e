"""The verbs of the querysets: what is due, who has it, what news does to it, what is open, in which order."""

from datetime import timedelta
from uuid import uuid4

import pytest

from django_durable import clock
from django_durable.models import (
    CLOSED,
    SETTLED,
    AuditEntry,
    Execution,
    Priority,
    Schedule,
    Signal,
    Status,
    Step,
    StepStatus,
    StuckReason,
    Timer,
)
from django_durable.models.execution import STORED
from tests.models import rows
from tests.models.rows import AT, HOUR

pytestmark = pytest.mark.django_db
SECOND = timedelta(seconds=1)


@pytest.fixture
def frozen():
    with clock.frozen(AT) as handle:
        yield handle


def pks(found):
    return [row.pk for row in found]


# -- timers: what is due -------------------------------------------------------------------------------


def test_due_is_what_the_database_clock_has_reached(frozen):
    reached = [rows.timer(due_at=AT - HOUR), rows.timer(due_at=AT)]
    rows.timer(due_at=AT + timedelta(microseconds=1))
    rows.timer(due_at=None)
    assert set(pks(Timer.objects.due())) == set(pks(reached))


def test_due_reads_the_real_clock_of_the_database():
    late, early = rows.timer(due_at=clock.now() - HOUR), rows.timer(due_at=clock.now() + HOUR)
    assert pks(Timer.objects.due()) == [late.pk]
    assert early.pk


def test_a_lease_that_has_run_out_is_due_again(frozen):
    gone = rows.leased(due_at=AT - SECOND)
    rows.leased(due_at=AT + SECOND)
    assert pks(Timer.objects.due()) == [gone.pk]


def test_on_queue_is_one_queue_in_all_priorities():
    wanted = {rows.timer(queue="mail", priority=priority).pk for priority in Priority}
    rows.timer(queue="default")
    assert set(pks(Timer.objects.on_queue("mail"))) == wanted


def test_held_by_is_the_row_only_for_the_token_that_counts():
    timer = rows.leased()
    assert pks(Timer.objects.held_by(timer.pk, timer.token)) == [timer.pk]
    assert not Timer.objects.held_by(timer.pk, uuid4()).exists()
    assert not Timer.objects.held_by(rows.leased().pk, timer.token).exists()


def test_leased_is_what_has_a_token_live_or_not():
    wanted = {rows.leased().pk, rows.leased(due_at=AT - HOUR).pk}
    rows.timer()
    assert set(pks(Timer.objects.leased())) == wanted


# -- timers: what news does ----------------------------------------------------------------------------


def bumped(timer):
    """Bring news to one execution; its timer afterwards."""
    assert Timer.objects.filter(pk=timer.pk).bump() == 1
    timer.refresh_from_db()
    return timer


@pytest.mark.parametrize("due_at", [None, AT + HOUR], ids=["waiting", "sleeping"])
def test_news_makes_the_resting_due(frozen, due_at):
    assert bumped(rows.timer(due_at=due_at)).due_at == AT


def test_news_leaves_what_is_due_in_its_place(frozen):
    assert bumped(rows.timer(due_at=AT - HOUR)).due_at == AT - HOUR


@pytest.mark.parametrize("due_at", [None, AT + HOUR], ids=["set aside", "not yet to start"])
def test_news_does_not_wake_the_held(frozen, due_at):
    assert bumped(rows.timer(due_at=due_at, held=True)).due_at == due_at


def test_news_does_not_shorten_a_lease(frozen):
    timer = rows.leased(due_at=AT + HOUR)
    token = timer.token
    bumped(timer)
    assert (timer.due_at, timer.token) == (AT + HOUR, token)


@pytest.mark.parametrize(
    "build",
    [rows.timer, rows.leased, lambda: rows.timer(due_at=None), lambda: rows.timer(due_at=None, held=True)],
    ids=["due", "leased", "waiting", "held"],
)
def test_news_is_counted_whoever_has_it(build):
    timer = build()
    assert bumped(timer).wake_seq == 1
    assert bumped(timer).wake_seq == 2


def test_news_for_the_closed_changes_nothing():
    rows.timer()
    assert Timer.objects.filter(pk=rows.closed().pk).bump() == 0


def test_news_is_one_statement(django_assert_num_queries):
    timer = rows.timer()
    with django_assert_num_queries(1):
        Timer.objects.filter(pk=timer.pk).bump()


@pytest.mark.parametrize(
    ("build", "is_leased"),
    [
        (lambda: rows.leased(due_at=AT + SECOND), True),
        (lambda: rows.leased(due_at=AT), False),
        (lambda: rows.timer(due_at=AT + SECOND), False),
    ],
    ids=["live", "run out", "sleeping"],
)
def test_a_lease_is_live_until_its_end(build, is_leased):
    assert build().is_leased(AT) is is_leased


# -- executions ----------------------------------------------------------------------------------------


@pytest.fixture
def one_of_each():
    """An execution in every stored status."""
    made = {status: rows.closed(status) for status in CLOSED}
    for status in STORED - CLOSED:
        made[status] = rows.execution(status=status, stuck_reason=StuckReason.POISON if status == Status.STUCK else "")
    return made


def test_open_and_closed_share_all_statuses_between_them(one_of_each):
    assert {row.status for row in Execution.objects.closed()} == CLOSED
    assert {row.status for row in Execution.objects.open()} == STORED - CLOSED


def test_is_closed_says_the_same_as_the_queryset(one_of_each):
    assert {status for status, row in one_of_each.items() if row.is_closed} == CLOSED


def test_stuck_is_open_and_found(one_of_each):
    assert pks(Execution.objects.stuck()) == [one_of_each[Status.STUCK].pk]
    assert Execution.objects.open().stuck().exists()


def test_running_is_what_a_live_lease_says(frozen):
    running = rows.leased(due_at=AT + SECOND).execution
    rows.leased(due_at=AT - SECOND)
    rows.timer(due_at=AT + SECOND)
    rows.closed()
    assert pks(Execution.objects.running()) == [running.pk]


@pytest.mark.parametrize(
    ("build", "shown"),
    [
        (lambda: rows.leased(due_at=AT + SECOND).execution, Status.RUNNING),
        (lambda: rows.leased(due_at=AT - SECOND).execution, Status.PENDING),
        (lambda: rows.timer(rows.execution(status=Status.SLEEPING)).execution, Status.SLEEPING),
        (lambda: rows.closed(Status.FAILED), Status.FAILED),
    ],
    ids=["live lease", "lease run out", "no lease", "closed"],
)
def test_the_live_status_is_running_only_under_a_live_lease(build, shown):
    execution = Execution.objects.select_related("timer").get(pk=build().pk)
    assert execution.live_status(AT) == shown


def test_lists_leave_the_wide_columns_in_the_table():
    rows.closed(result="[1, 1]")
    found = Execution.objects.without_payloads().get()
    assert found.get_deferred_fields() == {"input", "result", "error"}


def test_an_execution_is_shown_by_its_key_or_its_id():
    keyed, plain = rows.execution(key="order:7"), rows.execution()
    assert [str(keyed), str(plain)] == ["flow order:7", f"flow {plain.pk}"]


# -- history, inbox, audit trail -----------------------------------------------------------------------


def test_history_is_in_the_order_of_the_replay():
    execution = rows.execution()
    for position in (2, 0, 1):
        rows.step(execution, position=position)
    rows.step(position=0)
    assert [row.position for row in Step.objects.history(execution.pk)] == [0, 1, 2]


def test_unsettled_is_what_may_still_change():
    for status in StepStatus:
        rows.step(status=status, finished_at=AT if status in SETTLED else None)
    assert {row.status for row in Step.objects.unsettled()} == set(StepStatus) - SETTLED


def test_pending_is_what_was_accepted_and_not_consumed_in_that_order():
    execution = rows.execution()
    wanted = {seq: rows.signal(execution, seq=seq).pk for seq in (9, 3, 5)}
    rows.signal(execution, seq=4, consumed_by="signal:go", consumed_at=AT)
    rows.signal(seq=1)
    assert pks(Signal.objects.pending(execution.pk)) == [wanted[3], wanted[5], wanted[9]]


def test_the_audit_trail_is_about_one_execution_oldest_first():
    about = rows.execution().pk
    late = rows.audit(execution_id=about, created_at=AT + HOUR)
    early = rows.audit(execution_id=about, created_at=AT)
    rows.audit(execution_id=uuid4(), created_at=AT)
    assert pks(AuditEntry.objects.about(about)) == [early.pk, late.pk]


def test_a_schedule_is_due_when_the_time_of_its_tick_has_come(frozen):
    due = rows.schedule(next_at=AT, due_at=AT)
    rows.schedule(next_at=AT, due_at=AT + SECOND)  # it has a jitter
    rows.schedule(status="paused", paused_at=AT, due_at=None)
    assert pks(Schedule.objects.due()) == [due.pk]
