"""Limits at work: who is let in, who waits, and what becomes of those that wait."""

from datetime import timedelta

import pytest

from django_durable import Coalesce, Context, Limit, Rate, client, workflow
from django_durable.definitions import registry
from django_durable.engine import advance, claims, gate, slots, worker
from django_durable.engine.tick import tick
from django_durable.exceptions import ConfigurationError, ExecutionCancelledError, InvalidOptionError
from django_durable.models import Execution, LimitKey, Slot, Timer
from tests.authoring import no_op

MINUTE = timedelta(minutes=1)


def waits(ctx: Context, *args, **kwargs):
    return ctx.wait_for_signal("go")


def limited(*limits: Limit, name: str = "flow", code=waits, **options):
    """A workflow with these limits that waits for a signal."""

    @workflow(name, concurrency=limits, **options)
    def flow(ctx: Context, key: str = "", tenant: str = ""):
        return code(ctx, key, tenant)

    return flow


def state(name: str = "workflow/flow") -> dict[str, tuple[int, int]]:
    """(used, waiting) by key."""
    return {each.key: (each.used, each.waiting) for each in client.limits(name)}


def admitted(executions) -> list[int]:
    """Which of them have begun."""
    begun = set(Execution.objects.filter(started_at__isnull=False).values_list("pk", flat=True))
    return [index for index, execution in enumerate(executions) if execution.id in begun]


def test_no_more_than_the_limit_are_under_way_and_the_next_begins_when_one_ends(durable):
    flow = limited(Limit(2))
    runs = [flow.start() for _ in range(4)]

    durable.run_until_idle()

    assert admitted(runs) == [0, 1]
    assert state() == {"": (2, 2)}
    durable.signal(runs[1], "go", "done")
    assert admitted(runs) == [0, 1, 2]
    assert state() == {"": (2, 1)}
    for run in (runs[0], runs[2], runs[3]):
        durable.signal(run, "go", "done")
    assert [client.result(run) for run in runs] == ["done"] * 4
    assert state() == {"": (0, 0)}
    assert not Slot.objects.exists()


def test_one_that_waits_says_for_what_and_is_not_due(durable):
    flow = limited(Limit(1))
    _, second = flow.start(), flow.start()

    durable.run_until_idle()

    found = client.get(second)
    assert (found.status, found.waiting_for) == ("pending", "a slot of workflow/flow")
    assert (found.timer.due_at, found.timer.token, found.timer.claims) == (None, None, 0)
    assert durable.advance(timedelta(days=1)) == 0


def test_each_key_has_a_limit_of_its_own(durable):
    flow = limited(Limit(1, key=lambda key: key))
    runs = [flow.start("a"), flow.start("a"), flow.start("b")]

    durable.run_until_idle()

    assert admitted(runs) == [0, 2]
    assert state() == {"a": (1, 1), "b": (1, 0)}


def test_a_named_limit_is_shared(durable):
    first = limited(Limit(1, name="erp"), name="first").start()
    second = limited(Limit(1, name="erp"), name="second").start()

    durable.run_until_idle()

    assert admitted([first, second]) == [0]
    assert state("erp") == {"": (1, 1)}


def test_a_queue_has_a_limit(durable, settings):
    settings.DURABLE = {**settings.DURABLE, "QUEUES": ["imports"], "QUEUE_LIMITS": {"imports": 1}}
    flow = limited()
    runs = [flow.using(queue="imports").start(), flow.using(queue="imports").start(), flow.start()]

    durable.run_until_idle()

    assert admitted(runs) == [0, 2]
    assert state("queue/imports") == {"": (1, 1)}


def test_who_needs_two_takes_the_narrow_one_first_and_keeps_it(durable):
    flow = limited(Limit(2, name="all"), Limit(1, key=lambda key: key))
    runs = [flow.start(key) for key in "aabc"]

    durable.run_until_idle()

    assert admitted(runs) == [0, 2]
    assert state("all") == {"": (2, 1)}, "the second of a waits for a, and holds up nobody else"
    assert state() == {"a": (1, 1), "b": (1, 0), "c": (1, 0)}
    durable.signal(runs[0], "go")
    assert admitted(runs) == [0, 2, 3]


def test_a_higher_priority_is_next(durable):
    flow = limited(Limit(1))
    runs = [flow.start(), flow.start(), flow.using(priority="high").start()]
    durable.run_until_idle()

    durable.signal(runs[2], "go")  # it was the first to be claimed
    durable.signal(runs[0], "go")

    assert admitted(runs) == [0, 1, 2]
    late = [flow.using(priority="low").start(), flow.using(priority="high").start()]
    durable.run_until_idle()
    durable.signal(runs[1], "go")
    assert admitted(late) == [1]


def test_a_fair_limit_serves_its_keys_in_turn(durable):
    flow = limited(Limit(1, fair=lambda tenant: tenant))
    runs = [flow.start("", tenant) for tenant in ["busy"] * 5 + ["calm"] * 2]
    durable.run_until_idle()
    order = []
    while (now := [index for index in admitted(runs) if index not in order]) != []:
        order += now
        durable.signal(runs[now[0]], "go")

    assert order == [0, 1, 5, 2, 6, 3, 4]


def test_no_key_waits_more_than_twice_its_share(durable):
    """Ten keys with backlogs from 1 to 19: while a key waits, every tenth admission at the least is its own."""
    order = []

    def note(ctx, key, tenant):
        if key == "first":
            return ctx.wait_for_signal("go")
        order.append(tenant)

    flow = limited(Limit(1, fair=lambda tenant: tenant), code=note)
    first = flow.start("first", "nobody")
    durable.run_until_idle()
    backlogs = {f"tenant {number}": 2 * number + 1 for number in range(10)}
    for tenant in sorted(backlogs, reverse=True):  # the longest backlog has come first
        for _ in range(backlogs[tenant]):
            flow.start("", tenant)
    durable.run_until_idle()
    assert (order, state()) == ([], {"": (1, 100)})

    durable.signal(first, "go")

    assert {tenant: order.count(tenant) for tenant in backlogs} == backlogs
    for tenant, backlog in backlogs.items():
        places = [place for place, served in enumerate(order, start=1) if served == tenant]
        assert all(place <= 2 * number * len(backlogs) for number, place in enumerate(places, start=1))
        assert places[-1] <= backlog * len(backlogs)


def test_one_that_comes_back_again_and_again_does_not_pass_those_that_wait(durable):
    flow = limited(Limit(1, fair=lambda tenant: tenant))
    waiting = [flow.start("", "patient") for _ in range(3)]
    durable.run_until_idle()
    hasty = [flow.start("", "hasty")]
    durable.run_until_idle()

    served = []
    while len(served) < 6:
        holder = Slot.objects.held().get().execution_id
        served.append("hasty" if holder in [run.id for run in hasty] else "patient")
        if served[-1] == "hasty":
            hasty.append(flow.start("", "hasty"))
            durable.run_until_idle()
        durable.signal(holder, "go")

    assert served == ["patient", "patient", "hasty", "patient", "hasty", "hasty"]
    assert admitted(waiting) == [0, 1, 2]


def test_one_that_waits_can_be_cancelled_without_a_slot(durable):
    flow = limited(Limit(1))
    runs = [flow.start() for _ in range(3)]
    durable.run_until_idle()

    client.cancel(runs[1])

    with pytest.raises(ExecutionCancelledError):
        durable.run(runs[1])
    assert state() == {"": (1, 1)}
    durable.signal(runs[0], "go")
    assert admitted([runs[0], runs[2]]) == [0, 1]


def test_one_that_waits_can_be_terminated(durable):
    flow = limited(Limit(1))
    runs = [flow.start() for _ in range(3)]
    durable.run_until_idle()

    client.terminate(runs[1])
    client.terminate(runs[0])
    durable.run_until_idle()

    assert admitted(runs) == [0, 2]
    assert state() == {"": (1, 0)}


def test_one_that_waits_passes_its_deadline_in_time(durable):
    flow = limited(Limit(1))
    runs = [flow.start(), flow.using(timeout=MINUTE).start()]
    durable.run_until_idle()

    durable.advance(MINUTE)

    assert client.get(runs[1]).status == "timed_out"
    assert state() == {"": (1, 0)}


def test_a_signal_is_kept_for_one_that_waits(durable):
    flow = limited(Limit(1))
    runs = [flow.start(), flow.start()]
    durable.run_until_idle()

    durable.signal(runs[1], "go", "early")

    assert admitted(runs) == [0]
    durable.signal(runs[0], "go")
    assert client.result(runs[1]) == "early"


def test_a_cancelled_holder_keeps_its_slot_until_it_has_ended(durable):
    def cleans_up(ctx, *_):
        try:
            ctx.wait_for_signal("go")
        finally:
            ctx.sleep(MINUTE)

    flow = limited(Limit(1), code=cleans_up)
    runs = [flow.start(), flow.start()]
    durable.run_until_idle()

    client.cancel(runs[0])
    durable.run_until_idle()

    assert admitted(runs) == [0]
    durable.advance(MINUTE)
    assert (client.get(runs[0]).status, admitted(runs)) == ("cancelled", [0, 1])


def test_a_dead_worker_leaves_the_slot_with_its_execution(durable):
    flow = limited(Limit(1))
    runs = [flow.start(), flow.start()]
    durable.run_until_idle()
    client.signal(runs[0], "go", "done")
    claims.take(runs[0].id, using="default")  # and dies

    assert admitted(runs) == [0]
    assert state() == {"": (1, 1)}
    durable.advance(MINUTE)
    assert client.result(runs[0]) == "done"
    assert admitted(runs) == [0, 1]


def test_a_slot_that_was_given_back_and_not_handed_on_is_found(durable, monkeypatch):
    flow = limited(Limit(1))
    runs = [flow.start(), flow.start()]
    durable.run_until_idle()
    client.terminate(runs[0])  # in a transaction that never commits here, so nothing is done after it

    assert Slot.objects.given_back().count() == 1
    tick(using="default")
    assert Slot.objects.get().execution_id == runs[1].id
    assert Timer.objects.due().get().execution_id == runs[1].id
    assert not Slot.objects.given_back().exists()


def test_a_deleted_holder_gives_its_slot_back(durable):
    flow = limited(Limit(1))
    runs = [flow.start(), flow.start()]
    durable.run_until_idle()

    Execution.objects.filter(pk=runs[0].id).delete()
    durable.run_until_idle()

    assert state() == {"": (1, 0)}


def test_a_stuck_one_gives_its_slot_back_and_takes_one_again(durable):
    def first(ctx, *_):
        ctx.wait_for_signal("go")

    def other(ctx, *_):
        ctx.step("new", no_op)
        ctx.wait_for_signal("go")

    code = [first]
    flow = limited(Limit(1), code=lambda ctx, *_: code[0](ctx))
    runs = [flow.start(), flow.start()]
    durable.run_until_idle()
    code[0] = other
    durable.signal(runs[0], "go")
    assert client.get(runs[0]).status == "stuck"
    assert admitted(runs) == [0, 1]

    code[0] = first
    durable.advance(2 * MINUTE)
    found = client.get(runs[0])
    assert (found.status, found.waiting_for) == ("stuck", "a slot of workflow/flow")
    durable.signal(runs[1], "go")  # it began with the other code, and is set aside as well
    assert client.get(runs[0]).status == "completed"


def test_what_is_continued_keeps_the_slot(durable):
    def again(ctx, key, _):
        if key == "go on":
            ctx.continue_as_new("last")
        return ctx.wait_for_signal("go")

    flow = limited(Limit(1), code=again)
    first, second = flow.start("go on"), flow.start("other")

    durable.run_until_idle()

    assert admitted([client.latest(first), second]) == [0]
    assert state() == {"": (1, 1)}
    durable.signal(client.latest(first), "go")
    assert admitted([second]) == [0]


def test_a_new_one_has_the_older_ones_of_its_key_cancelled(durable):
    flow = limited(Limit(1, key=lambda key: key, cancel_in_progress=True))
    other = flow.start("b")
    runs = []
    for _ in range(3):
        runs.append(flow.start("a"))
        durable.run_until_idle()

    assert [client.get(run).status for run in runs] == ["cancelled", "cancelled", "waiting"]
    assert client.get(other).status == "waiting"


def test_an_older_one_that_comes_late_gives_way_to_the_newer(durable):
    flow = limited(Limit(1, cancel_in_progress=True))
    older = flow.using(priority="low").start()
    newer = flow.start()

    durable.run_until_idle()

    assert [client.get(run).status for run in (older, newer)] == ["cancelled", "waiting"]


def test_a_higher_capacity_counts_from_the_next_admission(durable):
    runs = [limited(Limit(1)).start() for _ in range(3)]
    durable.run_until_idle()
    with registry.isolated():
        registry._versions.clear()
        runs.append(limited(Limit(3)).start())
        durable.run_until_idle()

        assert admitted(runs) == [0, 1, 2]
        assert client.limits()[0].capacity == 3


def test_without_the_limit_in_the_code_everybody_goes_on(durable):
    runs = [limited(Limit(1)).start() for _ in range(3)]
    durable.run_until_idle()
    with registry.isolated():
        registry._versions.clear()
        runs.append(limited().start())
        durable.run_until_idle()
        assert admitted(runs) == [0, 3]
        for run in runs[:3]:
            durable.signal(run, "go", "done")
        assert [client.result(run) for run in runs[:3]] == ["done"] * 3
    assert not Slot.objects.exists()


def test_limits_that_nobody_uses_are_deleted(durable):
    flow = limited(Limit(1, key=lambda key: key), rate=Rate(1, per=MINUTE, key=lambda key: key))
    used, over = flow.start("used"), flow.start("over")
    durable.run_until_idle()
    durable.signal(over, "go")
    assert slots.prune(using="default") == 1, "the rate is still to be kept"

    durable.advance(MINUTE)
    assert slots.prune(using="default") == 1
    assert {each.key for each in client.limits()} == {"used"}
    again = flow.start("over")
    durable.run_until_idle()
    assert admitted([used, again]) == [0, 1]


# -- who gives its slot back before its end ------------------------------------------------------------


def test_one_that_has_no_worker_for_long_gives_its_slot_back(durable):
    flow = limited(Limit(1))
    runs = [flow.start(), flow.start()]
    durable.run_until_idle()
    Execution.objects.filter(pk=runs[0].id).update(version=7)
    durable.signal(runs[0], "go", "done")
    assert state() == {"": (1, 1)}, "a worker that has the code may be about to claim it"

    for _ in range(10):
        durable.advance(timedelta(seconds=15))

    assert client.get(runs[0]).stuck_reason == "no_worker_for"
    assert admitted(runs) == [0, 1]
    assert state() == {"": (1, 0)}
    Execution.objects.filter(pk=runs[0].id).update(version=1)
    durable.advance(MINUTE)
    assert client.get(runs[0]).waiting_for == "a slot of workflow/flow"
    durable.signal(runs[1], "go")
    assert client.result(runs[0]) == "done"


@pytest.mark.parametrize("has_slot", [True, False])
def test_one_that_is_debounced_holds_no_slot_and_has_no_place(durable, has_slot):
    """It has come to the gate and waits, for its other slot or for this one; then a start has it wait longer."""
    wide, narrow = Limit(1, name="wide"), Limit(1, key=lambda key: key)
    others = limited(*([wide] if has_slot else [narrow]), name="flow" if not has_slot else "others")
    flow = limited(narrow, wide) if has_slot else others
    holder = others.start("a")
    durable.run_until_idle()
    debounced = flow.using(coalesce=Coalesce.debounce(MINUTE, key="k"))
    run = debounced.start("a")
    durable.advance(MINUTE)
    assert client.get(run).waiting_for.startswith("a slot of")
    debounced.start("a")

    third = flow.start("a")
    durable.signal(holder, "go")

    assert admitted([third, run]) == [0]
    durable.advance(MINUTE)
    assert client.get(run).waiting_for.startswith("a slot of")
    durable.signal(third, "go")
    assert admitted([run]) == [0]


def sleeps(ctx, key, tenant):
    """Waits for a signal, for a time and for a child in turn."""
    ctx.wait_for_signal("go")
    ctx.sleep(MINUTE)
    return ctx.step(key or "last", no_op)


def lending(code=sleeps, **options):
    return limited(Limit(1, while_waiting=False), code=code, **options)


def test_one_that_waits_gives_its_slot_back_and_queues_for_it_again(durable):
    flow = lending()
    runs = [flow.start() for _ in range(3)]

    durable.run_until_idle()

    assert admitted(runs) == [0, 1, 2]
    assert state() == {"": (0, 0)}
    assert [client.get(run).waiting_for for run in runs] == ["signal go"] * 3
    holder = limited(Limit(1), name="holder")
    assert holder is not None
    for run in runs:
        durable.signal(run, "go")
    durable.advance(MINUTE)
    assert {client.get(run).status for run in runs} == {"completed"}
    assert not Slot.objects.exists()


def test_one_that_is_woken_without_a_slot_waits_for_one(durable):
    lent = limited(Limit(1, name="erp", while_waiting=False), name="lent", code=waits)
    kept = limited(Limit(1, name="erp"), name="kept")
    run, holder = lent.start(), kept.start()
    durable.run_until_idle()
    assert admitted([run, holder]) == [0, 1]

    durable.signal(run, "go", "done")

    found = client.get(run)
    assert (found.status, found.waiting_for, found.timer.due_at) == ("waiting", "a slot of erp", None)
    assert state("erp") == {"": (1, 1)}
    durable.signal(holder, "go")
    assert client.result(run) == "done"


def test_a_parent_lends_its_slot_to_its_child(durable):
    child = limited(Limit(1, name="erp"), name="child", code=lambda ctx, *_: "child's")
    parent = limited(Limit(1, name="erp", while_waiting=False), name="parent", code=lambda ctx, *_: ctx.call(child))

    assert durable.run(parent.start()) == "child's"


def test_a_paused_one_lends_its_slot(durable):
    def two_steps(ctx, *_):
        ctx.step("first", client.pause, ctx.execution_id)
        return ctx.step("second", no_op)

    flow = lending(two_steps)
    run = flow.start()
    durable.run_until_idle()
    assert (client.get(run).status, state()) == ("paused", {"": (0, 0)})
    client.resume(run)
    durable.run(run)


def test_one_that_is_paused_while_it_queues_again_gives_its_place_up(durable):
    lent = limited(Limit(1, name="erp", while_waiting=False), name="lent")
    holder = limited(Limit(1, name="erp"), name="kept").start()
    durable.run_until_idle()
    client.terminate(holder)
    run = lent.start()
    durable.run_until_idle()
    holder = registry.find("kept").start()
    durable.run_until_idle()
    durable.signal(run, "go", "done")
    assert state("erp") == {"": (1, 1)}

    client.pause(run)
    durable.signal(holder, "go")

    assert (client.get(run).status, state("erp")) == ("paused", {"": (0, 0)})
    client.resume(run)
    assert durable.run(run) == "done"


def test_one_that_is_cancelled_while_it_waits_cleans_up_with_a_slot(durable):
    done = []

    def cleans_up(ctx, *_):
        try:
            ctx.wait_for_signal("go")
        finally:
            ctx.step("clean", done.append, 1)

    lent = limited(Limit(1, name="erp", while_waiting=False), name="lent", code=cleans_up, timeout=MINUTE / 2)
    kept = limited(Limit(1, name="erp"), name="kept")
    runs, holder = [lent.start(), lent.start()], kept.start()
    durable.run_until_idle()

    client.cancel(runs[0])
    durable.run_until_idle()
    assert (client.get(runs[0]).status, done) == ("cancelling", [])
    assert durable.advance(MINUTE) <= 4, "the deadline has passed, which is no reason to look again and again"
    assert done == []
    durable.signal(holder, "go")

    assert [client.get(run).status for run in runs] == ["cancelled", "timed_out"]
    assert done == [1, 1]


def test_a_dead_worker_keeps_the_slot_though_it_would_be_lent(durable):
    """Its body may still be running; whoever takes it up has the slot."""
    flow = lending(code=lambda ctx, *_: ctx.step("body", no_op))
    first, second = flow.start(), flow.start()
    dead = claims.take(first.id, using="default")
    assert gate.admit(dead, advance._load(dead), flow, {"args": [], "kwargs": {}})

    durable.run_until_idle()

    assert state() == {"": (1, 1)}
    durable.advance(MINUTE)
    assert [client.get(run).status for run in (first, second)] == ["completed"] * 2
    assert not Slot.objects.exists()


def test_a_newest_one_cannot_lend():
    with pytest.raises(InvalidOptionError, match="give one"):
        Limit(1, cancel_in_progress=True, while_waiting=False)


# -- rates ---------------------------------------------------------------------------------------------


def test_a_rate_spreads_the_beginnings_evenly(durable):
    flow = limited(rate=Rate(60, per=MINUTE))
    runs = [flow.start() for _ in range(5)]
    durable.run_until_idle()

    begun = [len(admitted(runs))]
    for _ in range(4):
        durable.advance(timedelta(seconds=1))
        begun.append(len(admitted(runs)))

    assert begun == [1, 2, 3, 4, 5]


def test_a_burst_may_begin_at_once_after_a_rest(durable):
    flow = limited(rate=Rate(60, per=MINUTE, burst=3))
    runs = [flow.start() for _ in range(5)]
    durable.run_until_idle()
    assert len(admitted(runs)) == 3

    durable.advance(timedelta(seconds=1))
    assert len(admitted(runs)) == 4


def test_a_rate_counts_an_execution_once(durable):
    flow = limited(rate=Rate(1, per=MINUTE))
    first, second = flow.start(), flow.start()
    durable.run_until_idle()

    durable.signal(first, "go", "done")

    assert client.result(first) == "done"
    assert client.get(second).waiting_until == durable.clock.now() + MINUTE
    client.cancel(second)
    with pytest.raises(ExecutionCancelledError):
        durable.run(second)
    third = flow.start()
    durable.advance(MINUTE)
    assert admitted([third]) == []
    durable.advance(MINUTE)
    assert admitted([third]) == [0]


def test_each_key_has_a_rate_of_its_own(durable):
    flow = limited(rate=Rate(1, per=MINUTE, key=lambda key: key))
    runs = [flow.start("a"), flow.start("a"), flow.start("b")]

    durable.run_until_idle()

    assert admitted(runs) == [0, 2]


def test_a_hundred_a_minute_is_a_hundred_a_minute(durable):
    flow = limited(rate=Rate(100, per=MINUTE), code=lambda ctx, *_: None)
    for _ in range(220):
        flow.start()
    durable.advance(2 * MINUTE)

    begun = Execution.objects.filter(started_at__isnull=False)
    first = min(begun.values_list("started_at", flat=True))
    in_minutes = [
        begun.filter(started_at__gte=first + n * MINUTE, started_at__lt=first + (n + 1) * MINUTE).count()
        for n in (0, 1)
    ]
    assert in_minutes == [100, 100]


# -- refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limit(0),
        lambda: Limit(True),
        lambda: Limit(1, name="a/b"),
        lambda: Limit(1, while_waiting="no"),
        lambda: Limit(1, cancel_in_progress="no"),
        lambda: Limit(1, key="key"),
        lambda: Limit(1, fair=str, cancel_in_progress=True),
        lambda: Rate(0, per=1),
        lambda: Rate(1, per=0),
        lambda: Rate(1, per=1, burst=0),
        lambda: workflow("flow", concurrency=3)(waits),
        lambda: workflow("flow", rate=Limit(1))(waits),
    ],
)
def test_a_limit_of_no_use_is_refused(make):
    with pytest.raises(InvalidOptionError):
        make()


def test_a_key_function_must_ask_for_what_the_workflow_takes():
    with pytest.raises(ConfigurationError, match="asks for shop"):
        limited(Limit(1, key=lambda shop: shop))


def test_two_limits_of_one_workflow_need_names():
    with pytest.raises(ConfigurationError, match="two limits of one name"):
        limited(Limit(1), Limit(2))


@pytest.mark.parametrize("key", [lambda key: None, lambda key: 1 / 0, lambda key: "", lambda key: "x" * 201])
def test_a_key_that_cannot_be_had_is_refused_at_the_start(db, polling, key):
    flow = limited(Limit(1, key=key))

    with pytest.raises(InvalidOptionError):
        flow.start("a")

    assert not Execution.objects.exists()


def test_a_key_function_that_a_deploy_broke_sets_the_execution_aside(durable):
    broken = []
    flow = limited(Limit(1, key=lambda key: 1 / 0 if broken else key))
    run = flow.start("a")
    broken.append(True)
    durable.run_until_idle()
    assert client.get(run).status == "stuck"

    broken.clear()
    durable.advance(2 * MINUTE)
    assert client.get(run).status == "waiting"


def test_one_without_limits_makes_no_rows(durable):
    durable.run_until_idle()
    run = limited().start()
    worker.drain("default", using="default")

    assert client.get(run).limited is None
    assert not LimitKey.objects.exists()
