"""Where two things are done to one execution: a pause and a limit, a limit and an order, an order and an end."""

from datetime import timedelta

import pytest

from django_durable import Coalesce, Context, Limit, Rate, client, step, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import claims, gate, slots, worker
from django_durable.exceptions import ExecutionConflict
from django_durable.models import Execution, LimitKey, Slot, Status, Timer
from tests.authoring import Deployed, no_op

HOUR = timedelta(hours=1)


def waits(name="flow", **options):
    @workflow(name, **options)
    def flow(ctx: Context, key: str = ""):
        return ctx.wait_for_signal("go")

    return flow


def status_of(run):
    return Execution.objects.get(pk=run.pk).status


def begun(*runs):
    return [Execution.objects.filter(pk=run.pk, started_at__isnull=False).exists() for run in runs]


@pytest.fixture
def at_the_gate(monkeypatch):
    """Do something while a worker is about to ask for its slot."""

    def do(act):
        real, acts = gate._enter, [act]

        def enter(*args):
            while acts:
                acts.pop()()
            return real(*args)

        monkeypatch.setattr(gate, "_enter", enter)

    return do


# -- pauses --------------------------------------------------------------------------------------------


def test_one_that_waits_for_a_slot_keeps_its_place_also_if_it_has_a_deadline(durable):
    flow = waits(concurrency=Limit(1))
    first, second = flow.start(), flow.using(timeout=HOUR).start()
    durable.run_until_idle()

    with pytest.raises(ExecutionConflict, match="its turn"):
        client.pause(second)

    durable.signal(first, "go")
    assert status_of(second) == Status.WAITING


def test_a_pause_while_it_asks_for_a_slot_is_a_pause(durable, at_the_gate):
    flow = waits(concurrency=Limit(1))
    flow.start()
    durable.run_until_idle()
    second = flow.start()
    at_the_gate(lambda: client.pause(second))
    durable.run_until_idle()

    assert status_of(second) == Status.PAUSED
    assert not Slot.objects.filter(execution=second).exists()
    client.resume(second)
    durable.run_until_idle()
    assert client.get(second).waiting_for == "a slot of workflow/flow"


def test_a_pause_while_it_gets_a_slot_holds_back_its_first_step(durable, at_the_gate):
    done = []

    @workflow("flow", concurrency=Limit(1))
    def flow(ctx: Context):
        ctx.step("one", done.append, "one")

    run = flow.start()
    at_the_gate(lambda: client.pause(run))
    durable.run_until_idle()
    assert (done, status_of(run)) == ([], Status.PAUSED)
    client.resume(run)
    durable.run_until_idle()
    assert (done, status_of(run)) == (["one"], Status.COMPLETED)


def test_a_deadline_that_is_set_while_it_asks_for_a_slot_counts(durable, at_the_gate):
    flow = waits(concurrency=Limit(1))
    flow.start()
    durable.run_until_idle()
    second = flow.start()
    at_the_gate(lambda: client.change_deadline(second, HOUR))
    durable.run_until_idle()
    durable.advance(2 * HOUR)
    assert status_of(second) == Status.TIMED_OUT


def test_one_whose_worker_has_died_can_be_paused(durable):
    run = waits().start()
    claims.take(run.id, using="default")
    Timer.objects.filter(pk=run.pk).update(due_at=DatabaseNow() - HOUR)

    client.pause(run)

    assert status_of(run) == Status.PAUSED
    client.resume(run)
    durable.run_until_idle()
    assert status_of(run) == Status.WAITING


def test_a_pause_that_comes_too_late_leaves_the_end_as_it_is(durable):
    def pauses_and_fails(ctx):
        ctx.step("one", lambda: client.pause(run))
        raise ValueError

    flow = Deployed("flow", pauses_and_fails)
    run = flow.workflow.start()
    durable.run_until_idle()
    assert status_of(run) == Status.FAILED
    with pytest.raises(ExecutionConflict):
        client.resume(run)

    flow.code = lambda ctx: ctx.step("one", no_op)
    client.retry(run)
    durable.run_until_idle()
    assert status_of(run) == Status.COMPLETED


@pytest.mark.parametrize("resumes", [True, False])
def test_one_that_gets_stuck_while_it_is_being_paused_can_go_on(durable, resumes):
    def code(ctx):
        ctx.step("one", no_op)
        ctx.wait_for_signal("go")
        ctx.step("two", no_op)

    def other(ctx):
        client.pause(run)
        ctx.step("other", no_op)

    flow = Deployed("flow", code)
    run = flow.workflow.start()
    durable.run_until_idle()
    flow.code = other
    client.signal(run, "go")
    worker.advance_one(run.id, using="default")
    flow.code = code
    if resumes:
        assert status_of(run) == Status.STUCK
        client.resume(run)
    durable.advance(HOUR)
    assert status_of(run) == (Status.COMPLETED if resumes else Status.PAUSED)
    if not resumes:
        client.resume(run)
        durable.run_until_idle()
        assert status_of(run) == Status.COMPLETED


def test_what_continues_as_new_takes_a_pause_along(durable):
    @workflow("flow")
    def flow(ctx: Context, number: int = 0):
        if number == 0:
            ctx.step("one", lambda: client.pause(run))
            ctx.continue_as_new(1)
        return number

    run = flow.start()
    durable.run_until_idle()

    last = Execution.objects.exclude(pk=run.pk).get()
    assert (status_of(run), last.status) == (Status.CONTINUED, Status.PAUSED)
    client.resume(last)
    durable.run_until_idle()
    assert client.result(run) == 1


def test_timers_that_stand_still_move_a_later_start_too(durable):
    run = waits().using(delay=HOUR).start()
    client.pause(run)
    durable.advance(2 * HOUR)
    client.resume(run, shift_timers=True)
    durable.run_until_idle()
    assert status_of(run) == Status.PENDING
    durable.advance(HOUR)
    assert status_of(run) == Status.WAITING


@pytest.mark.parametrize("sets_aside", [client.pause, lambda run: None])
def test_a_child_that_is_ended_while_set_aside_hands_on_its_turn(durable, sets_aside):
    child = waits("child")

    @workflow("parent")
    def parent(ctx: Context):
        return len(ctx.map(child, ["a", "b"], concurrency=1, settle=True))

    run = parent.start()
    durable.run_until_idle()
    first, second = Execution.objects.filter(workflow="child").order_by("pk")
    sets_aside(first)
    client.terminate(first)
    durable.run_until_idle()
    assert status_of(second) == Status.WAITING
    durable.signal(second, "go")
    assert client.result(run) == 2


# -- limits --------------------------------------------------------------------------------------------


def test_one_that_waits_gets_the_slot_of_its_new_input(durable):
    flow = waits(concurrency=Limit(1, key=lambda key: key))
    flow.start("a")
    second = flow.start("a")
    durable.run_until_idle()

    client.edit_input(second, "b")
    durable.run_until_idle()

    assert status_of(second) == Status.WAITING


def test_one_that_waits_gets_the_slot_of_what_replaces_its_input(durable):
    flow = waits(concurrency=Limit(1, key=lambda key: key)).using(coalesce=Coalesce.replace(key="7"))
    flow.start("a")
    durable.run_until_idle()
    second = flow.start("a")
    durable.run_until_idle()
    assert flow.start("b").id == second.id
    durable.run_until_idle()
    assert status_of(second) == Status.WAITING


def test_what_replaces_one_that_waits_has_its_time_from_now(durable):
    flow = waits(concurrency=Limit(1)).using(coalesce=Coalesce.replace(key="7"), timeout=HOUR)
    waits("other", concurrency=Limit(1))
    flow.start("a")
    durable.run_until_idle()
    flow.start("b")
    durable.run_until_idle()
    second = flow.start("c")
    found = Execution.objects.annotate(now=DatabaseNow()).get(pk=second.pk)
    assert found.deadline_at - found.now <= HOUR


def test_one_that_waits_is_served_by_its_new_priority(durable):
    flow = waits(concurrency=Limit(1))
    first, second, third = (flow.start() for _ in range(3))
    durable.run_until_idle()
    client.reassign(third, priority="high")
    durable.signal(first, "go")
    assert [status_of(run) for run in (second, third)] == [Status.PENDING, Status.WAITING]


def test_one_that_waits_at_a_queue_goes_on_in_another(durable, settings):
    settings.DURABLE = {**settings.DURABLE, "QUEUES": ["imports"], "QUEUE_LIMITS": {"imports": 1}}
    flow = waits().using(queue="imports")
    _, second = flow.start(), flow.start()
    durable.run_until_idle()
    client.reassign(second, queue="default")
    durable.run_until_idle()
    assert status_of(second) == Status.WAITING


def test_one_that_is_reassigned_while_it_asks_for_a_slot_asks_at_its_new_queue(durable, settings, at_the_gate):
    settings.DURABLE = {**settings.DURABLE, "QUEUES": ["imports"], "QUEUE_LIMITS": {"imports": 1}}
    flow = waits().using(queue="imports")
    flow.start()
    durable.run_until_idle()
    second = flow.start()
    at_the_gate(lambda: client.reassign(second, queue="default"))
    durable.run_until_idle()
    assert status_of(second) == Status.WAITING


@pytest.mark.parametrize("limits", [{"concurrency": Limit(1)}, {"rate": Rate(1, per=HOUR)}])
def test_no_clock_brings_a_slot(durable, limits):
    flow = waits(**limits).using(timeout=5 * HOUR)
    _, second = flow.start(), flow.start()
    durable.run_until_idle()
    with pytest.raises(ExecutionConflict, match="waits for"):
        client.wake_now(second)


def test_what_was_continued_is_no_newer_than_what_was_started_after_it(durable):
    @workflow("flow", concurrency=Limit(1, cancel_in_progress=True))
    def flow(ctx: Context, number: int = 0):
        ctx.wait_for_signal("go")
        ctx.continue_as_new(number + 1)

    first = flow.start()
    durable.run_until_idle()
    newer = flow.start()
    client.signal(first, "go")
    worker.advance_one(first.id, using="default")
    durable.run_until_idle()
    assert [status_of(run) for run in (first, newer)] == [Status.CONTINUED, Status.WAITING]


def test_a_retry_waits_for_its_slot_again(durable):
    flow = Deployed("plain", no_op)

    @workflow("flow", concurrency=Limit(1))
    def limited(ctx: Context):
        return flow.code(ctx)

    def fails(ctx):
        ctx.step("one", no_op)
        raise ValueError

    flow.code = fails
    first = limited.start()
    durable.run_until_idle()
    flow.code = lambda ctx: [ctx.step("one", no_op), ctx.wait_for_signal("go")]
    second = limited.start()
    durable.run_until_idle()
    client.retry(first)
    durable.run_until_idle()
    assert client.get(first).waiting_for == "a slot of workflow/flow"
    durable.signal(second, "go")
    durable.signal(first, "go")
    assert status_of(first) == Status.COMPLETED


# -- maps ----------------------------------------------------------------------------------------------


def test_a_turn_goes_to_one_that_waits_for_it_and_not_to_one_that_is_stuck(durable):
    child = waits("child")

    @workflow("parent")
    def parent(ctx: Context):
        return len(ctx.map(child, ["a", "b", "c"], concurrency=2, settle=True))

    parent.start()
    durable.run_until_idle()
    first, second, third = Execution.objects.filter(workflow="child").order_by("pk")
    Timer.objects.filter(pk=first.pk).update(held=True, due_at=None)
    Execution.objects.filter(pk=first.pk).update(status=Status.STUCK, stuck_reason="poison")

    durable.signal(second, "go")

    assert [status_of(run) for run in (first, second, third)] == [Status.STUCK, Status.COMPLETED, Status.WAITING]


def test_a_child_that_waits_for_its_time_by_a_rate_hands_on_its_turn_after_a_pause(durable):
    child = waits("child", rate=Rate(1, per=HOUR))

    @workflow("parent")
    def parent(ctx: Context):
        return len(ctx.map(child, ["a", "b", "c"], concurrency=2, settle=True))

    run = parent.start()
    durable.run_until_idle()
    children = list(Execution.objects.filter(workflow="child").order_by("pk"))
    for each in children:
        client.signal(each, "go")
    client.pause(children[1])
    client.resume(children[1])
    for _ in range(3):
        durable.advance(HOUR)
    assert client.result(run) == 3


def test_a_rollback_that_is_paused_goes_on_as_one(durable):
    undone = []

    def fails():
        client.pause(run)
        raise ValueError

    @workflow("flow")
    def flow(ctx: Context):
        ctx.step("one", no_op, compensate=undone.append)
        ctx.step("two", fails)

    run = flow.start()
    durable.run_until_idle()
    assert (undone, status_of(run)) == ([], Status.PAUSED)
    client.resume(run)
    assert status_of(run) == Status.COMPENSATING
    durable.run_until_idle()
    assert (undone, status_of(run)) == ([None], Status.FAILED)


# -- limits of steps -----------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_one_that_waits_at_the_gate_keeps_no_slot_of_its_step_from_others(durable):
    """It has lent its own slot while it waited for that of its step; else only a tick would free this one."""
    api = step(limit=Limit(1, name="api"), name="call")(no_op)

    @workflow("lent", concurrency=Limit(1, while_waiting=False))
    def lent(ctx: Context):
        ctx.step(api)

    @workflow("free")
    def free(ctx: Context):
        ctx.step(api)

    @workflow("never_runs")
    def never_runs(ctx: Context): ...

    elsewhere = never_runs.using(delay=HOUR).start().id
    keys = {name: LimitKey.objects.create(name=name, capacity=1) for name in ("step/api", "workflow/lent")}
    used = Slot.objects.create(limit=keys["step/api"], execution_id=elsewhere, granted=True)
    runs = [lent.start(), free.start()]
    for run in runs:
        worker.advance_one(run.id, using="default")
    Slot.objects.create(limit=keys["workflow/lent"], execution_id=elsewhere, granted=True)

    used.delete()
    slots.fill(used.limit_id, using="default")
    for run in runs:
        worker.advance_one(run.id, using="default")

    assert client.get(runs[0]).waiting_for == "a slot of workflow/lent"
    assert status_of(runs[1]) == Status.COMPLETED


@pytest.mark.django_db(transaction=True)
def test_a_slot_that_comes_too_late_for_the_loser_of_a_race_goes_on_at_its_next_park(durable):
    api = step(limit=Limit(1, name="api"), name="call")(no_op)

    @workflow("racing")
    def racing(ctx: Context):
        ctx.race({"call": lambda ctx: ctx.step(api), "told": lambda ctx: ctx.wait_for_signal("enough")})
        ctx.wait_for_signal("end")

    @workflow("plain")
    def plain(ctx: Context):
        ctx.step(api)

    limit = LimitKey.objects.create(name="step/api", capacity=1)
    used = Slot.objects.create(limit=limit, execution_id=waits("holding").start().id, granted=True)
    runs = [racing.start(), plain.start()]
    for run in runs:
        worker.advance_one(run.id, using="default")
    client.signal(runs[0], "enough")
    worker.advance_one(runs[0].id, using="default")

    used.delete()
    slots.fill(limit.pk, using="default")
    for run in runs:
        worker.advance_one(run.id, using="default")

    assert client.get(runs[0]).waiting_for == "signal end"
    assert status_of(runs[1]) == Status.COMPLETED


@pytest.fixture
def full():
    """The limit "api" of steps, whose slot is another's until that is called."""
    limit = LimitKey.objects.create(name="step/api", capacity=1)
    used = Slot.objects.create(limit=limit, execution_id=waits("holding").start().id, granted=True)

    def give_back():
        used.delete()
        slots.fill(limit.pk, using="default")

    return give_back


def test_one_that_was_ended_while_a_step_waited_for_its_slot_can_be_retried(durable, full):
    @workflow("flow")
    def flow(ctx: Context):
        return ctx.step(step(limit=Limit(1, name="api"), name="call")(lambda: "done"))

    run = flow.start()
    durable.run_until_idle()
    client.terminate(run)
    assert not Slot.objects.filter(execution=run.id).exists()

    client.retry(run)
    durable.run_until_idle()
    assert client.get(run).waiting_for == "a slot of step/api"
    full()
    assert durable.run(run) == "done"
    assert not Slot.objects.exists()


def test_a_cancellation_leaves_a_compensation_in_its_queue_while_it_goes_back(durable, full):
    done, errors = [], [ValueError()]

    def pay():
        if errors:
            raise errors.pop()

    undo = step(limit=Limit(1, name="api"), name="undo")(lambda _: done.append("undo"))

    @workflow("trip", on_failure="leave")
    def trip(ctx: Context):
        ctx.step("book", lambda: done.append("book"), compensate=undo)
        ctx.step("pay", pay)

    run = trip.start()
    durable.run_until_idle()
    client.retry(run, from_step="book", compensate=True)
    durable.run_until_idle()
    client.cancel(run)
    durable.run_until_idle()
    found = client.get(run)
    assert (found.status, found.waiting_for) == (Status.COMPENSATING, "a slot of step/api")

    full()
    durable.run_until_idle()
    assert status_of(run) == Status.CANCELLED
    assert done == ["book", "undo"]
    assert not Slot.objects.exists()
