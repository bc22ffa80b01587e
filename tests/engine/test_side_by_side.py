"""Step bodies of one pass beside each other: they overlap, and everything else is as if they did not."""

import threading
import time
from collections import Counter
from contextlib import suppress
from contextvars import ContextVar
from datetime import timedelta

import pytest
from django.db import connection, connections, transaction

from django_durable import Cancelled, Retry, StepFailed, client, current_step, step, workflow
from django_durable.engine import dry_run, recordings, shutdown, worker
from django_durable.engine.claims import Claim
from django_durable.engine.journal import Journal
from django_durable.exceptions import ExecutionCancelledError, ExecutionFailedError
from django_durable.models import Execution, Step, Timer
from tests.authoring import NO_BROKER, Killed, no_op
from tests.ledger_app.models import LedgerRow

PATIENCE_SECONDS = 10
IN_TURN = {**NO_BROKER, "PARALLEL_STEPS": 1}
SIDE_BY_SIDE = {**NO_BROKER, "PARALLEL_STEPS": 4}


@pytest.fixture
def side_by_side(settings, transactional_db):
    settings.DURABLE = SIDE_BY_SIDE


@pytest.fixture
def done():
    """What the bodies did, in order."""
    return []


class Meeting:
    """Bodies that return once so many of them are inside; one that runs alone fails in time."""

    def __init__(self, parties):
        self._barrier = threading.Barrier(parties, timeout=PATIENCE_SECONDS)

    def __call__(self, value=None):
        self._barrier.wait()
        return value


def wait(event):
    assert event.wait(PATIENCE_SECONDS)


def run(flow, *args):
    execution = flow.start(*args)
    worker.drain("default", using="default")
    return execution


def value_of(execution):
    row = Execution.objects.get(pk=execution.id)
    assert row.is_closed, f"{row.status}: {client.inspect(execution).error}"
    return client.result(execution)


def result(flow, *args):
    return value_of(run(flow, *args))


def names(execution):
    return [step.name for step in Step.objects.history(execution.id)]


def statuses(execution):
    return dict(Step.objects.history(execution.id).values_list("name", "status"))


def one(body, *args, **options):
    """A branch of one step."""
    return lambda ctx: ctx.step("one", body, *args, **options)


# -- that they overlap ---------------------------------------------------------------------------------


def in_parallel(ctx, meet):
    return list(ctx.parallel({"a": one(meet, 1), "b": one(meet, 2)}).values())


def gathered(ctx, meet):
    return ctx.gather(one(meet, 1), one(meet, 2))


def mapped(ctx, meet):
    return ctx.map(lambda ctx, item: ctx.step("one", meet, item), [1, 2])


def settled(ctx, meet):
    return [each.value for each in ctx.parallel({"a": one(meet, 1), "b": one(meet, 2)}, settle=True).values()]


def nested(ctx, meet):
    return ctx.gather(lambda ctx: ctx.gather(one(meet, 1)), lambda ctx: ctx.race({"only": one(meet, 2)}))[0] + [2]


def chosen(ctx, meet):
    return ctx.gather(lambda ctx: ctx.switch("way", "x", {"x": one(meet, 1)}), one(meet, 2))


def later(ctx, meet):
    def second(ctx):
        ctx.step("first", no_op)
        return ctx.step("second", meet, 2)

    return ctx.gather(one(meet, 1), second)


def inside_one(ctx, meet):
    """Inside of the only branch that has anything to do."""
    return ctx.gather(lambda ctx: gathered(ctx, meet))[0]


@pytest.mark.parametrize("part", [in_parallel, gathered, mapped, settled, nested, chosen, later, inside_one])
def test_bodies_that_wait_for_each_other_finish(side_by_side, part):
    meet = Meeting(2)

    @workflow("flow")
    def flow(ctx):
        return part(ctx, meet)

    assert result(flow) == [1, 2]


def test_bodies_of_parts_inside_parts_run_side_by_side(side_by_side):
    meet = Meeting(4)

    @workflow("flow")
    def flow(ctx):
        def two(ctx):
            return ctx.gather(one(meet), one(meet))

        return ctx.gather(two, two)

    assert result(flow) == [[None, None], [None, None]]


def test_each_branch_goes_on_when_its_own_body_has_ended(side_by_side):
    """The long body of one returns after three steps of the other."""
    over = threading.Event()

    @workflow("flow")
    def flow(ctx):
        def quick(ctx):
            for number in range(3):
                ctx.step("quick", over.set if number == 2 else no_op)

        ctx.parallel({"long": one(wait, over), "quick": quick})

    execution = run(flow)
    assert names(execution)[-1] == "parallel/long/one"
    assert Execution.objects.get().status == "completed"


def test_no_more_run_than_the_setting_says(side_by_side, settings):
    settings.DURABLE = {**NO_BROKER, "PARALLEL_STEPS": 2}
    inside, most, lock = [0], [0], threading.Lock()

    def body():
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
        time.sleep(0.01)
        with lock:
            inside[0] -= 1

    @workflow("flow")
    def flow(ctx):
        ctx.map(lambda ctx, item: ctx.step("one", body), range(9))

    run(flow)
    assert most == [2]
    assert Execution.objects.get().status == "completed"


def test_map_begins_no_more_than_its_concurrency(side_by_side):
    inside, most = Counter(), []

    def body(item):
        inside[item] = 1
        most.append(sum(inside.values()))
        time.sleep(0.01)
        inside[item] = 0
        return item

    @workflow("flow")
    def flow(ctx):
        def handle(ctx, item):
            return [ctx.step("one", body, item), ctx.step("two", no_op)][0]

        return ctx.map(handle, range(8), concurrency=2)

    assert result(flow) == list(range(8))
    assert max(most) <= 2


def where():
    return threading.current_thread() is threading.main_thread()


@pytest.mark.parametrize("setting", [IN_TURN, NO_BROKER], ids=["one", "default"])
def test_they_take_turns_where_the_setting_says_so(settings, transactional_db, setting):
    settings.DURABLE = setting

    @workflow("flow")
    def flow(ctx):
        return ctx.gather(one(where), one(where))

    is_in_turn = setting == IN_TURN or connection.vendor == "sqlite"
    assert result(flow) == [is_in_turn] * 2


def test_they_take_turns_in_a_test_case(durable, settings):
    settings.DURABLE = {**settings.DURABLE, "PARALLEL_STEPS": 4}

    @workflow("flow")
    def flow(ctx):
        return ctx.gather(one(where), one(where))

    assert durable.run(flow.start()) == [True, True]


def test_they_take_turns_under_a_frozen_clock(side_by_side):
    from django_durable import clock

    @workflow("flow")
    def flow(ctx):
        return ctx.gather(one(where), one(where))

    with clock.frozen():
        assert result(flow) == [True, True]


def test_a_branch_that_alone_has_anything_to_do_runs_in_place(side_by_side):
    @workflow("flow")
    def flow(ctx):
        return ctx.parallel({"waits": lambda ctx: ctx.wait_for_signal("go", timeout=0), "works": one(where)})["works"]

    assert result(flow) is True


def test_without_another_thread_they_run_in_place(side_by_side, monkeypatch):
    def refuse(self):
        if self.name.startswith("step"):
            raise RuntimeError("can't start new thread")
        start(self)

    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", refuse)

    @workflow("flow")
    def flow(ctx):
        return ctx.gather(one(where), one(where), one(where))

    assert result(flow) == [True, True, True]


# -- connections and context ---------------------------------------------------------------------------


def test_each_thread_has_a_connection_of_its_own_and_closes_it(side_by_side):
    used, meet = [], Meeting(3)

    def body():
        LedgerRow.objects.count()
        used.append(connections["default"])
        meet()

    @workflow("flow")
    def flow(ctx):
        ctx.map(lambda ctx, item: ctx.step("one", body), range(3))

    before = threading.active_count()
    run(flow)
    assert len({id(each) for each in [*used, connections["default"]]}) == 4
    assert all(each.connection is None for each in used)
    assert threading.active_count() <= before + 1  # the heartbeat's may linger


@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="asks the server")
def test_the_server_sees_no_connection_that_stays(side_by_side):
    def count():
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
            return cursor.fetchone()[0]

    @workflow("flow")
    def flow(ctx):
        ctx.map(lambda ctx, item: ctx.step("one", LedgerRow.objects.count), range(9))

    before = count()
    run(flow)
    assert count() <= before + 1  # the heartbeat's


def test_what_bodies_write_is_committed_each_on_its_own(side_by_side):
    def write(number):
        with transaction.atomic():
            LedgerRow.objects.create(execution_id=current_step().execution_id, step=str(number), attempt=1)
            if number == 3:
                raise ValueError(number)

    @workflow("flow")
    def flow(ctx):
        each = {str(number): one(write, number) for number in range(6)}
        return [ended.is_ok for ended in ctx.parallel(each, settle=True).values()]

    assert result(flow) == [True, True, True, False, True, True]
    assert sorted(LedgerRow.objects.values_list("step", flat=True)) == ["0", "1", "2", "4", "5"]


def test_a_connection_that_a_body_broke_is_not_handed_to_the_next(side_by_side, settings):
    settings.DURABLE = {**NO_BROKER, "PARALLEL_STEPS": 2}
    meet = Meeting(2)

    def breaks():
        meet()
        transaction.set_autocommit(False)
        with connections["default"].cursor() as cursor:
            cursor.execute("SELECT nonsense FROM nowhere")

    @workflow("flow")
    def flow(ctx):
        each = {
            "a": one(breaks),
            "b": one(breaks),
            "c": one(LedgerRow.objects.count),
            "d": one(LedgerRow.objects.count),
        }
        return [ended.is_ok for ended in ctx.parallel(each, settle=True).values()]

    assert result(flow) == [False, False, True, True]


seen = ContextVar("seen", default="nothing")


def test_a_body_sees_its_step_and_the_workers_context(side_by_side):
    def body():
        return [current_step().step_id, seen.get()]

    @workflow("flow")
    def flow(ctx):
        return ctx.gather(one(body), one(body))

    token = seen.set("the worker's")
    try:
        assert result(flow) == [["gather/0/one", "the worker's"], ["gather/1/one", "the worker's"]]
    finally:
        seen.reset(token)


def test_a_durable_call_inside_a_body_is_refused(side_by_side):
    @workflow("flow")
    def flow(ctx):
        ctx.gather(lambda ctx: ctx.step("bad", lambda: ctx.step("inner", no_op)), one(no_op))

    with pytest.raises(ExecutionFailedError, match="cannot be made inside the body of step 'gather/0/bad'"):
        result(flow)


# -- errors, time-outs, retries ------------------------------------------------------------------------


class Declined(Exception):
    pass


def test_errors_are_recorded_with_where_they_came_from(side_by_side):
    meet = Meeting(2)

    def declines():
        meet()
        raise Declined("no money")

    def breaks():
        meet()
        raise OSError("line is down")

    @workflow("flow")
    def flow(ctx):
        ended = ctx.parallel({"a": one(step(raises=(Declined,))(declines)), "b": one(breaks)}, settle=True)
        return [f"{type(each.error).__name__}: {each.error}" for each in ended.values()]

    declined, broken = result(flow)
    assert declined == "Declined: no money"
    assert "line is down" in broken
    assert "in breaks" in Step.objects.get(name="parallel/b/one").error


def test_a_body_that_takes_too_long_is_abandoned_and_holds_up_no_other(side_by_side):
    over, done = threading.Event(), []

    @workflow("flow")
    def flow(ctx):
        slow = step(name="slow", timeout=0.05)(lambda: wait(over))
        ended = ctx.parallel({"slow": one(slow), "other": one(done.append, 1)}, settle=True)
        return [type(each.error).__name__ for each in ended.values()]

    try:
        assert result(flow) == ["StepTimedOut", "NoneType"]
    finally:
        over.set()
    assert done == [1]


def test_a_short_back_off_of_one_branch_lets_the_others_go_on(side_by_side):
    """It was slept where it was, and all other branches waited that long."""
    others, attempts = threading.Event(), []

    def flaky():
        attempts.append(others.is_set())
        if len(attempts) == 1:
            raise OSError("not yet")

    retry = Retry(max_attempts=2, initial_seconds=0.3, jitter=0)

    @workflow("flow")
    def flow(ctx):
        def other(ctx):
            for _ in range(3):
                ctx.step("other", no_op)
            ctx.step("last", others.set)

        ctx.parallel({"flaky": one(step(name="flaky", retry=retry)(flaky)), "other": other})

    run(flow)
    assert attempts == [False, True]
    row = Step.objects.get(name="parallel/flaky/one")
    assert (row.status, row.attempts) == ("completed", 2)
    assert row.finished_at - row.started_at >= timedelta(seconds=0.3)


@pytest.mark.parametrize("undoes", [False, True])
def test_so_does_one_of_an_atomic_step_or_of_a_compensation(side_by_side, undoes):
    others, over, attempts = threading.Event(), threading.Event(), []

    def flaky(*result):
        attempts.append(others.is_set())
        if len(attempts) == 1:
            raise OSError("not yet")
        over.set()

    body = step(name="flaky", atomic=not undoes, retry=Retry(max_attempts=2, initial_seconds=0.3, jitter=0))(flaky)

    @workflow("flow")
    def flow(ctx):
        def undoing(ctx):
            ctx.step("one", no_op, compensate=body)
            ctx.rollback()

        def other(ctx):
            for _ in range(3):
                ctx.step("other", no_op)
            ctx.step("last", others.set)

        ctx.parallel({"flaky": undoing if undoes else one(body), "other": other, "long": one(wait, over)})

    run(flow)
    assert Execution.objects.get().status == "completed"
    assert attempts == [False, True]


def test_a_long_back_off_parks(side_by_side):
    def fail():
        raise OSError("not yet")

    retry = Retry(max_attempts=2, initial_seconds=60, jitter=0)

    @workflow("flow")
    def flow(ctx):
        ctx.parallel({"flaky": one(step(name="flaky", retry=retry)(fail)), "other": one(no_op)})

    run(flow)
    assert Execution.objects.get().status == "retrying"
    assert Step.objects.get(name="parallel/other/one").status == "completed"


def test_a_result_that_cannot_be_encoded_fails_its_step_only(side_by_side):
    @workflow("flow")
    def flow(ctx):
        ended = ctx.parallel({"a": one(object), "b": one(no_op)}, settle=True)
        return [each.is_ok for each in ended.values()]

    assert result(flow) == [False, True]


def test_at_most_once_is_recorded_before_the_body_runs(side_by_side):
    meet = Meeting(2)

    @step(at_most_once=True)
    def once():
        meet()
        return Step.objects.get(name=current_step().step_id).status

    @workflow("flow")
    def flow(ctx):
        return ctx.gather(one(once), one(once))

    assert result(flow) == ["started", "started"]


def test_an_atomic_step_shares_the_pass_s_connection(side_by_side):
    @step(atomic=True)
    def atomic():
        return [where(), connection.in_atomic_block]

    @workflow("flow")
    def flow(ctx):
        return ctx.gather(one(atomic), one(where), one(where))

    assert result(flow) == [[True, True], False, False]


# -- a branch that fails, compensations ----------------------------------------------------------------


def undo(done):
    return lambda result: done.append(f"undo {result}")


def alone(part):
    return part


def beside_a_long_one(part):
    """Inside of a branch of a larger part that has another body to run all the time: the larger one runs them all."""
    over = threading.Event()

    def larger(ctx):

        def inner(ctx):
            try:
                return part(ctx)
            finally:
                ctx.step("over", over.set)

        ended = ctx.parallel({"inner": inner, "long": one(wait, over)}, settle=True)["inner"]
        if not ended.is_ok:
            raise ended.error
        return ended.value

    return larger


wherever = pytest.mark.parametrize("within", [alone, beside_a_long_one])
either_order = pytest.mark.parametrize("in_order", [list, reversed])


def ordered(in_order, branches):
    return dict(in_order(list(branches.items())))


@wherever
@either_order
def test_what_ran_beside_the_failure_is_recorded_and_undone(side_by_side, done, within, in_order):
    meet, failed = Meeting(2), threading.Event()

    def slow():
        meet()
        wait(failed)
        time.sleep(0.05)
        done.append("slow")
        return "slow"

    def fails():
        meet()
        failed.set()
        raise ValueError("left failed")

    @workflow("flow")
    def flow(ctx):
        def right(ctx):
            ctx.step("one", slow, compensate=undo(done))
            ctx.step("never", done.append, "never")

        def part(ctx):
            try:
                ctx.parallel("part", ordered(in_order, {"left": one(fails), "right": right}))
            except StepFailed as error:
                return error.type_name

        return within(part)(ctx)

    execution = run(flow)
    assert value_of(execution) == "builtins.ValueError"
    assert done == ["slow", "undo slow"]
    assert [status for name, status in statuses(execution).items() if "never" in name] == ["cancelled"]


def test_a_failure_begins_nothing_more(side_by_side, settings, done):
    settings.DURABLE = {**NO_BROKER, "PARALLEL_STEPS": 2}
    meet = Meeting(2)

    def body(item):
        if item < 2:
            meet()
        if item == 0:
            raise ValueError(item)
        if item == 1:
            time.sleep(0.1)
        done.append(item)

    @workflow("flow")
    def flow(ctx):
        ctx.map(lambda ctx, item: ctx.step("one", body, item), range(9))

    with pytest.raises(ExecutionFailedError):
        result(flow)
    assert done == [1]


def test_they_are_undone_in_the_reverse_order_of_their_completion(side_by_side, done):
    turns = [threading.Event() for _ in range(4)]

    def body(place):
        wait(turns[place])
        done.append(place)
        return place

    def after(ctx, place):
        ctx.step("one", body, place, compensate=undo(done))
        ctx.step("two", turns[place + 1].set)

    @workflow("flow")
    def flow(ctx):
        ctx.gather(*[lambda ctx, place=place: after(ctx, place) for place in (2, 0, 1)])
        raise ValueError("after all")

    turns[0].set()
    with pytest.raises(ExecutionFailedError, match="after all"):
        result(flow)
    assert done == [0, 1, 2, "undo 2", "undo 1", "undo 0"]


def test_a_branch_called_off_cleans_up_beside_the_others(side_by_side, done):
    meet = Meeting(2)

    @workflow("flow")
    def flow(ctx):
        def waiting(ctx):
            try:
                ctx.wait_for_signal("never")
            except Cancelled:
                ctx.step("clean", meet)
                raise

        def fails(ctx):
            ctx.step("one", no_op)
            raise ValueError("left failed")

        ctx.parallel({"a": waiting, "b": waiting, "fails": fails})

    with pytest.raises(ExecutionFailedError, match="left failed"):
        result(flow)


def test_parts_inside_that_fail_are_undone_while_others_run(side_by_side, done):
    meet, over = Meeting(2), threading.Event()

    @workflow("flow")
    def flow(ctx):
        def fails(ctx):
            ctx.step("one", meet)
            raise ValueError("inner")

        def inner(ctx):
            try:
                ctx.parallel({"done": one(lambda: meet() or "done", compensate=undo(done)), "fails": fails})
            except ValueError:
                ctx.step("over", over.set)

        def long(ctx):
            ctx.step("long", wait, over)
            done.append("long")

        ctx.parallel({"inner": inner, "long": long})

    execution = run(flow)
    assert Execution.objects.get(pk=execution.id).status == "completed"
    assert done == ["undo done", "long"]


# -- race ----------------------------------------------------------------------------------------------


@wherever
@either_order
def test_the_first_to_complete_wins_and_the_loser_is_waited_for_and_undone(side_by_side, done, within, in_order):
    won = threading.Event()

    def slow():
        wait(won)
        time.sleep(0.05)
        done.append("slow")
        return "slow"

    @workflow("flow")
    def flow(ctx):
        def loser(ctx):
            ctx.step("one", slow, compensate=undo(done))
            ctx.step("never", done.append, "never")

        def part(ctx):
            return list(ctx.race(ordered(in_order, {"loser": loser, "winner": one(lambda: won.set() or "quick")})))

        return within(part)(ctx)

    execution = run(flow)
    assert value_of(execution) == ["winner", "quick"]
    assert done == ["slow", "undo slow"]
    history = [name.removeprefix("parallel/inner/") for name in names(execution)]
    assert history.index("race:won") < history.index("race/loser/one")


def test_a_cancellation_reaches_every_branch_of_a_race(durable, done):
    @workflow("flow")
    def flow(ctx):
        def waiting(name):
            def branch(ctx):
                try:
                    ctx.wait_for_signal("never")
                except Cancelled:
                    ctx.step("clean", done.append, name)
                    raise

            return branch

        ctx.race({"a": waiting("a"), "b": waiting("b")})

    execution = flow.start()
    durable.run_until_idle()
    client.cancel(execution)
    with pytest.raises(ExecutionCancelledError):
        durable.run(execution)
    assert done == ["a", "b"]


# -- in the middle -------------------------------------------------------------------------------------


def test_a_lost_lease_records_nothing_more_and_begins_nothing_new(side_by_side, settings, done):
    settings.DURABLE = {**NO_BROKER, "PARALLEL_STEPS": 2}
    lost = threading.Event()

    def body(item):
        if item == 0:
            Timer.objects.update(token=None, holder="")
            lost.set()
        wait(lost)
        done.append(item)

    @workflow("flow")
    def flow(ctx):
        ctx.map(lambda ctx, item: ctx.step("one", body, item), range(9))

    before = threading.active_count()
    execution = flow.start()
    worker.advance_one(execution.id, using="default")
    first = [item for item in done if item < 2]
    assert sorted(first) == [0, 1]
    # One whose turn came before the loss was noticed may have begun.
    assert len(done) <= 3
    assert Step.objects.filter(name="map/0/one").count() == 0
    assert threading.active_count() <= before + 1  # the heartbeat's may linger


def test_a_lease_that_the_heartbeat_finds_lost_ends_the_pass(side_by_side, monkeypatch, done):
    claims, meet = [], Meeting(2)
    init = Claim.__init__
    monkeypatch.setattr(
        Claim, "__init__", lambda self, *args, **given: init(self, *args, **given) or claims.append(self)
    )

    def body():
        meet()
        claims[0].lost = True
        done.append("ran")

    @workflow("flow")
    def flow(ctx):
        ctx.gather(*[lambda ctx: [ctx.step("one", body), ctx.step("two", done.append, "never")]] * 2)

    execution = flow.start()
    worker.advance_one(execution.id, using="default")
    assert done == ["ran", "ran"]
    assert names(execution) == []


def test_a_worker_that_stops_finishes_and_records_what_runs_and_begins_nothing_new(side_by_side, stopping, done):
    shutdown.forget()
    meet = Meeting(2)

    def body(name):
        meet()
        shutdown.request_stop()
        time.sleep(0.02)
        done.append(name)
        return name

    @workflow("flow")
    def flow(ctx):
        def branch(name):
            return lambda ctx: [ctx.step("one", body, name), ctx.step("two", done.append, "later")][0]

        return ctx.parallel({"a": branch("a"), "b": branch("b")})

    execution = run(flow)
    assert sorted(done) == ["a", "b"]
    assert sorted(statuses(execution)) == ["parallel", "parallel/a/one", "parallel/b/one"]
    row = Timer.objects.get()
    assert (row.token, row.holder, row.claims) == (None, "", 0)
    shutdown.forget()
    worker.drain("default", using="default")
    assert value_of(execution) == {"a": "a", "b": "b"}
    assert sorted(done) == ["a", "b", "later", "later"]


def test_a_stop_at_the_very_moment_of_beginning_is_no_wait_for_ever(side_by_side, monkeypatch):
    """It comes between the look that allows new work and the beginning of the first body."""
    looks = []

    @workflow("flow")
    def flow(ctx):
        looks.append("the function has begun")
        ctx.gather(one(no_op), one(no_op))

    def is_stopping():
        if looks:
            looks.append("looked")
        return len(looks) > 2

    execution = flow.start()
    monkeypatch.setattr(shutdown, "is_stopping", is_stopping)

    def work():
        try:
            worker.drain("default", using="default")
        finally:
            connection.close()  # this thread's own

    working = threading.Thread(target=work, daemon=True)
    working.start()
    working.join(PATIENCE_SECONDS)
    assert not working.is_alive()
    assert Timer.objects.get(pk=execution.id).token is None


def test_what_runs_is_recorded_too_when_an_atomic_step_finds_the_worker_stopping(side_by_side, stopping, done):
    shutdown.forget()
    meet = Meeting(2)

    def slow():
        meet()
        time.sleep(0.1)

    def quick():
        meet()
        shutdown.request_stop()

    @workflow("flow")
    def flow(ctx):
        def atomic(ctx):
            ctx.step("quick", quick)
            ctx.step("atomic", step(atomic=True)(no_op))

        ctx.gather(one(slow), atomic)

    execution = run(flow)
    assert names(execution) == ["gather", "gather/1/quick", "gather/0/one"]


@wherever
def test_what_runs_is_not_interrupted_but_what_comes_next(side_by_side, done, within):
    meet = Meeting(2)

    def cancels():
        meet()
        client.cancel(current_step().execution_id)

    def slow():
        meet()
        time.sleep(0.1)
        done.append("slow")

    @workflow("flow")
    def flow(ctx):
        def branch(body):
            return lambda ctx: [ctx.step("one", body, compensate=undo(done)), ctx.step("never", done.append, "never")]

        within(lambda ctx: ctx.gather("part", branch(cancels), branch(slow)))(ctx)

    with pytest.raises(ExecutionCancelledError):
        result(flow)
    assert done == ["slow", "undo None", "undo None"]


def test_news_that_comes_before_a_body_is_told_to_its_branch(side_by_side, done, monkeypatch):
    """What was emitted is recorded before the body begins; that write may be the first to meet a cancellation."""
    real = Journal.publish

    @workflow("flow")
    def flow(ctx):
        def emits(ctx):
            ctx.emit("something", 1)
            try:
                ctx.step("never", done.append, "never")
            except Cancelled:
                ctx.step("clean", done.append, "clean")
                raise

        ctx.gather(emits, emits)

    def publish(journal):
        if not cancelled:
            cancelled.append(client.cancel(journal.claim.execution_id))
        return real(journal)

    cancelled = []
    monkeypatch.setattr(Journal, "publish", publish)
    with pytest.raises(ExecutionCancelledError):
        result(flow)
    assert done == ["clean", "clean"]


def test_a_cancellation_is_delivered_before_anything_new_begins(side_by_side, settings, done):
    settings.DURABLE = {**NO_BROKER, "PARALLEL_STEPS": 2}
    meet = Meeting(2)

    def body(item):
        if item < 2:
            meet()
        if item == 0:
            client.cancel(current_step().execution_id)
        done.append(item)
        if item == 1:
            time.sleep(0.2)
        return item

    @workflow("flow")
    def flow(ctx):
        ctx.map(lambda ctx, item: ctx.step("one", body, item, compensate=undo(done)), range(9))

    with pytest.raises(ExecutionCancelledError):
        result(flow)
    assert done == [0, 1, "undo 1", "undo 0"] or done == [1, 0, "undo 1", "undo 0"]


def test_the_death_of_a_body_s_worker_leaves_the_lease(side_by_side):
    def dies():
        raise Killed

    @workflow("flow")
    def flow(ctx):
        ctx.gather(one(dies), one(no_op))

    execution = flow.start()
    with pytest.raises(Killed):
        worker.advance_one(execution.id, using="default")
    assert Timer.objects.get().token is not None


def test_a_sleep_inside_of_a_part_inside_is_not_begun_again_with_each_body(side_by_side):
    @workflow("flow")
    def flow(ctx):
        def slow(ctx):
            for _ in range(3):
                ctx.step("slow", time.sleep, 0.05)

        def inner(ctx):
            ctx.gather(lambda ctx: ctx.sleep(3600), slow)

        ctx.gather(inner, slow)

    run(flow)
    row = Step.objects.get(kind="sleep")
    first = Step.objects.get(name="gather/1/slow")
    assert row.due_at - row.started_at == timedelta(hours=1)
    assert row.started_at < first.finished_at


def test_a_suspension_that_is_swallowed_is_told(side_by_side):
    @workflow("flow")
    def flow(ctx):
        def swallows(ctx):
            with suppress(BaseException):
                ctx.step("one", no_op)

        ctx.gather(swallows, one(no_op))

    execution = run(flow)
    assert Execution.objects.get(pk=execution.id).status == "stuck"
    assert "swallow" in client.inspect(execution).error.lower()


# -- replays -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_histories_of_every_order_of_completion_replay_alike(side_by_side, order):
    turns = {item: threading.Event() for item in (*order, None)}
    follows = dict(zip(order, [*order[1:], None], strict=True))

    def body(item):
        wait(turns[item])
        return item

    @workflow("flow")
    def flow(ctx):
        def branch(ctx, item):
            value = ctx.step("one", body, item)
            ctx.step("two", turns[follows[item]].set)
            return value

        values = ctx.map(branch, [0, 1, 2])
        ctx.wait_for_signal("go")
        return values

    turns[order[0]].set()
    execution = run(flow)
    recorded = [name for name in names(execution) if name.endswith("one")]
    assert recorded == [f"map/{item}/one" for item in order]
    assert dry_run.replay(recordings.read(execution.id, using="default")).fits
    client.signal(execution, "go")
    worker.drain("default", using="default")
    assert value_of(execution) == [0, 1, 2]
