"""Compensations: in reverse order, each recorded once, whatever ends the workflow and however often it is replayed."""

from datetime import timedelta

import pytest

from django_durable import Cancelled, Retry, client, current_step, step, workflow
from django_durable.definitions import registry
from django_durable.engine import claims, worker
from django_durable.exceptions import (
    ExecutionCancelledError,
    ExecutionConflict,
    ExecutionFailedError,
    ExecutionNotFoundError,
    InvalidOptionError,
)
from django_durable.models import AuditEntry, Execution, Kind, Status, Step, StepStatus, StuckReason
from tests.authoring import Deployed, Killed, no_op

HOUR = timedelta(hours=1)


@pytest.fixture
def done():
    """What the bodies did, in order."""
    return []


@pytest.fixture
def book(done):
    """Run a step that can be undone: ``book(ctx, "car")``."""

    def book(ctx, what, undo=None):
        def cancel(booked):
            done.append(f"cancel {booked}")

        return ctx.step(what, lambda: done.append(what) or what, compensate=undo or cancel)

    return book


def ended(execution):
    row = Execution.objects.get(pk=execution.id)
    return row.status, row.compensated


def history(execution):
    return [(row.kind, row.name, row.status) for row in Step.objects.history(execution.id)]


# -- what ends a workflow ------------------------------------------------------------------------------


def test_a_failure_undoes_the_completed_steps_in_reverse_order(durable, done, book):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car")
        book(ctx, "hotel")
        raise ValueError("no flight")

    run = trip.start()
    with pytest.raises(ExecutionFailedError, match="no flight"):
        durable.run(run)
    assert done == ["car", "hotel", "cancel hotel", "cancel car"]
    assert ended(run) == ("failed", True)
    assert history(run) == [
        ("step", "car", "completed"),
        ("step", "hotel", "completed"),
        ("rollback", "__rollback", "completed"),
        ("compensation", "rollback:hotel", "completed"),
        ("compensation", "rollback:car", "completed"),
    ]


def test_a_success_undoes_nothing(durable, done, book):
    @workflow("trip")
    def trip(ctx):
        return book(ctx, "car")

    run = trip.start()
    assert durable.run(run) == "car"
    assert done == ["car"]
    assert ended(run) == ("completed", False)


def test_a_step_that_failed_has_nothing_to_undo(durable, done):
    def refuse():
        raise ValueError("sold out")

    @workflow("trip")
    def trip(ctx):
        ctx.step("car", refuse, compensate=done.append)

    run = trip.start()
    with pytest.raises(ExecutionFailedError, match="sold out"):
        durable.run(run)
    assert done == []
    assert ended(run) == ("failed", False)


def test_a_result_that_cannot_be_stored_is_a_failure_too(durable, done, book):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car")
        return object()

    run = trip.start()
    with pytest.raises(ExecutionFailedError, match="CodecError"):
        durable.run(run)
    assert done == ["car", "cancel car"]


def test_a_cancellation_undoes(durable, done, book):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car")
        ctx.sleep(HOUR)

    run = trip.start()
    durable.run_until_idle()
    client.cancel(run)
    with pytest.raises(ExecutionCancelledError):
        durable.run(run)
    assert done == ["car", "cancel car"]
    assert ended(run) == ("cancelled", True)


def test_a_workflow_that_cleans_up_and_returns_is_cancelled_and_undone_all_the_same(durable, done, book):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car")
        try:
            ctx.sleep(HOUR)
        except Cancelled:
            ctx.step("tell", lambda: done.append("told"))

    run = trip.start()
    durable.run_until_idle()
    client.cancel(run)
    with pytest.raises(ExecutionCancelledError):
        durable.run(run)
    assert done == ["car", "told", "cancel car"]


def test_the_deadline_undoes_and_does_not_interrupt_the_undoing(durable, done, book):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car")
        ctx.sleep(HOUR)

    run = trip.using(timeout=60).start()
    durable.run_until_idle()
    durable.advance(HOUR)
    durable.run_until_idle()
    assert done == ["car", "cancel car"]
    assert ended(run) == ("timed_out", True)


def test_on_failure_leave_leaves_everything_as_it_is(durable, done, book):
    @workflow("trip", on_failure="leave")
    def trip(ctx):
        book(ctx, "car")
        raise ValueError("no flight")

    run = trip.start()
    with pytest.raises(ExecutionFailedError, match="no flight"):
        durable.run(run)
    assert done == ["car"]
    assert ended(run) == ("failed", False)


def test_terminate_undoes_nothing(durable, done, book):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car")
        ctx.sleep(HOUR)

    run = trip.start()
    durable.run_until_idle()
    client.terminate(run)
    durable.run_until_idle()
    assert done == ["car"]
    assert ended(run) == ("terminated", False)


def test_a_rollback_of_many_steps_is_recorded_whatever_its_size(durable, done, settings):
    settings.DURABLE = {**settings.DURABLE, "PAYLOAD_LIMIT_BYTES": 100}

    @workflow("trip")
    def trip(ctx):
        for _ in range(20):
            ctx.step("night", no_op, compensate=done.append)
        raise ValueError("no flight")

    run = trip.start()
    durable.run_until_idle()
    assert done == [None] * 20
    assert ended(run) == ("failed", True)


# -- ctx.rollback --------------------------------------------------------------------------------------


def test_rollback_undoes_now_and_the_workflow_goes_on(durable, done, book):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car")
        ctx.rollback()
        book(ctx, "train")
        return done.copy()

    run = trip.start()
    assert durable.run(run) == ["car", "cancel car", "train"]
    assert ended(run) == ("completed", True)


def test_what_was_rolled_back_is_not_undone_again_at_the_end(durable, done, book):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car")
        ctx.rollback()
        ctx.rollback()
        book(ctx, "train")
        raise ValueError("strike")

    with pytest.raises(ExecutionFailedError, match="strike"):
        durable.run(trip.start())
    assert done == ["car", "cancel car", "train", "cancel train"]


def test_a_rollback_in_the_wrong_place_is_refused_and_forgets_nothing(durable, done, book):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car")
        ctx.step("wrong", ctx.rollback)

    run = trip.start()
    with pytest.raises(ExecutionFailedError, match="inside the body of step 'wrong'"):
        durable.run(run)
    assert done == ["car", "cancel car"]


def test_repeats_are_undone_one_by_one(durable, done):
    @workflow("trip")
    def trip(ctx):
        for night in range(3):
            ctx.step("night", lambda night=night: night, compensate=done.append)
        ctx.rollback()

    run = trip.start()
    durable.run(run)
    assert done == [2, 1, 0]
    assert [name for kind, name, _ in history(run) if kind == "compensation"] == [
        "rollback:night#3",
        "rollback:night#2",
        "rollback:night",
    ]


# -- across passes and crashes -------------------------------------------------------------------------


def test_compensations_survive_any_number_of_replays(durable, done, book):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car")
        for _ in range(3):
            ctx.sleep(HOUR)
        book(ctx, "hotel")
        ctx.sleep(HOUR)
        raise ValueError("no flight")

    run = trip.start()
    for _ in range(5):
        durable.run_until_idle()
        durable.advance(HOUR)
    assert done == ["car", "hotel", "cancel hotel", "cancel car"]
    assert ended(run) == ("failed", True)


def test_the_result_is_handed_over_as_it_was_stored(durable):
    given = []

    @workflow("trip")
    def trip(ctx):
        booking = ctx.step("car", lambda: {"seats": (1, 2)}, compensate=given.append)
        booking["seats"] = None
        raise ValueError

    with pytest.raises(ExecutionFailedError):
        durable.run(trip.start())
    assert given == [{"seats": (1, 2)}]


@pytest.mark.django_db(transaction=True)
def test_the_end_is_decided_once_whatever_the_code_does_at_the_next_replay(durable, done, book, polling):
    """A cause that has gone meanwhile does not turn a half undone execution into a success."""

    def first(ctx):
        book(ctx, "car")
        book(ctx, "hotel", undo=die)
        raise ValueError("no flight")

    def second(ctx):
        book(ctx, "car")
        book(ctx, "hotel")
        book(ctx, "flight")
        return "booked"

    def die(_):
        raise Killed

    deployed = Deployed("trip", first)
    run = deployed.workflow.start()
    with pytest.raises(Killed):
        worker.advance_one(run.id, using="default")
    assert Execution.objects.get(pk=run.id).status == Status.COMPENSATING
    deployed.code = second
    claims.release_dead(using="default")
    expire(run)
    worker.drain("default", using="default")
    assert done == ["car", "hotel", "cancel hotel", "cancel car"]
    row = Execution.objects.get(pk=run.id)
    assert (row.status, row.compensated) == ("failed", True)
    with pytest.raises(ExecutionFailedError, match="no flight"):
        client.result(run)


def test_one_that_was_stuck_is_undone_when_mended_code_fails(durable, done, book):
    deployed = Deployed("trip", lambda ctx: book(ctx, "car") and ctx.sleep(60))
    run = deployed.workflow.start()
    durable.run_until_idle()
    deployed.code = lambda ctx: book(ctx, "other")
    durable.advance(timedelta(minutes=2))
    assert Execution.objects.get(pk=run.id).status == "stuck"
    deployed.code = lambda ctx: (book(ctx, "car") and ctx.sleep(60)) or 1 / 0
    durable.advance(timedelta(minutes=2))
    with pytest.raises(ExecutionFailedError, match="division"):
        durable.run(run)
    assert done == ["car", "cancel car"]


def expire(run):
    from django_durable.clock import DatabaseNow
    from django_durable.models import Timer

    Timer.objects.filter(pk=run.id).update(due_at=DatabaseNow())


@pytest.mark.django_db(transaction=True)
def test_code_that_would_undo_something_else_is_set_aside(durable, done, book, polling):
    def die(_):
        raise Killed

    def first(ctx):
        book(ctx, "car", undo=die)
        raise ValueError("no flight")

    def second(ctx):
        ctx.step("car", no_op)
        raise ValueError("no flight")

    deployed = Deployed("trip", first)
    run = deployed.workflow.start()
    with pytest.raises(Killed):
        worker.advance_one(run.id, using="default")
    deployed.code = second
    expire(run)
    worker.drain("default", using="default")
    row = Execution.objects.get(pk=run.id)
    assert (row.status, row.stuck_reason) == ("stuck", StuckReason.NONDETERMINISM)
    assert "the rollback of car" in client.inspect(run).error


def fails_at_once(ctx):
    raise ValueError("at once")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mended", [lambda ctx: ctx.step("new", pytest.fail), lambda ctx: None])
def test_a_part_that_does_not_fail_any_more_is_set_aside(durable, done, book, polling, mended):
    """What the part's failure has undone stands in the history, and today's code does not come by it."""

    def code(branch, undo):
        def flow(ctx):
            book(ctx, "car", undo=undo)
            ctx.parallel({"hotel": lambda ctx: book(ctx, "hotel"), "other": branch})

        return flow

    def die(_):
        raise Killed

    deployed = Deployed("trip", code(fails_at_once, die))
    run = deployed.workflow.start()
    with pytest.raises(Killed):
        worker.advance_one(run.id, using="default")
    deployed.code = code(mended, None)
    expire(run)
    worker.drain("default", using="default")
    row = Execution.objects.get(pk=run.id)
    assert (row.status, row.stuck_reason) == ("stuck", StuckReason.NONDETERMINISM)
    deployed.code = code(fails_at_once, None)
    expire(run)
    worker.drain("default", using="default")
    assert done == ["car", "hotel", "cancel hotel", "cancel car"]
    assert ended(run) == ("failed", True)


@pytest.mark.django_db(transaction=True)
def test_a_branch_undoes_nothing_new_once_the_end_is_decided(durable, done, book, polling):
    def code(after, undo):
        def flow(ctx):
            book(ctx, "car", undo=undo)
            ctx.gather(lambda ctx: (book(ctx, "hotel", undo=undo), after(ctx)))
            raise ValueError("no flight")

        return flow

    def die(_):
        raise Killed

    deployed = Deployed("trip", code(lambda ctx: None, die))
    run = deployed.workflow.start()
    with pytest.raises(Killed):
        worker.advance_one(run.id, using="default")
    deployed.code = code(lambda ctx: ctx.rollback(), None)
    expire(run)
    worker.drain("default", using="default")
    assert done == ["car", "hotel", "cancel hotel", "cancel car"]
    assert [name for _, name, _ in history(run)][-2:] == ["rollback:gather>0>hotel", "rollback:car"]
    assert ended(run) == ("failed", True)


# -- a compensation that fails -------------------------------------------------------------------------


@pytest.fixture
def phone():
    """A compensation that fails as long as the line is down."""

    class Phone:
        is_down, calls = True, []

        def __call__(self, booked):
            self.calls.append((booked, current_step().attempt))
            if self.is_down:
                raise OSError("line is down")

    phone = Phone()
    phone.calls = []
    return phone


@pytest.fixture
def stuck(durable, done, book, phone):
    """An execution whose second compensation, of the car, has given up."""

    @workflow("trip")
    def trip(ctx):
        book(ctx, "insurance")
        book(ctx, "car", undo=step(name="call", retry=Retry(max_attempts=2, initial_seconds=60, jitter=0))(phone))
        book(ctx, "hotel")
        raise ValueError("no flight")

    run = trip.start()
    durable.run_until_idle()
    durable.advance(HOUR)
    durable.run_until_idle()
    return run


def test_a_compensation_has_its_own_retry_policy(durable, done, book, phone):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car", undo=step(name="call", retry=Retry(max_attempts=3, initial_seconds=60, jitter=0))(phone))
        raise ValueError("no flight")

    run = trip.start()
    durable.run_until_idle()
    assert Execution.objects.get(pk=run.id).status == Status.COMPENSATING
    phone.is_down = False
    durable.advance(HOUR)
    durable.run_until_idle()
    assert phone.calls == [("car", 1), ("car", 2)]
    assert ended(run) == ("failed", True)


def test_one_that_gives_up_leaves_the_execution_stuck(stuck, phone):
    row = Execution.objects.get(pk=stuck.id)
    assert (row.status, row.stuck_reason) == (Status.STUCK, StuckReason.COMPENSATION)
    assert row.finished_at is None
    assert len(phone.calls) == 2
    assert history(stuck)[-1] == ("compensation", "rollback:car", "retrying")


def test_nothing_but_a_person_moves_it_on(durable, stuck, phone):
    client.signal(stuck, "anything")
    client.cancel(stuck)
    durable.advance(HOUR)
    durable.run_until_idle()
    assert len(phone.calls) == 2
    assert Execution.objects.get(pk=stuck.id).status == Status.STUCK


def test_a_retry_goes_on_with_the_rest_by_itself(durable, done, stuck, phone):
    phone.is_down = False
    client.retry_compensation(stuck, actor="ada", reason="line is up")
    durable.run_until_idle()
    assert phone.calls[-1] == ("car", 3)
    assert done[-2:] == ["cancel hotel", "cancel insurance"]
    assert ended(stuck) == ("failed", True)
    entry = AuditEntry.objects.get(kind="compensation_retried")
    assert (entry.actor, entry.reason, entry.before) == ("ada", "line is up", {"name": "rollback:car", "attempts": 2})


def test_a_retry_that_fails_is_stuck_again(durable, stuck, phone):
    client.retry_compensation(stuck)
    durable.run_until_idle()
    assert len(phone.calls) == 3
    assert Execution.objects.get(pk=stuck.id).status == Status.STUCK


def test_a_skip_goes_on_and_the_end_tells_that_something_was_left(durable, done, stuck, phone):
    client.skip_compensation(stuck, actor="ada", reason="rental is bankrupt")
    durable.run_until_idle()
    assert done[-1] == "cancel insurance"
    assert len(phone.calls) == 2
    assert ended(stuck) == ("compensation_failed", False)
    with pytest.raises(ExecutionFailedError, match="no flight"):
        client.result(stuck)


def test_a_decision_is_about_the_one_that_gave_up_and_not_about_one_that_tries_again(durable, phone):
    patient = step(name="patient", retry=Retry(max_attempts=2, initial_seconds=60, jitter=0))(phone)

    @workflow("trip")
    def trip(ctx):
        def booking(undo):
            def branch(ctx):
                ctx.step("car", lambda: "car", compensate=undo)
                ctx.rollback()

            return branch

        ctx.gather(booking(patient), booking(phone))

    run = trip.start()
    durable.run_until_idle()
    assert Execution.objects.get(pk=run.id).stuck_reason == StuckReason.COMPENSATION
    client.skip_compensation(run)
    undone = {row.name[:8]: row.status for row in Step.objects.history(run.id).filter(kind=Kind.COMPENSATION)}
    assert undone == {"gather/0": StepStatus.RETRYING, "gather/1": StepStatus.SKIPPED}
    phone.is_down = False
    durable.advance(HOUR)
    durable.run_until_idle()
    assert Execution.objects.get(pk=run.id).status == Status.COMPLETED


def test_a_skip_in_a_part_that_failed_is_told_at_the_end_too(durable, phone):
    @workflow("trip")
    def trip(ctx):
        ctx.parallel({"car": lambda ctx: ctx.step("car", no_op, compensate=phone), "other": fails_at_once})

    run = trip.start()
    durable.run_until_idle()
    client.skip_compensation(run)
    durable.run_until_idle()
    assert ended(run) == ("compensation_failed", False)


def test_a_cancellation_and_a_deadline_wait_for_a_part_that_is_stuck(durable, done, phone):
    @workflow("trip")
    def trip(ctx):
        try:
            ctx.parallel({"car": lambda ctx: ctx.step("car", no_op, compensate=phone), "other": fails_at_once})
        except ValueError:
            try:
                ctx.sleep(HOUR)
            except Cancelled as interruption:
                done.append(type(interruption).__name__)
                raise

    run = trip.using(timeout=60).start()
    durable.run_until_idle()
    client.cancel(run)
    durable.advance(HOUR)
    durable.run_until_idle()
    assert (Execution.objects.get(pk=run.id).stuck_reason, done) == (StuckReason.COMPENSATION, [])
    phone.is_down = False
    client.retry_compensation(run)
    durable.run_until_idle()
    assert done == ["Cancelled"]
    assert ended(run) == ("cancelled", True)


def test_a_skip_before_a_success_is_no_failure(durable, book, phone):
    @workflow("trip")
    def trip(ctx):
        book(ctx, "car", undo=phone)
        ctx.rollback()

    run = trip.start()
    durable.run_until_idle()
    client.skip_compensation(run)
    durable.run_until_idle()
    assert ended(run) == ("completed", False)


def test_one_done_by_hand_counts(durable, stuck, phone):
    client.resolve_compensation(stuck, {"fax": 7}, actor="ada")
    durable.run_until_idle()
    assert ended(stuck) == ("failed", True)
    assert Step.objects.get(name="rollback:car").status == StepStatus.COMPLETED
    assert len(phone.calls) == 2


def test_a_second_decision_is_told_that_it_comes_too_late(stuck):
    client.skip_compensation(stuck)
    for decide in (client.skip_compensation, client.retry_compensation, client.resolve_compensation):
        with pytest.raises(ExecutionConflict, match="compensating"):
            decide(stuck)
    assert AuditEntry.objects.filter(kind__startswith="compensation").count() == 1


def test_what_is_not_stuck_in_a_compensation_is_refused(durable):
    run = Deployed("flow", no_op).workflow.start()
    with pytest.raises(ExecutionConflict, match="is pending, not stuck in a compensation"):
        client.retry_compensation(run)
    with pytest.raises(ExecutionNotFoundError):
        client.retry_compensation("00000000-0000-4000-8000-000000000000")


def test_a_compensation_that_was_started_at_most_once_and_lost_is_for_a_person(durable, done, book):
    dies = [True]

    def once(_):
        done.append("called")
        if dies.pop():
            raise Killed

    @workflow("trip")
    def trip(ctx):
        book(ctx, "car", undo=step(name="call", at_most_once=True)(once))
        raise ValueError("no flight")

    run = trip.start()
    with pytest.raises(Killed):
        durable.run_until_idle()
    expire(run)
    durable.advance(HOUR)
    durable.run_until_idle()
    assert done == ["car", "called"]
    assert Execution.objects.get(pk=run.id).stuck_reason == StuckReason.COMPENSATION


# -- the call ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("compensate", [7, "refund"])
def test_what_is_no_function_is_refused_before_the_step_runs(durable, compensate):
    @workflow("trip")
    def trip(ctx):
        ctx.step("car", pytest.fail, compensate=compensate)

    with pytest.raises(ExecutionFailedError, match="give a function of the step's result"):
        durable.run(trip.start())
    assert not Step.objects.filter(kind=Kind.STEP).exists()


def test_an_unknown_answer_to_failure_is_refused_at_the_definition():
    with pytest.raises(InvalidOptionError, match="on_failure='undo': give 'compensate' or 'leave'"):
        workflow("trip", on_failure="undo")
    assert not [definition for definition in registry if definition.name == "trip"]
