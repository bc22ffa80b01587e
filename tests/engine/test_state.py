"""The state of an execution: what a place in the code sees is the same in every run."""

from datetime import timedelta
from decimal import Decimal

import pytest

from django_durable import Cancelled, CodecError, client, step, workflow
from django_durable.exceptions import InvalidOptionError
from django_durable.models import Kind, Step
from tests.authoring import Deployed, Killed, no_op


def kinds(execution):
    return list(Step.objects.filter(execution_id=execution.id).order_by("position").values_list("kind", "name"))


@pytest.fixture
def seen():
    """What a workflow saw, by the place at which it looked, over all its runs."""

    class Seen(dict):
        def look(self, ctx, place):
            self.setdefault(place, []).append(dict(ctx.state))

        def agrees(self):
            return all(each == looks[0] for looks in self.values() for each in looks)

    return Seen()


# -- set, replace, read --------------------------------------------------------------------------------


def test_it_is_a_mapping_that_is_empty_at_first(durable):
    @workflow("flow")
    def flow(ctx):
        assert dict(ctx.state) == {}
        ctx.state.set(phase="one", price=Decimal("1.50"))
        ctx.state.set(phase="two")
        assert ctx.state["phase"] == "two"
        assert ctx.state.get("nothing", 7) == 7
        assert ("price" in ctx.state, len(ctx.state), sorted(ctx.state)) == (True, 2, ["phase", "price"])
        with pytest.raises(KeyError):
            ctx.state["nothing"]
        ctx.state.replace({"only this": (1, 2)})
        return dict(ctx.state)

    assert durable.run(flow.start()) == {"only this": (1, 2)}


def test_what_is_read_is_a_copy(durable):
    @workflow("flow")
    def flow(ctx):
        given = ["apple"]
        ctx.state.set(basket=given)
        given.append("pear")
        ctx.state["basket"].append("plum")
        dict(ctx.state)["basket"].append("fig")
        return ctx.state["basket"]

    assert durable.run(flow.start()) == ["apple"]


def test_a_name_may_be_any_word_that_the_call_itself_uses(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.state.set(self=1, values=2, changes=3)
        return dict(ctx.state)

    assert durable.run(flow.start()) == {"self": 1, "values": 2, "changes": 3}


def test_replays_see_at_each_place_what_the_first_run_saw(durable, seen):
    @workflow("flow")
    def flow(ctx):
        seen.look(ctx, "before")
        ctx.state.set(count=0)
        for number in range(3):
            seen.look(ctx, number)
            ctx.state.set(count=number + 1, seen=[*ctx.state.get("seen", []), number])
            ctx.wait_for_signal("go")
        seen.look(ctx, "after")
        return dict(ctx.state)

    execution = flow.start()
    durable.run_until_idle()
    for _ in range(3):
        durable.signal(execution, "go")
    assert client.result(execution) == {"count": 3, "seen": [0, 1, 2]}
    assert len(seen["before"]) == 4
    assert seen.agrees()


def test_a_change_is_recorded_with_what_follows_also_at_a_park_and_at_the_end(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.state.set(phase="before the step")
        ctx.step(no_op)
        ctx.state.set(phase="before the wait")
        ctx.wait_for_signal("go")
        ctx.state.set(phase="at the end")

    execution = flow.start()
    durable.run_until_idle()
    assert kinds(execution) == [
        ("state", "state"),
        ("step", "no_op"),
        ("state", "state#2"),
        ("wait", "signal:go"),
    ]
    durable.signal(execution, "go")
    assert kinds(execution)[-1] == ("state", "state#3")


def test_a_change_that_was_not_recorded_is_made_again(durable):
    deaths = [Killed()]

    @step
    def fragile():
        if deaths:
            raise deaths.pop()

    @workflow("flow")
    def flow(ctx):
        ctx.state.set(phase="one")
        ctx.step(fragile)
        return dict(ctx.state)

    execution = flow.start()
    with pytest.raises(Killed):
        durable.run_until_idle()
    assert kinds(execution) == []
    durable.advance(timedelta(minutes=5))
    assert client.result(execution) == {"phase": "one"}


@pytest.mark.parametrize(
    ("change", "error", "told"),
    [
        (lambda ctx: ctx.state.set(bad=object()), CodecError, "bad"),
        (lambda ctx: ctx.state.replace({1: "one"}), CodecError, "set"),
        (lambda ctx: ctx.state.replace([1]), InvalidOptionError, "give a mapping"),
        (lambda ctx: ctx.wait_until("approved"), InvalidOptionError, "function of the state"),
        (lambda ctx: ctx.wait_until(lambda state: True, timeout=-1), InvalidOptionError, "timeout"),
    ],
)
def test_a_change_that_is_refused_changes_nothing_and_can_be_caught(durable, change, error, told):
    @workflow("flow")
    def flow(ctx):
        ctx.state.set(phase="one")
        with pytest.raises(error, match=told):
            change(ctx)
        ctx.wait_for_signal("go")
        return dict(ctx.state)

    execution = flow.start()
    durable.run_until_idle()
    assert [kind for kind, _ in kinds(execution)] == ["state", "wait"]
    durable.signal(execution, "go")
    assert client.result(execution) == {"phase": "one"}


def test_a_cancellation_is_delivered_at_a_change(durable):
    def body():
        client.cancel(execution)

    @workflow("flow")
    def flow(ctx):
        ctx.step("cancel", body)
        try:
            ctx.state.set(phase="never")
        except Cancelled:
            ctx.state.set(phase="cleaning up")
            raise

    execution = flow.start()
    durable.run_until_idle()
    assert durable.inspect(execution).status == "cancelled"
    assert [each.status for each in durable.inspect(execution).history] == ["completed", "cancelled", "completed"]


def test_other_values_of_todays_code_do_not_matter_other_calls_do(durable):
    def first(ctx):
        ctx.state.set(phase="old")
        ctx.wait_for_signal("go")
        return dict(ctx.state)

    def second(ctx):
        ctx.state.set(phase="new", more=1)
        ctx.wait_for_signal("go")
        return dict(ctx.state)

    deployed = Deployed("flow", first)
    one, other = deployed.workflow.start(), deployed.workflow.start()
    durable.run_until_idle()
    deployed.code = second
    durable.signal(one, "go")
    assert client.result(one) == {"phase": "old"}
    deployed.code = lambda ctx: ctx.wait_for_signal("go")
    durable.signal(other, "go")
    assert durable.inspect(other).stuck_reason == "nondeterminism"


def test_a_saga_does_not_undo_it(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.step("car", no_op, compensate=no_op)
        ctx.state.set(booked=True)
        ctx.rollback()
        return dict(ctx.state)

    assert durable.run(flow.start()) == {"booked": True}


# -- branches ------------------------------------------------------------------------------------------


def test_a_branch_sees_what_was_there_and_its_own_changes(durable, seen):
    @workflow("flow")
    def flow(ctx):
        ctx.state.set(common=0)

        def branch(name):
            def run(ctx):
                seen.look(ctx, f"{name} enters")
                ctx.state.set(**{name: 1, "common": name})
                seen.look(ctx, f"{name} changed")
                ctx.wait_for_signal(f"go {name}".replace(" ", "-"))
                seen.look(ctx, f"{name} woke")
                ctx.state.set(**{name: 2, "last": name})
                seen.look(ctx, f"{name} ends")

            return run

        ctx.parallel({"left": branch("left"), "right": branch("right")})
        seen.look(ctx, "after")
        ctx.wait_for_signal("end")
        return dict(ctx.state)

    execution = flow.start()
    for name in ("go-right", "go-left", "end"):
        durable.run_until_idle()
        durable.signal(execution, name)
    assert client.result(execution) == {"common": "right", "left": 2, "right": 2, "last": "left"}
    assert seen["left enters"][0] == {"common": 0}
    assert seen["right enters"][0] == {"common": 0}
    assert seen["right ends"][0] == {"common": "right", "right": 2, "last": "right"}
    assert seen["left ends"][0] == {"common": "left", "left": 2, "last": "left"}
    assert len(seen["left enters"]) >= 3
    assert seen.agrees()


def test_after_a_part_the_change_that_was_recorded_last_counts(durable):
    @workflow("flow")
    def flow(ctx):
        def branch(name):
            def run(ctx):
                ctx.wait_for_signal(name)
                ctx.state.set(last=name)
                ctx.step(no_op)

            return run

        ctx.parallel({name: branch(name) for name in ("one", "two")})
        return ctx.state["last"]

    for order in (("one", "two"), ("two", "one")):
        execution = flow.start()
        for name in order:
            durable.run_until_idle()
            durable.signal(execution, name)
        assert client.result(execution) == order[-1]


def test_parts_inside_of_branches_begin_with_what_the_branch_sees(durable, seen):
    @workflow("flow")
    def flow(ctx):
        ctx.state.set(root=1)

        def inner(name):
            def run(ctx):
                seen.look(ctx, f"inner {name}")
                ctx.state.set(**{name: 1})
                ctx.wait_for_signal(name)
                seen.look(ctx, f"inner {name} woke")

            return run

        def outer(ctx):
            ctx.state.set(outer=1)
            ctx.parallel({"a": inner("a"), "b": inner("b")})
            seen.look(ctx, "outer after")
            return ctx.switch("way", 1, {}, default=lambda ctx: (ctx.state.set(switched=1), dict(ctx.state))[1])

        def beside(ctx):
            ctx.state.set(beside=1)
            ctx.wait_for_signal("c")
            seen.look(ctx, "beside")

        return ctx.parallel({"outer": outer, "beside": beside})["outer"], dict(ctx.state)

    execution = flow.start()
    durable.run_until_idle()
    for name in ("c", "b", "a"):
        durable.signal(execution, name)
    inside, after = client.result(execution)
    assert inside == {"root": 1, "outer": 1, "a": 1, "b": 1, "switched": 1}
    assert after == {"root": 1, "outer": 1, "a": 1, "b": 1, "switched": 1, "beside": 1}
    assert seen["inner a"][0] == seen["inner b"][0] == {"root": 1, "outer": 1}
    assert seen["inner b woke"][0] == {"root": 1, "outer": 1, "b": 1}
    assert seen["beside"][0] == {"root": 1, "beside": 1}
    assert seen.agrees()


def test_what_the_loser_of_a_race_changed_stays(durable, seen):
    @workflow("flow")
    def flow(ctx):
        def loser(ctx):
            ctx.state.set(loser="ran")
            try:
                ctx.wait_for_signal("never")
            except Cancelled:
                seen.look(ctx, "loser")
                ctx.state.set(loser="called off")
                raise

        def winner(ctx):
            ctx.wait_for_signal("go")
            seen.look(ctx, "winner")
            return "won"

        ctx.race({"loser": loser, "winner": winner})
        seen.look(ctx, "after")
        ctx.wait_for_signal("end")
        return dict(ctx.state)

    execution = flow.start()
    durable.run_until_idle()
    durable.signal(execution, "go")
    durable.signal(execution, "end")
    assert client.result(execution) == {"loser": "called off"}
    assert (seen["winner"][0], seen["loser"][0]) == ({}, {"loser": "ran"})
    assert seen.agrees()


@pytest.mark.parametrize("read", [lambda ctx: ctx.state.get("x"), lambda ctx: ctx.state.set(x=1)])
def test_the_context_outside_of_a_branch_is_refused_there(durable, read):
    @workflow("flow")
    def flow(outer):
        with pytest.raises(InvalidOptionError, match="must use the context that it is given"):
            outer.parallel({"only": lambda ctx: read(outer)})

    durable.run(flow.start())


def test_it_cannot_be_read_in_a_step_body(durable):
    @workflow("flow")
    def flow(ctx):
        def body():
            with pytest.raises(InvalidOptionError, match="inside the body of step"):
                ctx.state.get("x")

        ctx.step("read", body)

    durable.run(flow.start())


# -- wait_until ----------------------------------------------------------------------------------------


def test_a_condition_that_holds_already_does_not_wait(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.state.set(done=True)
        return ctx.wait_until(lambda state: state["done"])

    execution = flow.start()
    assert durable.run(execution) is True
    assert [kind for kind, _ in kinds(execution)] == ["state", "until"]


def test_a_wait_for_a_condition_may_have_a_name(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.wait_until(lambda state: True, id="approved")

    execution = flow.start()
    assert durable.run(execution) is True
    assert kinds(execution) == [("until", "approved")]


def test_a_condition_that_does_not_hold_in_time_gives_false_in_every_run(durable):
    @workflow("flow")
    def flow(ctx):
        answer = ctx.wait_until(lambda state: state.get("done"), timeout=60)
        ctx.wait_for_signal("go")
        return answer

    execution = flow.start()
    durable.run_until_idle()
    found = durable.inspect(execution)
    assert (found.status, found.waiting_for) == ("waiting", "a condition on the state")
    assert found.timer.due_at == durable.clock.now() + timedelta(seconds=60)
    durable.advance(timedelta(seconds=60))
    durable.signal(execution, "go")
    assert client.result(execution) is False


def test_a_branch_waits_for_what_another_one_changes_before_or_after_it(durable, seen):
    @workflow("flow")
    def flow(ctx):
        def waiting(ctx):
            seen.look(ctx, "before")
            ctx.wait_until(lambda state: state.get("count", 0) >= 2)
            seen.look(ctx, "behind")

        def counting(ctx):
            ctx.state.set(count=1)
            ctx.sleep(60)
            ctx.state.set(count=2)
            ctx.wait_for_signal("end")

        ctx.parallel({"first": waiting, "counting": counting, "last": waiting})
        return dict(ctx.state)

    execution = flow.start()
    durable.run_until_idle()
    durable.advance(timedelta(seconds=60))
    history = {each.step_id: each.status for each in durable.inspect(execution).history if each.kind == Kind.UNTIL}
    assert history == {"parallel/first/until": "completed", "parallel/last/until": "completed"}
    durable.signal(execution, "end")
    assert client.result(execution) == {"count": 2}
    assert seen["behind"][0] == {"count": 2}
    assert seen["before"][0] == {}
    assert seen.agrees()


def test_behind_a_wait_a_branch_sees_what_the_condition_saw_and_nothing_later(durable, seen):
    @workflow("flow")
    def flow(ctx):
        def waiting(ctx):
            ctx.state.set(own=1)
            ctx.wait_until(lambda state: state.get("count", 0) >= 1)
            seen.look(ctx, "behind")
            ctx.state.set(own=2)
            ctx.wait_for_signal("end")
            seen.look(ctx, "end")

        def counting(ctx):
            ctx.sleep(1)
            ctx.state.set(count=1)
            ctx.sleep(60)
            ctx.state.set(count=2, own="theirs")
            ctx.sleep(60)

        ctx.parallel({"waiting": waiting, "counting": counting})
        return dict(ctx.state)

    execution = flow.start()
    durable.advance(timedelta(seconds=121))
    durable.signal(execution, "end")
    assert client.result(execution) == {"own": "theirs", "count": 2}
    assert seen["behind"][0] == {"own": 1, "count": 1}
    assert seen["end"][0] == {"own": 2, "count": 1}
    assert seen.agrees()


def test_a_condition_that_raises_is_the_workflows_error_in_every_run(durable):
    asked = []

    @workflow("flow")
    def flow(ctx):
        def condition(state):
            asked.append(1)
            return state["missing"]

        try:
            ctx.wait_until(condition)
        except InvalidOptionError as error:
            ctx.wait_for_signal("go")
            return str(error)

    execution = flow.start()
    durable.run_until_idle()
    durable.signal(execution, "go")
    assert client.result(execution) == (
        "wait_until: the condition raised KeyError('missing') for the state {}. Mend it."
    )
    assert len(asked) == 1


def test_a_condition_that_uses_the_context_is_refused(durable):
    @workflow("flow")
    def flow(ctx):
        with pytest.raises(InvalidOptionError, match="has its argument and uses no context"):
            ctx.wait_until(lambda _: ctx.state.get("x"))
        with pytest.raises(InvalidOptionError, match="has its argument and uses no context"):
            ctx.wait_until(lambda _: ctx.step(no_op))

    durable.run(flow.start())


def test_a_condition_cannot_change_the_state(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.state.set(basket=[1])
        ctx.wait_until(lambda state: state["basket"].append(2) or True)
        return dict(ctx.state)

    assert durable.run(flow.start()) == {"basket": [1]}


def test_a_wait_for_a_condition_is_cancelled_and_passes_its_deadline(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.wait_until(lambda state: False)

    cancelled, late = flow.start(), flow.using(timeout=60).start()
    durable.run_until_idle()
    client.cancel(cancelled)
    durable.advance(timedelta(seconds=60))
    assert [durable.inspect(each).status for each in (cancelled, late)] == ["cancelled", "timed_out"]


# -- queries -------------------------------------------------------------------------------------------


@pytest.fixture
def counted():
    @workflow("counted")
    def flow(ctx):
        for number in range(2):
            ctx.state.set(count=number)
            ctx.wait_for_signal("go")
        ctx.state.set(count="done")

    @flow.query("progress")
    def progress(state):
        return f"{state.get('count', 'not begun')}"

    return flow


def test_a_query_reads_the_state_before_during_and_after(durable, counted):
    execution = counted.start()
    answers = [client.query(execution, "progress")]
    durable.run_until_idle()
    for _ in range(2):
        answers.append(client.query(execution, "progress"))
        durable.signal(execution, "go")
    answers.append(client.query(execution.id, "progress"))
    assert answers == ["not begun", "0", "1", "done"]


def test_a_query_is_two_selects_and_writes_nothing(durable, counted, django_assert_num_queries):
    execution = counted.start()
    durable.run_until_idle()
    with django_assert_num_queries(2) as log:
        client.query(execution, "progress")
    assert all(query["sql"].startswith("SELECT") for query in log)


def test_an_unknown_query_names_the_known_ones(durable, counted):
    execution = counted.start()
    with pytest.raises(InvalidOptionError, match="'counted' version 1 has no query 'nothing'; it has: 'progress'"):
        client.query(execution, "nothing")


def test_what_a_query_raises_is_the_callers(durable, counted):
    @counted.query("broken")
    def broken(state):
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        client.query(counted.start(), "broken")
