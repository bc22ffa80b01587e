"""The budgets of the design, counted on PostgreSQL: statements, commits, and commits that wait for the disk.

Counted at the database's own seam. Not counted as statements: BEGIN, COMMIT, SET and savepoints. A commit is the end
of a transaction, or of a statement outside of one, that wrote something.
"""

from dataclasses import dataclass, field
from math import inf
from unittest import mock

import pytest
from django.db import connection, transaction

from django_durable import Limit, client, on_event, step, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import advance, chores, claims, gate, slots, step_limits, transitions, worker
from django_durable.engine.outcomes import Ended
from django_durable.engine.schedules import firing
from django_durable.engine.tick import tick
from django_durable.models import Execution, Schedule, Status, Step
from tests.schedules.making import make

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        "connection.vendor != 'postgresql'", reason="budgets are set for PostgreSQL, which has RETURNING"
    ),
    pytest.mark.usefixtures("polling"),
]
NOT_COUNTED = ("SAVEPOINT", "RELEASE", "ROLLBACK", "SET ")
WRITES = ("INSERT", "UPDATE", "DELETE", "WITH")


@dataclass
class Costs:
    statements: list[str] = field(default_factory=list)
    commits: int = 0
    waiting: int = 0  # for the disk
    _open_wrote: bool = False

    def execute(self, execute, sql, params, many, context):
        answer = execute(sql, params, many, context)
        if not sql.startswith(NOT_COUNTED):
            self.statements.append(sql)
        if sql.startswith(WRITES):
            if connection.in_atomic_block:
                self._open_wrote = True
            elif context["cursor"].rowcount:
                self.commits += 1
                self.waiting += "'synchronous_commit', 'off'" not in sql
        return answer

    def commit(self):
        self.commits += self._open_wrote
        self.waiting += self._open_wrote
        self._open_wrote = False


@pytest.fixture
def count():
    connection.ensure_connection()

    def counted(work, *args, **kwargs):
        costs = Costs()
        real = connection._commit

        def commit():
            real()
            costs.commit()

        with connection.execute_wrapper(costs.execute), mock.patch.object(connection, "_commit", commit):
            work(*args, **kwargs)
        return costs

    return counted


@step(limit=Limit(1))
def of_limit(value):
    return value


@step
def nothing(number):
    return number


@pytest.fixture
def steps():
    @workflow("budget.steps")
    def steps(ctx, count):
        return [ctx.step(nothing, number) for number in range(count)]

    return steps


def test_a_start_is_one_statement_and_one_commit(count, steps):
    costs = count(steps.start, 3)
    assert (len(costs.statements), costs.commits) == (1, 1)


def test_a_start_in_the_callers_transaction_adds_no_commit(count, steps):
    def start():
        with transaction.atomic():
            steps.start(3)
            steps.start(4)

    costs = count(start)
    assert (len(costs.statements), costs.commits) == (2, 1)


@pytest.mark.parametrize("number", [1, 10, 50])
def test_a_whole_run_of_n_steps_keeps_its_budget(count, steps, number):
    def run():
        execution = steps.start(number)
        worker.advance_one(execution.id, using="default")
        worker.drain("default", using="default")  # what Celery's task does next: finds nothing

    costs = count(run)
    assert Execution.objects.get().status == "completed"
    assert len(costs.statements) <= number + 8
    assert costs.commits <= number + 3
    assert costs.waiting <= number + 2


def test_a_replayed_step_costs_nothing(count):
    @workflow("budget.replayed")
    def replayed(ctx, number):
        for index in range(number):
            ctx.step(nothing, index)
        ctx.wait_for_signal("go")

    def woken(number):
        execution = replayed.start(number)
        worker.advance_one(execution.id, using="default")
        client.signal(execution, "go")
        return count(worker.advance_one, execution.id, using="default")

    few, many = woken(1), woken(60)
    assert Step.objects.filter(kind="step").count() == 61
    assert (len(few.statements), few.commits, few.waiting) == (len(many.statements), many.commits, many.waiting)


def test_a_signal_is_one_statement_and_one_commit(count):
    @workflow("budget.signal")
    def waits(ctx):
        ctx.wait_for_signal("go")

    execution = waits.start()
    worker.advance_one(execution.id, using="default")
    costs = count(client.signal, execution, "go", {"by": "ada"})
    assert (len(costs.statements), costs.commits, costs.waiting) == (1, 1, 1)


def test_a_signal_with_start_is_two_statements_and_one_commit(count):
    @workflow("budget.with_start")
    def waits(ctx):
        ctx.wait_for_signal("go")

    costs = count(client.signal_with_start, waits.using(key="k").prepare(), "go", {"by": "ada"})
    assert (len(costs.statements), costs.commits, costs.waiting) == (2, 1, 1)


def switched(ctx):
    ctx.switch("way", "left", {"left": lambda ctx: None})


MARKERS = {
    "a patch": lambda ctx: ctx.patched("new"),
    "a note": lambda ctx: ctx.note("seen"),
    "a choice": switched,
    "a part": lambda ctx: ctx.parallel({"only": lambda ctx: None}),
    "all of them": lambda ctx: (ctx.patched("new"), ctx.note("seen"), switched(ctx), ctx.parallel({"a": switched})),
}


@pytest.mark.parametrize("follows", ["step", "step in a branch", "park", "park in a branch", "end"])
@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_costs_no_commit_of_its_own(count, marker, follows):
    after = {
        "step": lambda ctx: ctx.step(nothing, 1),
        "step in a branch": lambda ctx: ctx.gather(lambda ctx: ctx.step(nothing, 1)),
        "park": lambda ctx: ctx.wait_for_signal("go"),
        "park in a branch": lambda ctx: ctx.gather(lambda ctx: ctx.wait_for_signal("go")),
        "end": lambda ctx: None,
    }[follows]

    @workflow("budget.plain")
    def plain(ctx):
        after(ctx)

    @workflow("budget.marked")
    def marked(ctx):
        MARKERS[marker](ctx)
        after(ctx)

    def costs_of(flow):
        return count(worker.advance_one, flow.start().id, using="default")

    costs_of(plain)  # what is prepared once
    without, with_it = costs_of(plain), costs_of(marked)

    assert Step.objects.filter(execution__workflow="budget.marked").exists()
    assert (with_it.commits, with_it.waiting) == (without.commits, without.waiting)


@pytest.mark.parametrize("marker", MARKERS)
def test_a_marker_inside_a_branch_costs_no_commit_of_its_own(count, marker):
    @workflow("budget.plain")
    def plain(ctx):
        ctx.gather(lambda ctx: ctx.step(nothing, 1))

    @workflow("budget.marked")
    def marked(ctx):
        def branch(ctx):
            MARKERS[marker](ctx)
            ctx.step(nothing, 1)

        ctx.gather(branch)

    costs = [count(worker.advance_one, flow.start().id, using="default") for flow in (plain, plain, marked)]
    assert (costs[2].commits, costs[2].waiting) == (costs[1].commits, costs[1].waiting)


def test_comparing_all_branches_before_new_work_costs_no_statement(count):
    @workflow("budget.compared")
    def compared(ctx, is_first):
        def woken(ctx):
            ctx.wait_for_signal("go")
            ctx.step(nothing, 1)

        def done(ctx):
            ctx.step(nothing, 2)

        ctx.gather(*((woken, done) if is_first else (done, woken)))

    def costs_of(is_first):
        execution = compared.start(is_first)
        worker.advance_one(execution.id, using="default")
        client.signal(execution, "go")
        return count(worker.advance_one, execution.id, using="default")

    costs_of(True)
    ahead, behind = costs_of(True), costs_of(False)
    assert Execution.objects.filter(status="completed").count() == 3
    assert (len(ahead.statements), ahead.commits) == (len(behind.statements), behind.commits)


def test_a_token_is_used_for_two_reads_beside_the_signal(count):
    tokens = []

    @workflow("budget.token")
    def asks(ctx):
        tokens.append(ctx.signal_token("go", expires=60))
        ctx.wait_for_signal("go")

    worker.advance_one(asks.start().id, using="default")
    costs = count(client.signal_by_token, tokens[0], "go", {"by": "ada"})
    assert (len(costs.statements), costs.commits, costs.waiting) == (3, 1, 1)


def test_events_cost_no_commit_of_their_own_but_one_for_all_before_a_step(count):
    @workflow("budget.emits")
    def emits(ctx, events, steps):
        for number in range(events):
            ctx.emit("budget.event", number)
        for _ in range(steps):
            ctx.step(nothing)

    def run(events, steps):
        return count(lambda: worker.advance_one(emits.start(events, steps).id, using="default"))

    for name in ("first", "second"):
        on_event("budget.event", name=name)(nothing)
    ended, stepped = run(3, 0), run(3, 1)
    assert ended.commits == run(0, 0).commits
    assert stepped.commits == run(0, 1).commits + 1
    assert len(stepped.statements) - len(run(1, 1).statements) == 2 * 3  # checkpoint, event, all deliveries


def test_a_change_of_the_state_costs_no_commit_and_reading_it_costs_nothing(count):
    @workflow("budget.state")
    def changes(ctx, number):
        for index in range(number):
            ctx.state.set(index=index)
            assert ctx.state["index"] == index
        ctx.step(nothing, number)

    def run(number):
        return count(lambda: worker.advance_one(changes.start(number).id, using="default"))

    run(1)  # prepares statements
    none, one, ten = (run(number) for number in (0, 1, 10))
    assert none.commits == one.commits == ten.commits
    assert len(ten.statements) - len(one.statements) == 9


def test_an_update_costs_a_read_and_a_signal_and_its_answer_two_statements_of_the_park(count):
    @workflow("budget.update")
    def waits(ctx):
        ctx.wait_for_signal("go")

    @waits.update("add")
    def add(state, number):
        state["number"] = number

    execution = waits.start()

    def woken(updates):
        client.signal(execution, "other")
        for number in range(updates):
            client.send_update(execution, "add", number)
        return count(worker.advance_one, execution.id, using="default")

    for _ in range(2):  # prepares statements
        woken(1)
    asked = count(client.send_update, execution, "add", 1)
    assert (len(asked.statements), asked.commits, asked.waiting) == (2, 1, 1)
    woken(0)
    none, one, three = (woken(updates) for updates in (0, 1, 3))
    assert none.commits == one.commits == three.commits
    assert [len(each.statements) - len(none.statements) for each in (one, three)] == [2, 6]


def test_a_delivery_costs_two_commits(count):
    @workflow("budget.emits")
    def emits(ctx):
        for number in range(3):
            ctx.emit("budget.event", number)

    on_event("budget.event", name="receiver")(nothing)
    worker.advance_one(emits.start().id, using="default")
    delivering = count(worker.drain, "default", using="default")
    assert delivering.commits == 2 * 3
    assert len(delivering.statements) <= 4 * 3 + 2  # what is due, lease, read, settle; and that nothing more is due


@pytest.mark.parametrize("threads", [1, 4])
def test_bodies_side_by_side_cost_what_they_cost_in_turn(count, settings, threads):
    """In one transaction with the first checkpoint: the part itself, one statement more and no commit."""
    settings.DURABLE = {**settings.DURABLE, "PARALLEL_STEPS": threads}

    @workflow("budget.beside")
    def beside(ctx, number):
        ctx.map(lambda ctx, item: [ctx.step(nothing, item), ctx.step(nothing, item)], range(number))

    def ran(number):
        execution = beside.start(number)
        return count(worker.advance_one, execution.id, using="default")

    few, many = ran(5), ran(25)
    assert len(many.statements) - len(few.statements) == 2 * 20
    assert many.commits - few.commits == 2 * 20
    assert (len(few.statements), few.commits) == (2 * 5 + 5, 2 * 5 + 2)


def test_continuing_is_eight_statements_and_one_commit_however_many_signals(count):
    @workflow("budget.continued")
    def continued(ctx, again):
        return ctx.continue_as_new(False) if again else ctx.wait_for_signal("go")

    def pass_of(signals):
        run = continued.start(True)
        for _ in range(signals):
            client.signal(run, "other")
        return count(worker.advance_one, run.id, using="default")

    costs = [pass_of(number) for number in (1, 50)]
    claim_and_load = 3  # the claim, the execution, the inbox
    assert [(len(each.statements) - claim_and_load, each.waiting) for each in costs] == [(8, 1), (8, 1)]


def test_an_idle_second_costs_four_statements_however_many_sleep(count, monkeypatch):
    monkeypatch.setattr(chores, "_next_look", {"default": inf})  # what is done once a minute: test_retention counts it

    @workflow("budget.sleeper")
    def sleeper(ctx):
        ctx.sleep(3600)

    for _ in range(200):
        sleeper.start()
    worker.drain("default", using="default", seconds=60)
    assert Execution.objects.filter(status="sleeping").count() == 200
    costs = count(tick, using="default")
    assert len(costs.statements) <= 4
    assert costs.commits == 0


def test_an_idle_second_costs_the_same_with_schedules_and_firing_a_hundred_costs_little(count, monkeypatch):
    monkeypatch.setattr(chores, "_next_look", {"default": inf})

    @workflow("budget.scheduled")
    def scheduled(ctx):
        return 1

    none = count(tick, using="default")
    for number in range(150):
        make(scheduled, name=f"schedule {number}")
    idle = count(tick, using="default")
    assert (len(idle.statements), idle.commits) == (len(none.statements), 0)
    assert len(idle.statements) <= 4

    Schedule.objects.update(next_at=DatabaseNow(), due_at=DatabaseNow())
    fired = count(firing.fire_due, using="default")
    assert Execution.objects.count() == 150
    # Two batches of seven, and two looks that find nothing: one for what waits, one for a third batch.
    assert (len(fired.statements), fired.commits) == (16, 2), fired.statements


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "most"), [(None, 4.5), (20, 5.5)])
def test_a_map_of_1000_children_costs_six_statements_per_child_at_the_most(count, limit, most):
    """Everything counted: starting, the children's own runs, waking, joining, and each pass of the parent."""
    number = 1000

    @workflow("budget.item")
    def item(ctx, value):
        return value

    @workflow("budget.map")
    def maps(ctx, number):
        return sum(ctx.map(item, range(number), concurrency=limit))

    def run():
        maps.start(number)
        worker.drain("default", using="default", seconds=300)

    costs = count(run)
    assert Execution.objects.get(workflow="budget.map").status == "completed"
    assert client.result(Execution.objects.get(workflow="budget.map")) == sum(range(number))
    assert len(costs.statements) <= most * number <= 6 * number
    assert costs.commits <= 2.1 * number
    assert costs.waiting <= 1.1 * number


def test_a_limit_of_a_step_costs_its_own_bodies_only(count):
    """One that has a slot at once; one that waits, put aside and let in later."""

    @workflow("budget.step_limited")
    def limited(ctx):
        ctx.step("free", nothing, 1)
        return ctx.step(of_limit, 1)

    @workflow("budget.step_free")
    def free(ctx):
        ctx.step("free", nothing, 1)
        return ctx.step(nothing, 1)

    wanted = of_limit.wanted((1,), {})
    slots.key_of(wanted, using="default")
    free.start()
    without = count(worker.drain, "default", using="default")
    limited.start()
    alone = count(worker.drain, "default", using="default")
    holder, waiting = limited.start(), limited.start()
    holding = claims.take(holder.id, using="default")
    slot = step_limits._take(holding, "of_limit", wanted)
    put_aside = count(worker.advance_one, waiting.id, using="default")
    idle = count(worker.drain, "default", using="default")
    given_back = count(step_limits._give_back, holding, slot)
    let_in = count(worker.advance_one, waiting.id, using="default")

    costs = [(len(each.statements), each.commits) for each in (without, alone, put_aside, idle, given_back, let_in)]
    assert costs == [(7, 4), (21, 7), (15, 4), (1, 0), (16, 3), (24, 6)], costs


def test_a_limit_costs_its_own_executions_only(count):
    """One that is let in at once; one that waits, put aside and let in later."""

    @workflow("budget.limited", concurrency=Limit(1))
    def limited(ctx):
        return ctx.step(nothing, 1)

    limited.start()
    worker.drain("default", using="default")  # the limit's row is made
    limited.start()
    alone = count(worker.drain, "default", using="default")
    holder, waiting = limited.start(), limited.start()
    holding = claims.take(holder.id, using="default")
    execution = advance._load(holding)
    assert gate.admit(holding, execution, limited, {"args": [], "kwargs": {}})
    put_aside = count(worker.advance_one, waiting.id, using="default")
    transitions.close(holding, execution, Ended(status=Status.COMPLETED, result="[1, null]"))
    let_in = count(worker.drain, "default", using="default")

    costs = [(len(each.statements), each.commits) for each in (alone, put_aside, let_in)]
    assert costs == [(22, 5), (11, 2), (16, 4)], [each.statements for each in (alone, put_aside, let_in)]
    assert Execution.objects.filter(status=Status.COMPLETED).count() == 4
