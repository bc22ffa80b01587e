"""Limits of steps: whose body may run, who waits, and what becomes of the slots of those that are gone."""

import asyncio
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import InternalError
from django.db.models import QuerySet

from django_durable import Context, Limit, Rate, Retry, client, step, workflow
from django_durable.clock import DatabaseNow
from django_durable.engine import chores, claims, slots, step_limits, worker
from django_durable.engine.tick import tick
from django_durable.exceptions import ConfigurationError, ExecutionFailedError, InvalidOptionError
from django_durable.limits import Wanted
from django_durable.models import LimitKey, Slot, Step, Timer
from tests.authoring import no_op

MINUTE = timedelta(minutes=1)
API = "step/api"


class Holder:
    """A worker that is inside a body of another execution."""

    def __init__(self, wanted: Wanted, run) -> None:
        self.run = run
        self.claim = claims.take(run.id, using="default")
        self.slot = step_limits._take(self.claim, "body", wanted)
        assert self.slot is not None

    def give_back(self) -> None:
        step_limits._give_back(self.claim, self.slot)


@pytest.fixture
def hold(durable):
    """Somebody who runs a body under a limit."""

    @workflow("elsewhere")
    def elsewhere(ctx: Context):
        return ctx.wait_for_signal("never")

    def hold(capacity: int = 1, name: str = API, key: str = "") -> Holder:
        return Holder(Wanted(Limit(capacity), name, key), elsewhere.start())

    return hold


def calling(body, name: str = "flow", **options):
    @workflow(name, **options)
    def flow(ctx: Context, *args):
        return ctx.step("call", body, *args)

    return flow


def limited(limit: Limit | None = None, fn=None, **options):
    """A step of the limit "api" that tells its arguments."""

    def call(*args):
        return list(args)

    return step(limit=limit or Limit(1, name="api"), name="call", **options)(fn or call)


def state(name: str = API) -> dict[str, tuple[int, int]]:
    return {each.key: (each.used, each.waiting) for each in client.limits(name)}


def test_a_body_takes_a_slot_and_gives_it_back(durable):
    seen = []
    flow = calling(limited(fn=lambda: seen.append(state())))

    durable.run(flow.start())

    assert seen == [{"": (1, 0)}]
    assert state() == {"": (0, 0)}
    assert not Slot.objects.exists()


def test_the_slot_is_free_as_soon_as_the_outcome_is_recorded(durable):
    """Before anything else of the execution happens, and not by a tick."""
    body = limited()

    @workflow("flow")
    def flow(ctx):
        ctx.step(body)
        return ctx.step("look", lambda: list(state().values()))

    assert durable.run(flow.start()) == [(0, 0)]


def test_one_that_finds_it_full_parks_and_is_woken_when_a_slot_is_given_back(durable, hold):
    holder = hold()
    run = calling(limited()).start("done")

    durable.run_until_idle()

    found = client.get(run)
    assert (found.status, found.waiting_for) == ("waiting", "a slot of step/api")
    assert (found.timer.due_at, found.timer.token, found.timer.claims) == (None, None, 0)
    assert state() == {"": (1, 1)}
    assert not Step.objects.exists(), "nothing of the step has happened"
    assert durable.run_until_idle() == 0, "it costs nobody anything"
    holder.give_back()
    assert durable.run(run) == ["done"]
    assert not Slot.objects.exists()


def test_those_that_wait_are_served_in_the_order_of_arrival(durable, hold):
    holder, order = hold(), []
    flow = calling(limited(fn=order.append))
    for number in range(4):
        flow.using(priority="high" if number == 3 else "normal").start(number)
        durable.run_until_idle()

    holder.give_back()
    durable.run_until_idle()

    assert order == [3, 0, 1, 2], "a higher priority is first"


def test_a_fair_limit_serves_its_keys_in_turn(durable, hold):
    holder, order = hold(), []
    flow = calling(limited(Limit(1, name="api", fair=lambda tenant: tenant), lambda tenant: order.append(tenant)))
    for tenant in ("busy", "busy", "busy", "calm"):
        flow.start(tenant)
    durable.run_until_idle()

    holder.give_back()
    durable.run_until_idle()

    assert order == ["busy", "calm", "busy", "busy"]


def test_each_key_has_a_limit_of_its_own(durable, hold):
    hold(key="a")
    flow = calling(limited(Limit(1, name="api", key=lambda shop: shop), lambda shop: shop))

    runs = [flow.start("a"), flow.start("b")]
    durable.run_until_idle()

    assert [client.get(run).status for run in runs] == ["waiting", "completed"]
    assert state() == {"a": (1, 1), "b": (0, 0)}


def test_without_a_name_the_limit_is_the_steps(durable, hold):
    hold(name="step/call")
    run = calling(limited(Limit(1))).start()

    durable.run_until_idle()

    assert client.get(run).waiting_for == "a slot of step/call"


def test_a_back_off_holds_no_slot(durable):
    def fails():
        raise ValueError

    retry = Retry(max_attempts=2, initial_seconds=60.0, jitter=0)
    run = calling(limited(fn=fails, retry=retry)).start()

    durable.run_until_idle()

    assert (client.get(run).status, state()) == ("retrying", {"": (0, 0)})


def test_a_retry_queues_anew(durable, hold):
    outcomes = [ValueError("once"), "done"]

    def fails_once():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    run = calling(limited(fn=fails_once, retry=Retry(max_attempts=2, initial_seconds=15.0, jitter=0))).start()
    durable.run_until_idle()
    holder = hold()
    durable.advance(MINUTE / 4)
    assert client.get(run).waiting_for == "a slot of step/api"

    holder.give_back()

    assert durable.run(run) == "done"
    assert Step.objects.get().attempts == 2


@pytest.mark.parametrize("options", [{"atomic": True}, {"at_most_once": True}, {"timeout": 5.0}])
def test_every_kind_of_step_waits_for_its_slot(durable, hold, options):
    holder = hold()
    run = calling(limited(**options)).start("done")
    durable.run_until_idle()
    assert (client.get(run).status, Step.objects.count()) == ("waiting", 0)

    holder.give_back()

    assert durable.run(run) == ["done"]
    assert not Slot.objects.exists()


def test_an_async_body_waits_for_its_slot(durable, hold):
    async def call():
        await asyncio.sleep(0)
        return "done"

    holder = hold()
    run = calling(limited(fn=call)).start()
    durable.run_until_idle()
    assert client.get(run).status == "waiting"

    holder.give_back()

    assert durable.run(run) == "done"


def test_an_async_workflow_goes_on_beside_a_step_that_waits(durable, hold):
    done = []
    body = limited()

    @workflow("flow")
    async def flow(ctx):
        async def beside():
            await ctx.step("beside", done.append, 1)

        called, _ = await asyncio.gather(ctx.step("call", body, "done"), beside())
        return called

    holder = hold()
    run = flow.start()
    durable.run_until_idle()
    assert (client.get(run).status, done) == ("waiting", [1])

    holder.give_back()

    assert durable.run(run) == ["done"]


def test_a_compensation_waits_for_its_slot(durable, hold):
    undone = []
    undo = limited(fn=undone.append)

    @workflow("flow")
    def flow(ctx):
        ctx.step("do", no_op, compensate=undo)
        raise ValueError

    holder = hold()
    run = flow.start()
    durable.run_until_idle()
    found = client.get(run)
    assert (found.status, found.waiting_for, undone) == ("compensating", "a slot of step/api", [])

    holder.give_back()
    durable.run_until_idle()

    assert (client.get(run).status, undone) == ("failed", [None])
    assert not Slot.objects.exists()


def test_two_branches_want_a_slot_each(durable, hold):
    holders = [hold(2), hold(2)]
    body = limited(Limit(2, name="api"))

    @workflow("flow")
    def flow(ctx):
        return ctx.gather(lambda ctx: ctx.step("call", body, 1), lambda ctx: ctx.step("call", body, 2))

    run = flow.start()
    durable.run_until_idle()
    assert state() == {"": (2, 2)}
    assert client.get(run).waiting_for == "a slot of step/api"

    for holder in holders:
        holder.give_back()

    assert durable.run(run) == [[1], [2]]
    assert not Slot.objects.exists()


def test_one_that_waits_can_be_cancelled_and_leaves_the_queue(durable, hold):
    holder = hold()
    flow = calling(limited())
    runs = [flow.start(), flow.start()]
    durable.run_until_idle()

    client.cancel(runs[0])
    durable.run_until_idle()

    assert client.get(runs[0]).status == "cancelled"
    assert state() == {"": (1, 1)}
    holder.give_back()
    assert durable.run(runs[1]) == []


def test_one_that_waits_passes_its_deadline_in_time(durable, hold):
    hold()
    run = calling(limited()).using(timeout=MINUTE / 4).start()
    durable.run_until_idle()

    durable.advance(MINUTE / 4)

    assert client.get(run).status == "timed_out"
    assert state() == {"": (1, 0)}


def test_what_is_continued_takes_no_place_of_a_step_along(durable, hold):
    hold()
    body = limited()

    @workflow("flow")
    def flow(ctx, is_last=False):
        if is_last:
            return ctx.wait_for_signal("go")
        ctx.race({"call": lambda ctx: ctx.step("call", body), "go": lambda ctx: ctx.sleep(MINUTE / 4)})
        ctx.continue_as_new(True)

    run = flow.start()
    durable.run_until_idle()
    assert state() == {"": (1, 1)}

    durable.advance(MINUTE / 4)

    assert client.latest(run).status == "waiting"
    assert state() == {"": (1, 0)}


# -- holders that are gone -----------------------------------------------------------------------------


def test_a_holder_gives_its_slot_back_with_its_lease(durable, hold):
    holder = hold()
    run = calling(limited()).start("done")
    durable.run_until_idle()

    durable.advance(timedelta(seconds=29))
    tick(using="default")
    assert (client.get(run).status, state()) == ("waiting", {"": (1, 1)})
    durable.advance(timedelta(seconds=2))
    tick(using="default")

    assert durable.run(run) == ["done"]
    assert client.get(holder.run).status == "waiting"


def test_whoever_comes_back_too_late_gives_back_nothing(durable, hold):
    """Its slot has gone to another by then."""
    holder = hold()
    Timer.objects.filter(pk=holder.run.id).update(token=None, holder="")
    slots.mend(using="default")
    other = hold()

    holder.give_back()

    assert state() == {"": (1, 0)}
    other.give_back()
    assert state() == {"": (0, 0)}


def test_a_late_body_gives_nothing_back_of_the_next_pass(durable, hold):
    """Which has taken up the slot of its own execution."""
    holder = hold()
    Timer.objects.filter(pk=holder.run.id).update(due_at=durable.clock.now())
    again = claims.take(holder.run.id, using="default")
    assert step_limits._take(again, "body", Wanted(Limit(1), API)) == holder.slot

    holder.give_back()

    assert state() == {"": (1, 0)}


def test_what_was_given_is_kept_until_its_pass_has_looked(durable, hold):
    holder = hold()
    run = calling(limited()).start("done")
    durable.run_until_idle()
    holder.give_back()

    slots.mend(using="default")
    assert state() == {"": (1, 0)}
    claims.take(run.id, using="default")
    slots.mend(using="default")

    assert state() == {"": (1, 0)}


def test_the_next_pass_takes_up_what_a_dead_one_has_left(durable, hold):
    run = calling(limited()).start("done")
    dead = claims.take(run.id, using="default")
    step_limits._take(dead, "call", Wanted(Limit(1), API))
    Timer.objects.filter(pk=run.id).update(token=None, holder="", due_at=durable.clock.now())

    assert durable.run(run) == ["done"]
    assert not Slot.objects.exists()


def test_a_slot_that_nobody_wants_any_more_goes_to_the_next(durable, hold):
    """It was given to a branch that was called off meanwhile."""
    holder = hold()
    body = limited()

    @workflow("flow")
    def flow(ctx):
        ctx.race({"call": lambda ctx: ctx.step("call", body), "go": lambda ctx: ctx.wait_for_signal("go")})
        ctx.wait_for_signal("end")

    first, second = flow.start(), calling(body, "other").start("done")
    durable.run_until_idle()
    durable.signal(first, "go")
    assert state() == {"": (1, 2)}

    holder.give_back()
    durable.run_until_idle()
    tick(using="default")

    assert durable.run(second) == ["done"]
    assert client.get(first).status == "waiting"
    assert state() == {"": (0, 0)}


def test_a_paused_one_does_not_keep_a_slot_that_it_is_given(durable, hold):
    holder = hold()
    flow = calling(limited())
    runs = [flow.start(1), flow.start(2)]
    durable.run_until_idle()
    client.pause(runs[0])

    holder.give_back()
    tick(using="default")
    durable.run_until_idle()

    assert [client.get(run).status for run in runs] == ["paused", "completed"]
    client.resume(runs[0])
    assert durable.run(runs[0]) == [1]


def test_one_that_is_given_a_slot_while_it_asks_does_not_park(durable, hold, monkeypatch):
    """The lost wake-up: the slot comes between its question and its park."""
    holder = hold()
    park = step_limits.park

    def given_meanwhile(matcher, call, wanted):
        holder.give_back()
        monkeypatch.undo()
        return park(matcher, call, wanted)

    monkeypatch.setattr(step_limits, "park", given_meanwhile)
    run = calling(limited()).start("done")

    assert durable.run(run) == ["done"]


# -- what is refused -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "told"),
    [
        (Rate(1, per=1), "a step takes one Limit"),
        (3, "a step takes one Limit"),
        (Limit(1, cancel_in_progress=True), "is for workflows"),
        (Limit(1, while_waiting=False), "is for workflows"),
    ],
)
def test_what_no_step_can_have_is_refused(limit, told):
    with pytest.raises(InvalidOptionError, match=told):
        step(limit=limit)(no_op)


def test_a_key_function_must_fit_the_step():
    with pytest.raises(ConfigurationError, match="asks for shop"):
        step(limit=Limit(1, key=lambda shop: shop))(no_op)


def test_a_key_that_is_none_fails_the_step(durable):
    body = step(name="call", limit=Limit(1, name="api", key=lambda shop: 1.5))(lambda shop: shop)

    with pytest.raises(ExecutionFailedError, match="let it give text"):
        durable.run(calling(body).start(1))
    assert Step.objects.get().status == "failed"
    assert not Slot.objects.exists()


# -- databases that fail -------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["_take", "_give_back"])
def test_a_database_that_fails_at_a_slot_is_no_failure_of_the_workflow(durable, place, monkeypatch):
    """Whatever the database says, and not only that it has gone: there is no code of the user's in it."""

    def fail(*args):
        raise InternalError("the index is broken")

    @workflow("flow")
    def flow(ctx):
        try:
            return ctx.step("call", limited())
        except Exception:
            return "caught"

    run = flow.start()
    with monkeypatch.context() as patched, pytest.raises(InternalError):
        patched.setattr(step_limits, place, fail)
        worker.advance_one(run.id, using="default")

    assert client.get(run).status == "pending"
    Timer.objects.filter(pk=run.id).update(due_at=DatabaseNow())  # its lease has run out
    assert durable.run(run) == []


def test_a_key_that_is_pruned_while_it_is_looked_up_is_made_anew(durable, monkeypatch):
    made = QuerySet.bulk_create

    def make(self, rows, **options):
        monkeypatch.undo()
        return made(self, rows, **options) and LimitKey.objects.all().delete()

    monkeypatch.setattr(QuerySet, "bulk_create", make)

    assert durable.run(calling(limited()).start(1)) == [1]


def test_keys_that_only_steps_use_are_pruned(durable, monkeypatch):
    monkeypatch.setattr(chores, "_next_look", {})
    durable.run(calling(limited(Limit(1, name="api", key=lambda shop: shop), lambda shop: shop)).start("a"))
    assert LimitKey.objects.exists()

    monkeypatch.setattr(chores, "connections", {"default": SimpleNamespace(in_atomic_block=False)})
    chores.do_due(using="default")

    assert not LimitKey.objects.exists()
