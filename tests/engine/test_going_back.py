"""Going back to a step: what lies behind it is undone, set aside, and the execution goes on from there."""

from datetime import timedelta
from uuid import uuid4

import pytest

from django_durable import ExecutionConflict, InvalidOptionError, Retry, client, current_step, step, workflow
from django_durable.engine import claims, dry_run, going_back, recordings, worker
from django_durable.exceptions import LeaseLostError
from django_durable.models import (
    AuditEntry,
    Execution,
    SetAsideStep,
    Signal,
    Status,
    Step,
    StepStatus,
    StuckReason,
    Timer,
)

HOUR = timedelta(hours=1)


class Declined(Exception):
    """What a body raises here."""


@pytest.fixture
def done():
    """Which bodies ran."""
    return []


@pytest.fixture
def broken():
    """The names of the bodies that raise."""
    return set()


@pytest.fixture
def keys():
    """The idempotency keys that each body was given."""
    return {}


@pytest.fixture
def act(done, broken, keys):
    def act(name):
        done.append(name)
        keys.setdefault(name, []).append(current_step().idempotency_key)
        if name in broken:
            raise Declined(name)
        return name

    return act


@pytest.fixture
def undo(act):
    """What undoes a step: told by the step's result."""

    @step(retry=Retry(max_attempts=1))
    def undo(name):
        act(f"undo {name}")

    return undo


@pytest.fixture
def trip(act, undo):
    """Three bookings that each can be undone, then a payment; a failure leaves them as they are."""

    @workflow("trip", on_failure="leave")
    def trip(ctx):
        for name in ("flight", "hotel", "car"):
            ctx.step(name, act, name, compensate=undo)
        return ctx.step("pay", act, "pay")

    return trip


@pytest.fixture
def failed(durable, trip, broken, done):
    broken.add("pay")
    execution = trip.start()
    durable.run_until_idle()
    assert row_of(execution).status == Status.FAILED
    broken.clear()
    done.clear()
    return execution


def row_of(execution):
    return Execution.objects.get(pk=execution.id)


def history_of(execution):
    return [each.name for each in Step.objects.history(execution.id)]


def set_aside_of(execution):
    return [each.name for each in SetAsideStep.objects.of(execution.id)]


def test_what_lies_behind_the_step_is_undone_in_reverse_and_made_again(durable, failed, done, keys):
    client.retry(failed, from_step="hotel", compensate=True, actor="ada", reason="another hotel")
    assert row_of(failed).status == Status.COMPENSATING
    assert durable.run(failed) == "pay"
    assert done == ["undo car", "undo hotel", "hotel", "car", "pay"]
    assert history_of(failed) == ["flight", "hotel", "car", "pay"]
    assert set_aside_of(failed) == ["hotel", "car", "pay", "__back", "rollback:car", "rollback:hotel"]
    assert {name: len(set(given)) for name, given in keys.items()} == {
        "flight": 1,
        "hotel": 2,
        "car": 2,
        "pay": 1,
        "undo car": 1,
        "undo hotel": 1,
    }
    entry = AuditEntry.objects.about(failed.id).get(kind="retried")
    assert (entry.after["compensates"], entry.after["from_step"]) == (True, "hotel")


def test_without_it_nothing_is_undone(durable, failed, done):
    client.retry(failed, from_step="hotel")
    durable.run(failed)
    assert done == ["hotel", "car", "pay"]


def test_that_it_went_back_is_told(durable, settings, failed):
    settings.DURABLE = {**settings.DURABLE, "AUDIT": "transitions"}
    client.retry(failed, from_step="car", compensate=True)
    durable.run(failed)
    entry = AuditEntry.objects.about(failed.id).get(kind="went_back")
    assert entry.after["steps"] == ["car", "pay", "__back", "rollback:car"]


def test_each_compensation_has_its_own_retries(durable, done, broken, act):
    @step(retry=Retry(max_attempts=3, initial_seconds=60, jitter=0))
    def undo_late(name):
        done.append(f"undo {name} {current_step().attempt}")
        if current_step().attempt == 1:
            raise Declined

    @workflow("flow", on_failure="leave")
    def flow(ctx):
        ctx.step("hold", act, "hold", compensate=undo_late)
        ctx.step("pay", act, "pay")

    broken.add("pay")
    execution = flow.start()
    durable.run_until_idle()
    broken.clear()
    client.retry(execution, from_step=0, compensate=True)
    durable.run_until_idle()
    row = row_of(execution)
    assert (row.status, row.waiting_for) == (Status.COMPENSATING, "retry of rollback:hold after attempt 1")
    durable.advance(HOUR)
    assert row_of(execution).status == Status.COMPLETED
    assert done == ["hold", "pay", "undo hold 1", "undo hold 2", "hold", "pay"]


@pytest.mark.parametrize("decide", ["retry_compensation", "skip_compensation", "resolve_compensation", "retry"])
def test_one_that_gives_up_waits_for_a_person_and_then_it_goes_on_by_itself(durable, failed, done, broken, decide):
    broken.add("undo hotel")
    client.retry(failed, from_step="flight", compensate=True)
    durable.run_until_idle()
    row = row_of(failed)
    assert (row.status, row.stuck_reason) == (Status.STUCK, StuckReason.COMPENSATION)
    assert done == ["undo car", "undo hotel"]
    broken.clear()
    getattr(client, decide)(failed)
    assert row_of(failed).status == Status.COMPENSATING
    assert durable.run(failed) == "pay"
    again = ["undo hotel"] if decide.startswith("retry") else []
    assert done[2:] == [*again, "undo flight", "flight", "hotel", "car", "pay"]
    assert not row_of(failed).compensated


def test_what_the_failure_has_undone_is_not_undone_again(durable, done, broken, act, undo):
    @workflow("flow")
    def flow(ctx):
        ctx.step("look", act, "look")
        ctx.step("hold", act, "hold", compensate=undo)
        ctx.step("pay", act, "pay")

    broken.add("pay")
    execution = flow.start()
    durable.run_until_idle()
    assert row_of(execution).compensated
    broken.clear()
    done.clear()
    with pytest.raises(ExecutionConflict, match="has been undone"):
        client.retry(execution, from_step="pay", compensate=True)
    client.retry(execution, from_step="look", compensate=True)
    durable.run(execution)
    assert done == ["look", "hold", "pay"]
    assert not row_of(execution).compensated


def test_of_a_rollback_that_is_stuck_only_what_is_left_is_undone(durable, done, broken, act, undo):
    @workflow("flow")
    def flow(ctx):
        for name in ("a", "b", "c"):
            ctx.step(name, act, name, compensate=undo)
        ctx.step("pay", act, "pay")

    broken |= {"pay", "undo b"}
    execution = flow.start()
    durable.run_until_idle()
    assert row_of(execution).stuck_reason == StuckReason.COMPENSATION
    assert done[4:] == ["undo c", "undo b"]
    broken.clear()
    done.clear()
    client.retry(execution, from_step="a", compensate=True)
    durable.run(execution)
    assert done == ["undo b", "undo a", "a", "b", "c", "pay"]
    (undoing,) = (each for each in SetAsideStep.objects.of(execution.id) if each.name == "rollback:b")
    assert undoing.attempts == 2  # one and the same


def test_what_a_person_left_undone_stays_so(durable, done, broken, act, undo):
    @workflow("flow")
    def flow(ctx):
        ctx.step("a", act, "a", compensate=undo)
        ctx.step("b", act, "b", compensate=undo)
        ctx.step("pay", act, "pay")

    broken |= {"pay", "undo b"}
    execution = flow.start()
    durable.run_until_idle()
    client.skip_compensation(execution)
    durable.run_until_idle()
    assert row_of(execution).status == Status.COMPENSATION_FAILED
    broken.clear()
    done.clear()
    client.retry(execution, from_step="a", compensate=True)
    durable.run(execution)
    assert done == ["a", "b", "pay"]


def test_what_the_workflow_itself_has_undone_is_not_undone_again(durable, done, broken, act, undo):
    @workflow("flow", on_failure="leave")
    def flow(ctx):
        ctx.step("a", act, "a", compensate=undo)
        ctx.rollback()
        ctx.step("b", act, "b", compensate=undo)
        ctx.step("pay", act, "pay")

    broken.add("pay")
    execution = flow.start()
    durable.run_until_idle()
    broken.clear()
    done.clear()
    client.retry(execution, from_step="a", compensate=True)
    durable.run(execution)
    assert done == ["undo b", "a", "undo a", "b", "pay"]


def test_undone_twice_means_done_twice(durable, failed, broken, done, keys):
    broken.add("pay")
    for _ in range(2):
        client.retry(failed, from_step="car", compensate=True)
        durable.run_until_idle()
        assert row_of(failed).status == Status.FAILED
    assert done == ["undo car", "car", "pay"] * 2
    assert len(set(keys["undo car"])) == 2
    assert len(set(keys["car"])) == 3


# -- branches, waits, children -------------------------------------------------------------------------


def parallel(ctx, act, undo):
    def left(ctx):
        ctx.step("one", act, "one", compensate=undo)
        ctx.wait_for_signal("go")

    def right(ctx):
        ctx.step("two", act, "two", compensate=undo)
        ctx.step("later", act, "later", compensate=undo)
        ctx.wait_for_signal("stop")

    ctx.step("first", act, "first", compensate=undo)
    ctx.parallel({"left": left, "right": right})


def test_in_branches_that_were_under_way_all_is_undone_the_latest_first(durable, done, act, undo):
    @workflow("flow")
    def flow(ctx):
        parallel(ctx, act, undo)

    execution = flow.start()
    durable.run_until_idle()
    client.terminate(execution)
    steps = [each for each in Step.objects.history(execution.id) if each.target == "act"]
    steps.sort(key=lambda each: (each.finished_at, each.position), reverse=True)
    order = [f"undo {each.name.rpartition('/')[2]}" for each in steps]
    done.clear()
    client.retry(execution, from_step=0, compensate=True)
    durable.run_until_idle()
    assert done[:4] == order
    assert sorted(done[4:]) == ["first", "later", "one", "two"]
    assert row_of(execution).status == Status.WAITING


def test_so_it_is_in_async_code(durable, done, act, undo):
    @workflow("flow")
    async def flow(ctx):
        async def left(ctx):
            await ctx.step("one", act, "one", compensate=undo)
            await ctx.wait_for_signal("go")

        async def right(ctx):
            await ctx.step("two", act, "two", compensate=undo)
            await ctx.wait_for_signal("stop")

        await ctx.step("first", act, "first", compensate=undo)
        await ctx.parallel({"left": left, "right": right})

    execution = flow.start()
    durable.run_until_idle()
    client.terminate(execution)
    done.clear()
    client.retry(execution, from_step=0, compensate=True)
    durable.run_until_idle()
    assert sorted(done[:2]) == ["undo one", "undo two"]
    assert done[2:4] == ["undo first", "first"]


def test_a_branch_from_before_the_step_keeps_what_it_did(durable, done, act, undo):
    @workflow("flow")
    def flow(ctx):
        parallel(ctx, act, undo)

    execution = flow.start()
    durable.run_until_idle()
    client.terminate(execution)
    done.clear()
    (later,) = (each for each in Step.objects.history(execution.id) if each.name.endswith("later"))
    client.retry(execution, from_step=later.position, compensate=True)
    durable.run_until_idle()
    assert done == ["undo later", "later"]


def test_signals_are_given_back_once_all_is_undone(durable, done, act, undo, broken):
    @workflow("flow", on_failure="leave")
    def flow(ctx):
        ctx.step("a", act, "a", compensate=undo)
        said = ctx.wait_for_signal("go")
        ctx.step("pay", act, "pay")
        return said

    broken |= {"pay", "undo a"}
    execution = flow.start()
    client.signal(execution, "go", 7)
    durable.run_until_idle()
    client.retry(execution, from_step="a", compensate=True)
    durable.run_until_idle()
    client.signal(execution, "go", 8)
    assert list(Signal.objects.order_by("seq").values_list("consumed_by", flat=True)) == ["signal:go", ""]
    broken.clear()
    client.retry_compensation(execution)
    assert durable.run(execution) == 7


def test_a_child_of_one_that_goes_back_is_not_retried_by_itself(durable, broken, act, undo):
    @workflow("child")
    def child(ctx):
        ctx.step("it", act, "it")

    @workflow("parent", on_failure="leave")
    def parent(ctx):
        ctx.step("a", act, "a", compensate=undo)
        ctx.start_child(child)
        ctx.step("pay", act, "pay")

    broken |= {"pay", "it", "undo a"}
    execution = parent.start()
    durable.run_until_idle()
    (one,) = Execution.objects.filter(parent_id=execution.id)
    client.retry(execution, from_step="a", compensate=True)
    durable.run_until_idle()
    with pytest.raises(ExecutionConflict, match="is going back"):
        client.retry(one)
    broken.clear()
    client.retry_compensation(execution)
    durable.run_until_idle()
    statuses = Execution.objects.filter(parent_id=execution.id).order_by("pk").values_list("status", flat=True)
    assert list(statuses) == [Status.CANCELLED, Status.CANCELLED]  # another one was started in its place


def test_an_open_child_is_refused(durable, act, undo):
    @workflow("child")
    def child(ctx):
        ctx.sleep(HOUR)

    @workflow("parent", on_failure="leave")
    def parent(ctx):
        ctx.step("a", act, "a", compensate=undo)
        ctx.start_child(child.using(on_parent_close="abandon"))
        raise ValueError

    execution = parent.start()
    durable.run_until_idle()
    with pytest.raises(ExecutionConflict, match="is open"):
        client.retry(execution, from_step="a", compensate=True)
    assert row_of(execution).status == Status.FAILED
    assert history_of(execution)[-1] != "__back"


# -- orders meet the order -----------------------------------------------------------------------------


def test_the_step_may_be_given_a_result(durable, failed, done):
    with pytest.raises(InvalidOptionError, match="pay"):
        client.retry(failed, from_step="car", compensate=True, patch={"pay": 1})
    client.retry(failed, from_step="car", compensate=True, patch={"car": "a bus"})
    assert durable.run(failed) == "pay"
    assert done == ["undo car", "pay"]
    shown = client.inspect(failed)
    assert [each.result for each in shown.history if each.step_id == "car"] == ["a bus"]


def test_it_needs_a_step_that_can_be_gone_back_to(durable, failed):
    with pytest.raises(InvalidOptionError, match="from_step"):
        client.retry(failed, compensate=True)
    with pytest.raises(ExecutionConflict, match="no step 'gone'"):
        client.retry(failed, from_step="gone", compensate=True)
    assert history_of(failed) == ["flight", "hotel", "car", "pay"]
    assert row_of(failed).status == Status.FAILED


def test_one_that_was_stopped_on_the_way_goes_on_with_that(durable, failed, done, broken):
    broken.add("undo hotel")
    client.retry(failed, from_step="hotel", compensate=True)
    durable.run_until_idle()
    client.terminate(failed)
    broken.clear()
    client.retry(failed)
    assert durable.run(failed) == "pay"
    assert done == ["undo car", "undo hotel", "undo hotel", "hotel", "car", "pay"]


def test_it_may_be_sent_further_back_on_the_way(durable, failed, done, broken):
    broken.add("undo car")
    client.retry(failed, from_step="hotel", compensate=True)
    durable.run_until_idle()
    broken.clear()
    with pytest.raises(ExecutionConflict, match="going back to 'hotel'"):
        client.retry(failed, from_step="car", compensate=True)
    client.retry(failed, from_step="flight", compensate=True)
    durable.run(failed)
    assert done == ["undo car", "undo car", "undo hotel", "undo flight", "flight", "hotel", "car", "pay"]


def test_the_order_may_be_dropped_on_the_way(durable, failed, done, broken):
    broken.add("undo hotel")
    client.retry(failed, from_step="flight", compensate=True)
    durable.run_until_idle()
    client.retry(failed, from_step="flight")
    durable.run(failed)
    assert done == ["undo car", "undo hotel", "flight", "hotel", "car", "pay"]


def test_a_cancellation_counts_once_it_has_gone_back(durable, failed, done, broken):
    broken.add("undo hotel")
    client.retry(failed, from_step="hotel", compensate=True)
    durable.run_until_idle()
    client.cancel(failed)
    durable.run_until_idle()
    broken.clear()
    client.retry_compensation(failed)
    durable.run_until_idle()
    assert row_of(failed).status == Status.CANCELLED
    assert done == ["undo car", "undo hotel", "undo hotel"]


def test_code_that_does_not_fit_any_more_undoes_nothing(durable, done, act, undo):
    def first(ctx):
        ctx.step("a", act, "a", compensate=undo)
        raise ValueError

    @workflow("flow", on_failure="leave")
    def flow(ctx):
        code[0](ctx)

    code = [first]
    execution = flow.start()
    durable.run_until_idle()
    code[0] = lambda ctx: ctx.step("b", act, "b")
    client.retry(execution, from_step=0, compensate=True)
    durable.run_until_idle()
    assert row_of(execution).stuck_reason == StuckReason.NONDETERMINISM
    code[0] = lambda ctx: ctx.step("a", act, "a", compensate=undo)
    client.retry(execution)
    durable.run(execution)
    assert done == ["a", "undo a", "a"]


def test_tolerant_code_that_does_not_come_to_a_step_undoes_nothing(durable, done, act, undo):
    def first(ctx):
        ctx.step("a", act, "a", compensate=undo)
        raise ValueError

    @workflow("flow", on_failure="leave", on_change="tolerate")
    def flow(ctx):
        code[0](ctx)

    code = [first]
    execution = flow.start()
    durable.run_until_idle()

    def with_one_before(ctx):
        ctx.step("new", act, "new")
        ctx.step("a", act, "a", compensate=undo)

    code[0] = with_one_before
    client.retry(execution, from_step="a", compensate=True)
    durable.run_until_idle()
    row = row_of(execution)
    assert (row.stuck_reason, "may have to be undone" in row.error) == (StuckReason.NONDETERMINISM, True)
    code[0] = first
    durable.advance(HOUR)
    assert done == ["a", "undo a", "a"]


def test_a_copy_does_not_go_back(durable, failed, broken):
    broken.add("undo hotel")
    client.retry(failed, from_step="hotel", compensate=True)
    durable.run_until_idle()
    with pytest.raises(ExecutionConflict, match="is an order to go back"):
        client.fork(failed, "rollback:car")
    copy = client.fork(failed, "car")
    assert durable.run(copy) == "pay"
    assert row_of(failed).status == Status.STUCK


def test_a_survey_finds_that_it_fits(durable, failed, broken):
    broken.add("undo hotel")
    client.retry(failed, from_step="hotel", compensate=True)
    durable.run_until_idle()
    assert Step.objects.history(failed.id).filter(name="__back").exists()
    assert dry_run.replay(recordings.read(failed.id, using="default")).fits


def test_the_worker_hands_back_between(durable, failed):
    client.retry(failed, from_step="car", compensate=True)
    worker.advance_one(failed.id, using="default")
    row = row_of(failed)
    assert (row.status, history_of(failed)) == (Status.WAITING, ["flight", "hotel"])
    assert durable.run(failed) == "pay"


def test_one_that_lost_its_lease_sets_nothing_aside(durable, failed, monkeypatch):
    client.retry(failed, from_step="car", compensate=True)

    def robbed(subject):
        raise AssertionError("set aside without the lease")

    claim = claims.take(failed.id, using="default")
    Timer.objects.filter(execution_id=failed.id).update(token=uuid4())
    monkeypatch.setattr(going_back, "_set_aside", robbed)
    with pytest.raises(LeaseLostError):
        going_back.go_on(claim, row_of(failed))


def test_from_its_very_beginning_it_is_pending_again(durable, failed):
    client.retry(failed, from_step=0, compensate=True)
    worker.advance_one(failed.id, using="default")
    row = row_of(failed)
    assert (row.status, row.started_at) == (Status.PENDING, None)
    assert durable.run(failed) == "pay"


def test_what_may_be_done_at_most_once_is_not_begun_anew(durable, done, act):
    @step(at_most_once=True)
    def undo_once(name):
        done.append(f"undo {name}")

    @workflow("flow", on_failure="leave")
    def flow(ctx):
        ctx.step("a", act, "a", compensate=undo_once)
        raise ValueError

    execution = flow.start()
    durable.run_until_idle()
    client.retry(execution, from_step=0, compensate=True)
    mark = Step.objects.history(execution.id).get(name="__back")
    Step.objects.create(  # as a worker leaves it that dies in the body
        execution_id=execution.id,
        position=mark.position + 1,
        name="rollback:a",
        kind="compensation",
        status=StepStatus.STARTED,
        target="undo_once",
        attempts=1,
        started_at=mark.started_at,
    )
    durable.run_until_idle()
    assert (done, row_of(execution).stuck_reason) == (["a"], StuckReason.COMPENSATION)
