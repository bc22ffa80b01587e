"""Retry: what has ended without success, or is stuck, goes on from its checkpoints."""

from datetime import timedelta

import pytest

from django_durable import (
    Cancelled,
    ExecutionConflict,
    InvalidOptionError,
    Retry,
    client,
    current_step,
    step,
    workflow,
)
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, worker
from django_durable.models import (
    AuditEntry,
    Execution,
    FanOut,
    OutboxEvent,
    SetAsideStep,
    Signal,
    Status,
    Step,
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
def act(done, broken):
    def act(name):
        done.append(name)
        if name in broken:
            raise Declined(name)
        return name

    return act


def status_of(execution):
    return Execution.objects.get(pk=execution.id).status


def history_of(execution):
    return [(each.name, each.status) for each in Step.objects.history(execution.id)]


def set_aside_of(execution):
    return [each.name for each in SetAsideStep.objects.of(execution.id)]


def test_a_failed_step_runs_again_and_those_before_it_do_not(durable, done, broken, act):
    @workflow("flow")
    def flow(ctx):
        ctx.step("one", act, "one")
        return ctx.step("two", act, "two")

    broken.add("two")
    execution = flow.using(key="k").start()
    durable.run_until_idle()
    assert status_of(execution) == Status.FAILED
    broken.clear()
    client.retry(execution, reason="mended", actor="ada")
    assert durable.run(execution) == "two"
    assert done == ["one", "two", "two"]
    assert set_aside_of(execution) == ["two"]
    shown = client.inspect(execution)
    assert [(each.step_id, each.status, each.set_aside_by) for each in shown.set_aside] == [
        ("two", "failed", "retried")
    ]
    assert "Declined" in shown.set_aside[0].error
    entry = AuditEntry.objects.about(execution.id).get(kind="retried")
    assert (entry.actor, entry.reason, entry.before["status"]) == ("ada", "mended", "failed")
    assert (entry.after["set_aside"], entry.after["steps"]) == (1, ["two"])


def test_what_the_code_did_about_the_failure_is_made_again_too(durable, done, broken, act):
    @workflow("flow")
    def flow(ctx):
        try:
            ctx.step("pay", act, "pay")
        except Exception:
            ctx.step("alert", act, "alert")
            raise

    broken.add("pay")
    execution = flow.start()
    durable.run_until_idle()
    broken.clear()
    client.retry(execution)
    durable.run(execution)
    assert set_aside_of(execution) == ["pay", "alert"]
    assert history_of(execution) == [("pay", "completed")]


def test_a_failure_that_the_code_went_on_from_stays(durable, done, broken, act):
    is_wrong = [True]

    @workflow("flow")
    def flow(ctx):
        try:
            ctx.step("card", act, "card")
        except Exception:
            ctx.step("invoice", act, "invoice")
        if is_wrong[0]:
            raise ValueError("a mistake in the workflow")
        return "done"

    broken.add("card")
    execution = flow.start()
    durable.run_until_idle()
    is_wrong.clear()
    is_wrong.append(False)
    client.retry(execution)
    assert durable.run(execution) == "done"
    assert (done, set_aside_of(execution)) == (["card", "invoice"], [])


def test_all_that_failed_beside_each_other_in_one_part_runs_again(durable, done, broken, act):
    @workflow("flow")
    def flow(ctx):
        ctx.step("first", act, "first")
        return ctx.parallel({name: (lambda ctx, name=name: ctx.step("it", act, name)) for name in ("a", "b", "c")})

    broken |= {"b", "c"}
    execution = flow.start()
    durable.run_until_idle()
    assert status_of(execution) == Status.FAILED
    broken.clear()
    client.retry(execution)
    assert durable.run(execution) == {"a": "a", "b": "b", "c": "c"}
    assert done.count("first") == done.count("a") == 1


def test_steps_that_were_undone_run_again(durable, done, broken, act):
    @workflow("flow")
    def flow(ctx):
        ctx.step("look", act, "look")
        ctx.step("hold", act, "hold", compensate=lambda _: done.append("undo hold"))
        ctx.step("note", act, "note")
        ctx.step("pay", act, "pay")

    broken.add("pay")
    execution = flow.start()
    durable.run_until_idle()
    assert done == ["look", "hold", "note", "pay", "undo hold"]
    assert Execution.objects.get(pk=execution.id).compensated
    broken.clear()
    client.retry(execution)
    durable.run(execution)
    assert done[5:] == ["hold", "note", "pay"]
    assert not Execution.objects.get(pk=execution.id).compensated
    assert set_aside_of(execution) == ["hold", "note", "pay", "__rollback", "rollback:hold"]


def test_what_had_completed_has_a_new_idempotency_key_when_it_runs_again(durable, broken):
    keys = []

    def act(name):
        keys.append((name, current_step().idempotency_key))
        if name in broken:
            raise Declined(name)

    @workflow("flow")
    def flow(ctx):
        ctx.step("hold", act, "hold", compensate=lambda _: act("undo"))
        ctx.step("pay", act, "pay")

    broken.add("pay")
    execution = flow.start()
    durable.run_until_idle()
    client.retry(execution)
    durable.run_until_idle()
    assert [name for name, _ in keys] == ["hold", "pay", "undo"] * 2
    different = {name: len({key for each, key in keys if each == name}) for name in ("hold", "pay", "undo")}
    assert different == {"hold": 2, "pay": 1, "undo": 2}  # what has failed may have had its effect nevertheless


def test_from_a_step_all_behind_it_is_made_again_and_signals_are_given_back(durable, done, act):
    @workflow("flow")
    def flow(ctx):
        ctx.step("one", act, "one")
        said = ctx.wait_for_signal("go")
        ctx.step("two", act, "two")
        raise ValueError(said)

    execution = flow.start()
    client.signal(execution, "go", "now")
    durable.run_until_idle()
    assert Signal.objects.get().consumed_by
    client.retry(execution, from_step="one")
    assert Signal.objects.get().consumed_by == ""
    durable.run_until_idle()
    assert status_of(execution) == Status.FAILED
    assert done == ["one", "two"] * 2
    assert Signal.objects.get().consumed_by == "signal:go"
    assert AuditEntry.objects.get(kind="retried").after["signals_given_back"] == 1


def test_signals_that_come_after_a_retry_have_new_numbers(durable, act):
    @workflow("flow")
    def flow(ctx):
        ctx.wait_for_signal("go")
        raise ValueError

    execution = flow.start()
    client.signal(execution, "go", 1)
    client.signal(execution, "go", 2)
    durable.run_until_idle()
    client.retry(execution, from_step=0)
    client.signal(execution, "go", 3)
    durable.run_until_idle()
    assert list(Signal.objects.order_by("seq").values_list("consumed_by", flat=True)) == ["signal:go", "", ""]


def test_from_behind_what_was_undone_is_refused(durable, broken, act):
    @workflow("flow")
    def flow(ctx):
        ctx.step("hold", act, "hold", compensate=lambda _: None)
        ctx.step("pay", act, "pay")

    broken.add("pay")
    execution = flow.start()
    durable.run_until_idle()
    with pytest.raises(ExecutionConflict, match="has been undone"):
        client.retry(execution, from_step="pay")
    with pytest.raises(ExecutionConflict, match="no step 'gone'"):
        client.retry(execution, from_step="gone")
    assert status_of(execution) == Status.FAILED
    assert not SetAsideStep.objects.exists()


def test_the_failed_step_may_be_given_a_result(durable, done, broken, act):
    @workflow("flow")
    def flow(ctx):
        charge = ctx.step("pay", act, "pay")
        return [charge, ctx.step("ship", act, "ship")]

    broken.add("pay")
    execution = flow.start()
    durable.run_until_idle()
    with pytest.raises(InvalidOptionError, match="ship"):
        client.retry(execution, patch={"ship": 1})
    client.retry(execution, patch={"pay": "by hand"})
    assert durable.run(execution) == ["by hand", "ship"]
    assert done == ["pay", "ship"]


@pytest.mark.parametrize("cleans_up", [False, True])
def test_a_cancelled_one_waits_again(durable, done, act, cleans_up):
    @workflow("flow")
    def flow(ctx):
        ctx.step("one", act, "one")
        try:
            return ctx.wait_for_signal("go")
        except Cancelled:
            if cleans_up:
                ctx.step("clean", act, "clean")
            raise

    execution = flow.start()
    durable.run_until_idle()
    client.cancel(execution, reason="a mistake")
    durable.run_until_idle()
    assert status_of(execution) == Status.CANCELLED
    client.retry(execution)
    durable.run_until_idle()
    row = Execution.objects.get(pk=execution.id)
    assert (row.status, row.cancel_requested_at, row.cancel_reason) == (Status.WAITING, None, "")
    client.signal(execution, "go", 7)
    assert durable.run(execution) == 7
    assert done.count("one") == 1


@pytest.mark.parametrize("timeout", [None, 3 * HOUR])
def test_one_that_was_too_late_has_no_deadline_or_a_new_one(durable, timeout):
    @workflow("flow")
    def flow(ctx):
        ctx.sleep(2 * HOUR)
        return "slept"

    execution = flow.using(timeout=HOUR).start()
    durable.advance(HOUR)
    assert status_of(execution) == Status.TIMED_OUT
    client.retry(execution, timeout=timeout)
    durable.run_until_idle()
    row = Execution.objects.get(pk=execution.id)
    assert (row.status, row.deadline_at is None) == (Status.SLEEPING, timeout is None)
    durable.advance(2 * HOUR)
    assert client.result(execution) == "slept"


def test_a_terminated_one_goes_on_where_it_was(durable, done, act):
    @workflow("flow")
    def flow(ctx):
        ctx.step("one", act, "one")
        ctx.step("end", lambda: client.terminate(execution) if done == ["one"] else None)
        ctx.step("two", act, "two")

    execution = flow.start()
    worker.advance_one(execution.id, using="default")
    row = Execution.objects.get(pk=execution.id)
    assert (row.status, row.started_at) == (Status.TERMINATED, None)  # in its first pass, whose record is kept
    done.append("retried")
    client.retry(execution)
    durable.run(execution)
    assert done == ["one", "retried", "two"]


def test_one_that_never_began_is_pending_again(durable, done, act):
    @workflow("flow")
    def flow(ctx):
        act("ran")

    execution = flow.using(delay=HOUR).start()
    client.cancel(execution)
    durable.run_until_idle()
    client.retry(execution)
    assert status_of(execution) == Status.PENDING
    durable.run(execution)
    assert done == ["ran"]


def test_a_stuck_one_is_looked_at_now(durable, done, act):
    def first(ctx):
        ctx.step("one", act, "one")
        ctx.wait_for_signal("go")

    @workflow("flow")
    def flow(ctx):
        code[0](ctx)

    code = [first]
    execution = flow.start()
    durable.run_until_idle()
    code[0] = lambda ctx: ctx.step("two", act, "two")
    client.signal(execution, "go")
    durable.run_until_idle()
    assert Execution.objects.get(pk=execution.id).stuck_reason == StuckReason.NONDETERMINISM
    client.retry(execution)
    durable.run_until_idle()
    assert status_of(execution) == Status.STUCK  # the code is still another
    client.retry(execution, from_step="one")
    durable.run(execution)
    assert done == ["one", "two"]
    assert set_aside_of(execution) == ["one", "signal:go"]


def test_a_poisonous_one_gets_its_claims_back(durable, settings):
    settings.DURABLE = {**settings.DURABLE, "MAX_CLAIMS": 2}

    @workflow("flow")
    def flow(ctx):
        return "ran"

    execution = flow.start()
    for _ in range(3):
        assert claims.take(execution.id, using="default")
        Timer.objects.update(token=None, holder="", due_at=DatabaseNow())
    durable.run_until_idle()
    assert Execution.objects.get(pk=execution.id).stuck_reason == StuckReason.POISON
    client.retry(execution)
    assert durable.run(execution) == "ran"


def test_one_stuck_in_a_compensation_tries_that_once_more(durable, done, broken, act):
    @step(retry=Retry(max_attempts=1))
    def undo(_):
        act("undo")

    @workflow("flow")
    def flow(ctx):
        ctx.step("hold", act, "hold", compensate=undo)
        raise ValueError("no")

    broken.add("undo")
    execution = flow.start()
    durable.run_until_idle()
    assert status_of(execution) == Status.STUCK
    broken.clear()
    client.retry(execution)
    assert status_of(execution) == Status.COMPENSATING
    durable.run_until_idle()
    assert status_of(execution) == Status.FAILED


def test_two_retries_are_one(durable, broken, act):
    @workflow("flow")
    def flow(ctx):
        ctx.step("pay", act, "pay")

    broken.add("pay")
    execution = flow.start()
    durable.run_until_idle()
    client.retry(execution)
    with pytest.raises(ExecutionConflict, match="retry takes"):
        client.retry(execution)


def test_of_a_chain_the_last_is_retried(durable, broken, act):
    @workflow("flow")
    def flow(ctx, round=1):
        if round == 1:
            ctx.continue_as_new(2)
        return ctx.step("pay", act, "pay")

    broken.add("pay")
    execution = flow.start()
    durable.run_until_idle()
    broken.clear()
    client.retry(execution)
    durable.run_until_idle()
    assert client.result(execution) == "pay"


# -- families ------------------------------------------------------------------------------------------


@pytest.fixture
def family(durable, act):
    @workflow("child")
    def child(ctx, name):
        ctx.step("begin", act, f"begin {name}")
        return ctx.step("it", act, name)

    return child


def test_a_child_is_retried_with_the_parent_that_failed_by_it(durable, done, broken, act, family):
    @workflow("parent")
    def parent(ctx):
        ctx.step("first", act, "first")
        one, other = ctx.start_child("one", family, "one"), ctx.start_child("other", family, "other")
        return [ctx.wait_for_execution(one), ctx.wait_for_execution(other)]

    broken.add("other")
    execution = parent.start()
    durable.run_until_idle()
    assert status_of(execution) == Status.FAILED
    broken.clear()
    client.retry(execution, reason="again")
    durable.run_until_idle()
    assert client.result(execution) == ["one", "other"]
    assert sorted(done) == ["begin one", "begin other", "first", "one", "other", "other"]
    assert [entry.reason for entry in AuditEntry.objects.filter(kind="retried")] == ["again", "again"]


def test_children_that_its_end_has_stopped_are_retried_with_it(durable, done, broken, act, family):
    @workflow("waiter")
    def waiter(ctx):
        return ctx.wait_for_signal("go")

    @workflow("parent")
    def parent(ctx):
        child = ctx.start_child(waiter)
        ctx.step("pay", act, "pay")
        return ctx.wait_for_execution(child)

    broken.add("pay")
    execution = parent.start()
    durable.run_until_idle()
    (child,) = Execution.objects.filter(parent_id=execution.id)
    assert (status_of(execution), child.status) == (Status.FAILED, Status.CANCELLED)
    broken.clear()
    client.retry(execution)
    durable.run_until_idle()
    client.signal(child, "go", 7)
    durable.run_until_idle()
    assert client.result(execution) == 7


def test_a_child_whose_end_its_open_parent_knows_is_left_alone(durable, broken, act, family):
    @workflow("parent")
    def parent(ctx):
        try:
            ctx.call(family, "one")
        except Exception:
            ctx.wait_for_signal("go")

    broken.add("one")
    execution = parent.start()
    durable.run_until_idle()
    (child,) = Execution.objects.filter(parent_id=execution.id)
    with pytest.raises(ExecutionConflict, match="has been told"):
        client.retry(child)
    assert status_of(child) == Status.FAILED
    client.signal(execution, "go")
    durable.run_until_idle()
    broken.clear()
    client.retry(child)  # nobody is left whom it could contradict
    durable.run_until_idle()
    assert status_of(child) == Status.COMPLETED


def test_a_child_that_is_retried_before_it_is_awaited_brings_its_new_end(durable, broken, act, family):
    @workflow("parent")
    def parent(ctx):
        child = ctx.start_child(family, "one")
        ctx.wait_for_signal("go")
        return ctx.wait_for_execution(child)

    broken.add("one")
    execution = parent.start()
    durable.run_until_idle()
    (child,) = Execution.objects.filter(parent_id=execution.id)
    broken.clear()
    client.retry(child)
    client.signal(execution, "go")
    durable.run_until_idle()
    assert client.result(execution) == "one"


def test_children_of_a_map_that_failed_are_retried_with_it(durable, done, broken, act, family):
    @workflow("parent")
    def parent(ctx):
        return list(ctx.map(family, ["a", "b", "c"]))

    broken |= {"a", "c"}
    execution = parent.start()
    durable.run_until_idle()
    assert status_of(execution) == Status.FAILED
    broken.clear()
    client.retry(execution)
    durable.run_until_idle()
    assert client.result(execution) == ["a", "b", "c"]
    assert (done.count("begin a"), done.count("a")) == (1, 2)


@pytest.fixture
def abandoning(durable, act):
    """A map that fails by its first child, whose others sleep on; and that child, its cause gone."""

    @workflow("child")
    def child(ctx, name):
        ctx.sleep(HOUR if name != "a" else 0)
        return ctx.step("it", act, name)

    @workflow("parent")
    def parent(ctx):
        return list(ctx.map(child.using(on_parent_close="abandon"), ["a", "b", "c"], concurrency=2))

    return parent


def test_a_child_of_a_map_that_is_retried_alone_is_counted_once(durable, broken, abandoning):
    broken.add("a")
    execution = abandoning.start()
    durable.run_until_idle()
    assert status_of(execution) == Status.FAILED
    (first, *_) = children = list(Execution.objects.filter(parent_id=execution.id).order_by("pk"))
    assert [each.status for each in children] == [Status.FAILED, Status.SLEEPING, Status.SLEEPING]
    broken.clear()
    client.retry(first)
    durable.run_until_idle()
    assert status_of(first) == Status.COMPLETED
    assert FanOut.objects.get().remaining == 2
    durable.advance(HOUR)
    durable.advance(HOUR)
    assert not FanOut.objects.exists()
    assert not Timer.objects.exists()
    client.retry(execution)
    durable.run_until_idle()
    assert client.result(execution) == ["a", "b", "c"]


def test_a_child_of_a_map_that_was_retried_alone_stays_as_long_as_its_parent(durable, broken, act, family):
    @workflow("parent")
    def parent(ctx):
        ctx.map(family, ["a", "b"], settle=True)
        ctx.step("pay", act, "pay")
        ctx.wait_for_signal("go")

    broken |= {"a", "pay"}
    execution = parent.start()
    durable.run_until_idle()
    first = Execution.objects.filter(parent_id=execution.id).order_by("pk").first()
    client.retry(first)
    durable.run_until_idle()
    assert status_of(first) == Status.FAILED
    with pytest.raises(ExecutionConflict):
        client.delete(first)  # its parent's results are ranges of ids
    broken.clear()
    client.retry(execution)
    durable.run_until_idle()
    with pytest.raises(ExecutionConflict, match="has been told"):
        client.retry(first)  # by what it had ended as before the parent went on
    assert Execution.objects.get(pk=first.pk).fan_out is not None


def test_an_open_child_keeps_its_start(durable, act, family):
    @workflow("sleeper")
    def sleeper(ctx):
        ctx.sleep(HOUR)

    @workflow("parent")
    def parent(ctx):
        ctx.start_child(sleeper.using(on_parent_close="abandon", key="k"))
        raise ValueError

    execution = parent.start()
    durable.run_until_idle()
    with pytest.raises(ExecutionConflict, match="is open"):
        client.retry(execution, from_step=0)
    durable.advance(HOUR)
    client.retry(execution, from_step=0)
    durable.run_until_idle()
    keys = Execution.objects.filter(parent_id=execution.id).order_by("pk").values_list("key_scope", flat=True)
    assert list(keys) == [None, "sleeper"]


def test_an_event_is_emitted_anew_under_a_new_id(durable, act):
    @workflow("flow")
    def flow(ctx):
        ctx.emit("told", 1)
        ctx.step("one", act, "one")
        raise ValueError

    execution = flow.start()
    durable.run_until_idle()
    client.retry(execution, from_step=0)
    durable.run_until_idle()
    assert OutboxEvent.objects.filter(execution_id=execution.id).count() == 2
