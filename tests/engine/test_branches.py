"""switch, parallel, gather and map: branches with a history of their own, entered again at every replay."""

from datetime import timedelta

import pytest

from django_durable import Cancelled, Case, Retry, Settled, client, step, workflow
from django_durable.exceptions import ExecutionCancelledError, ExecutionFailedError, InvalidOptionError
from django_durable.models import Execution, Kind, Step, StepStatus, StuckReason
from tests.authoring import Deployed, no_op

HOUR = timedelta(hours=1)


@pytest.fixture
def done():
    """What the bodies did, in order."""
    return []


@pytest.fixture
def do(done):
    """Run a step: ``do(ctx, "pack")``; with undo=True one that can be undone."""

    def do(ctx, what, *, undo=False):
        compensate = (lambda result: done.append(f"undo {result}")) if undo else None
        return ctx.step(what.replace(" ", "-"), lambda: done.append(what) or what, compensate=compensate)

    return do


def names(execution):
    return [step.name for step in Step.objects.history(execution.id)]


def run_for(durable, hours):
    durable.run_until_idle()
    for _ in range(hours):
        durable.advance(HOUR)
        durable.run_until_idle()


# -- switch --------------------------------------------------------------------------------------------


def test_a_switch_takes_the_branch_of_the_value(durable, do):
    @workflow("flow")
    def flow(ctx, how):
        return ctx.switch("pay", how, {"card": lambda ctx: do(ctx, "charge"), "invoice": lambda ctx: do(ctx, "send")})

    run = flow.start("invoice")
    assert durable.run(run) == "send"
    assert names(run) == ["pay", "pay/invoice/send"]


def test_cases_match_in_order_and_default_takes_the_rest(durable):
    @workflow("flow")
    def flow(ctx, amount):
        cases = [
            Case("large", lambda amount: amount > 100, lambda ctx: "large"),
            Case("medium", lambda amount: amount > 10, lambda ctx: "medium"),
        ]
        return ctx.switch("size", amount, cases, default=lambda ctx: "small")

    assert [durable.run(flow.start(amount)) for amount in (1000, 50, 1)] == ["large", "medium", "small"]


def test_no_match_and_no_default_is_a_clear_failure(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.switch("pay", "cheque", {"card": no_op, "invoice": no_op})

    with pytest.raises(
        ExecutionFailedError, match="switch 'pay': no case matches 'cheque'; there are 'card', 'invoice'"
    ):
        durable.run(flow.start())


def test_that_no_case_matched_is_recorded_too(durable, do, done):
    @workflow("flow")
    def flow(ctx):
        try:
            ctx.switch("pay", "cheque", {"card": no_op})
        except InvalidOptionError as error:
            do(ctx, "complain")
            ctx.sleep(HOUR)
            return [str(error), ctx.switch("pay", "card", {"card": lambda ctx: "paid"})]

    execution = flow.start()
    run_for(durable, 1)

    assert client.result(execution) == [
        "switch 'pay': no case matches 'cheque'; there are 'card'. Add one, or default=.",
        "paid",
    ]
    assert done == ["complain"]


def test_a_branch_that_waits_is_entered_again_and_nothing_is_matched_anew(durable, do):
    asked = []

    @workflow("flow")
    def flow(ctx):
        def fast(value):
            asked.append(value)
            return len(asked) == 1  # the second time it would choose otherwise

        def one(ctx):
            do(ctx, "before")
            ctx.sleep(HOUR)
            return do(ctx, "after")

        return ctx.switch("way", 7, [Case("one", fast, one)], default=lambda ctx: "other")

    run = flow.start()
    run_for(durable, 1)
    assert client.result(run) == "after"
    assert asked == [7]
    assert names(run) == ["way", "way/one/before", "way/one/sleep", "way/one/after"]


def test_compensations_of_a_finished_branch_survive_replays(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        do(ctx, "outside", undo=True)
        ctx.switch("way", "a", {"a": lambda ctx: do(ctx, "inside", undo=True)})
        ctx.sleep(HOUR)
        raise ValueError("too late")

    flow.start()
    run_for(durable, 1)
    assert done == ["outside", "inside", "undo inside", "undo outside"]


def test_a_recorded_branch_that_the_code_has_no_more_is_set_aside(durable, do):
    def first(ctx):
        ctx.switch("way", "a", {"a": lambda ctx: ctx.sleep(HOUR)})

    def second(ctx):
        ctx.switch("way", "a", {"b": pytest.fail})

    deployed = Deployed("flow", first)
    run = deployed.workflow.start()
    durable.run_until_idle()
    deployed.code = second
    run_for(durable, 1)
    row = Execution.objects.get(pk=run.id)
    assert row.stuck_reason == StuckReason.NONDETERMINISM
    assert "switch 'way' with branch 'a'" in client.inspect(run).error
    deployed.code = first
    run_for(durable, 1)
    assert Execution.objects.get(pk=run.id).status == "completed"


# -- parallel ------------------------------------------------------------------------------------------


def test_branches_run_and_give_their_values_by_name(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        return ctx.parallel({"left": lambda ctx: do(ctx, "same"), "right": lambda ctx: do(ctx, "same")})

    run = flow.start()
    assert durable.run(run) == {"left": "same", "right": "same"}
    assert names(run) == ["parallel", "parallel/left/same", "parallel/right/same"]
    assert done == ["same", "same"]


def test_a_branch_that_waits_holds_up_no_other(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        def slow(ctx):
            ctx.sleep(2 * HOUR)
            return do(ctx, "slow")

        def signalled(ctx):
            answer = ctx.wait_for_signal("go")
            return do(ctx, answer)

        return ctx.parallel({"slow": slow, "signalled": signalled, "fast": lambda ctx: do(ctx, "fast")})

    run = flow.start()
    durable.run_until_idle()
    assert done == ["fast"]
    row = Execution.objects.get(pk=run.id)
    assert (row.status, row.waiting_for) == ("waiting", "timer; signal go")
    durable.signal(run, "go", "signalled")
    durable.run_until_idle()
    assert done == ["fast", "signalled"]
    run_for(durable, 2)
    assert client.result(run) == {"slow": "slow", "signalled": "signalled", "fast": "fast"}
    assert sorted(step.position for step in Step.objects.history(run.id)) == list(range(6))


def test_each_branch_sleeps_its_own_time(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        def after(hours):
            def branch(ctx):
                ctx.sleep(hours * HOUR)
                return do(ctx, f"{hours} h")

            return branch

        return ctx.gather(after(3), after(1), after(2))

    run = flow.start()
    run_for(durable, 1)
    assert done == ["1 h"]
    run_for(durable, 2)
    assert done == ["1 h", "2 h", "3 h"]
    assert client.result(run) == ["3 h", "1 h", "2 h"]


def test_parts_are_named_by_the_caller_or_numbered(durable):
    @workflow("flow")
    def flow(ctx):
        def one(ctx):
            ctx.step("one", no_op)

        ctx.gather("mine", one)
        ctx.map("each", lambda ctx, item: one(ctx), [0])
        ctx.parallel("both", {"a": one})
        ctx.gather(one)
        ctx.gather(one)

    run = flow.start()
    durable.run(run)
    parts = [name for name in names(run) if "/" not in name]
    assert parts == ["mine", "each", "both", "gather", "gather#2"]


def test_parts_nest(durable, do):
    @workflow("flow")
    def flow(ctx):
        def outer(ctx):
            return ctx.parallel({"x": lambda ctx: do(ctx, "step"), "y": lambda ctx: ctx.sleep(HOUR)})

        return ctx.parallel({"a": outer, "b": outer})

    run = flow.start()
    run_for(durable, 1)
    assert client.result(run) == {"a": {"x": "step", "y": None}, "b": {"x": "step", "y": None}}
    assert "parallel/b/parallel/x/step" in names(run)


def test_retries_of_a_branch_let_the_others_go_on(durable, done, do):
    attempts = []

    def flaky():
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("not yet")
        return "at last"

    body = step(name="flaky", retry=Retry(max_attempts=3, initial_seconds=60, multiplier=1, jitter=0))(flaky)

    @workflow("flow")
    def flow(ctx):
        return ctx.parallel({"flaky": lambda ctx: ctx.step(body), "other": lambda ctx: do(ctx, "other")})

    run = flow.start()
    durable.run_until_idle()
    assert done == ["other"]
    run_for(durable, 2)
    assert client.result(run) == {"flaky": "at last", "other": "other"}


# -- a branch that fails -------------------------------------------------------------------------------


def failing(ctx):
    ctx.sleep(HOUR)
    raise ValueError("left failed")


def test_the_first_failure_calls_off_the_others_and_undoes_what_all_have_done(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        do(ctx, "before", undo=True)

        def waiting(ctx):
            do(ctx, "reserved", undo=True)
            try:
                ctx.wait_for_signal("never")
            except Cancelled:
                do(ctx, "cleaned up")
                raise

        try:
            ctx.parallel({"waiting": waiting, "failing": failing})
        except ValueError as error:
            return f"{error}, {do(ctx, 'another way')}"

    run = flow.start()
    run_for(durable, 1)
    assert client.result(run) == "left failed, another way"
    assert done == ["before", "reserved", "cleaned up", "undo reserved", "another way"]
    assert "rollback:parallel>waiting>reserved" in names(run)


def test_what_was_undone_in_a_part_is_not_undone_again_when_the_workflow_fails(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        do(ctx, "before", undo=True)
        ctx.parallel({"a": lambda ctx: do(ctx, "a", undo=True), "failing": failing})

    run = flow.start()
    run_for(durable, 1)
    with pytest.raises(ExecutionFailedError, match="left failed"):
        client.result(run)
    assert done == ["before", "a", "undo a", "undo before"]


def test_a_branch_that_has_not_begun_is_not_begun_after_a_failure(durable, done, do):
    def fails_at_once(ctx):
        raise ValueError("at once")

    @workflow("flow")
    def flow(ctx):
        ctx.parallel({"fails": fails_at_once, "later": lambda ctx: do(ctx, "later")})

    with pytest.raises(ExecutionFailedError, match="at once"):
        durable.run(flow.start())
    assert done == []


def test_a_clean_up_that_fails_does_not_hide_what_went_wrong(durable, do):
    @workflow("flow")
    def flow(ctx):
        def waiting(ctx):
            try:
                ctx.wait_for_signal("go")
            except Cancelled:
                do(ctx, "tidy")
                raise KeyError("no broom") from None

        def failing(ctx):
            raise ValueError("no flight")

        try:
            ctx.parallel({"waiting": waiting, "failing": failing})
        except ValueError as error:
            ctx.sleep(HOUR)
            return str(error)

    run = flow.start()
    run_for(durable, 1)
    assert durable.run(run) == "no flight"


def test_a_branch_may_wait_while_it_cleans_up(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        def waiting(ctx):
            try:
                ctx.wait_for_signal("never")
            except Cancelled:
                ctx.sleep(HOUR)
                do(ctx, "cleaned up")
                raise

        ctx.parallel({"waiting": waiting, "failing": failing})

    run = flow.start()
    run_for(durable, 1)
    assert done == []
    run_for(durable, 1)
    assert done == ["cleaned up"]
    with pytest.raises(ExecutionFailedError, match="left failed"):
        client.result(run)


def test_a_failure_calls_off_the_branches_of_a_clean_up_too(durable, done, do):
    """What has interrupted the workflow does not interrupt its clean-up again; a branch beside that fails does."""

    @workflow("flow")
    def flow(ctx):
        def waiting(ctx):
            try:
                ctx.wait_for_signal("never")
            except Cancelled:
                do(ctx, "called off")
                raise

        try:
            ctx.sleep(HOUR)
        except Cancelled:
            ctx.parallel({"waiting": waiting, "failing": failing})

    run = flow.start()
    durable.run_until_idle()
    client.cancel(run)
    run_for(durable, 1)
    with pytest.raises(ExecutionFailedError, match="left failed"):
        client.result(run)
    assert done == ["called off"]


def clumsy(ctx):
    try:
        ctx.wait_for_signal("never")
    except Cancelled:
        raise LookupError("cleaning up failed") from None


def test_the_first_failure_is_raised_and_not_what_it_led_to(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.parallel({"clumsy": clumsy, "failing": failing})

    run = flow.start()
    run_for(durable, 1)
    with pytest.raises(ExecutionFailedError, match="left failed"):
        client.result(run)


def test_a_nested_part_that_cleans_up_badly_does_not_hide_the_first_failure(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.parallel({"nested": lambda ctx: ctx.gather(clumsy), "failing": failing})

    run = flow.start()
    run_for(durable, 1)
    with pytest.raises(ExecutionFailedError, match="left failed"):
        client.result(run)


def test_a_cancellation_ends_it_as_cancelled_also_if_a_branch_cleans_up_badly(durable):
    @workflow("flow")
    def flow(ctx):
        try:
            ctx.gather(clumsy, clumsy)
        except LookupError:
            return "caught"

    run = flow.start()
    durable.run_until_idle()
    client.cancel(run)
    durable.run_until_idle()
    assert Execution.objects.get(pk=run.id).status == "cancelled"


def test_a_failure_that_called_off_the_others_does_not_count_as_a_cancellation(durable):
    @workflow("flow")
    def flow(ctx):
        try:
            ctx.parallel({"waiting": lambda ctx: ctx.wait_for_signal("never"), "failing": failing})
        except ValueError:
            return "caught"

    run = flow.start()
    run_for(durable, 1)
    assert client.result(run) == "caught"


def test_a_finally_of_a_branch_has_its_turn_when_the_waiting_is_over(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        def waiting(ctx):
            do(ctx, "reserved", undo=True)
            try:
                ctx.sleep(HOUR)
            finally:
                ctx.rollback()
                do(ctx, "cleaned up")

        ctx.gather(waiting, lambda ctx: ctx.sleep(2 * HOUR))

    run = flow.start()
    durable.run_until_idle()
    assert done == ["reserved"]
    run_for(durable, 2)
    assert done == ["reserved", "undo reserved", "cleaned up"]
    assert Execution.objects.get(pk=run.id).status == "completed"


def test_settle_waits_for_all_and_tells_how_each_ended(durable, do):
    @workflow("flow")
    def flow(ctx):
        ended = ctx.parallel({"failing": failing, "good": lambda ctx: do(ctx, "good")}, settle=True)
        assert all(isinstance(each, Settled) for each in ended.values())
        return {name: each.value if each.is_ok else str(each.error) for name, each in ended.items()}

    run = flow.start()
    run_for(durable, 1)
    assert client.result(run) == {"failing": "left failed", "good": "good"}


def test_a_cancellation_reaches_every_branch_that_waits(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        def waiting(name):
            def branch(ctx):
                do(ctx, name, undo=True)
                try:
                    ctx.wait_for_signal("never")
                except Cancelled:
                    do(ctx, f"clean {name}")
                    raise

            return branch

        ctx.parallel({"a": waiting("a"), "b": waiting("b")})

    run = flow.start()
    durable.run_until_idle()
    client.cancel(run)
    with pytest.raises(ExecutionCancelledError):
        durable.run(run)
    assert done == ["a", "b", "clean a", "clean b", "undo b", "undo a"]


def test_a_cancellation_that_every_branch_catches_still_ends_it_as_cancelled(durable):
    @workflow("flow")
    def flow(ctx):
        def waiting(ctx):
            try:
                ctx.wait_for_signal("never")
            except Cancelled:
                return "caught"

        return ctx.gather(waiting, waiting)

    run = flow.start()
    durable.run_until_idle()
    client.cancel(run)
    durable.run_until_idle()
    assert Execution.objects.get(pk=run.id).status == "cancelled"


def test_steps_are_undone_in_the_reverse_order_of_their_completion_across_branches(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        def branch(name, hours):
            def run(ctx):
                ctx.sleep(hours * HOUR)
                do(ctx, name, undo=True)

            return run

        ctx.gather(branch("third", 3), branch("first", 1), branch("second", 2))
        raise ValueError("after all")

    flow.start()
    run_for(durable, 3)
    assert done == ["first", "second", "third", "undo third", "undo second", "undo first"]


def late(step_id):
    """Record a completion as a claim does whose clock runs ahead of the next one's."""
    row = Step.objects.get(name__endswith=step_id)
    Step.objects.filter(pk=row.pk).update(finished_at=row.finished_at + 2 * HOUR)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda ctx, first: first(ctx),
        lambda ctx, first: ctx.gather(first),
        lambda ctx, first: ctx.switch("way", "a", {"a": first}),
        lambda ctx, first: ctx.race({"a": first}),
    ],
)
def test_what_comes_later_in_the_code_is_undone_first_whatever_the_clocks_say(durable, done, do, wrap):
    @workflow("flow")
    def flow(ctx):
        wrap(ctx, lambda ctx: do(ctx, "first", undo=True))
        ctx.sleep(HOUR)
        ctx.gather(lambda ctx: do(ctx, "second", undo=True))
        raise ValueError("after all")

    flow.start()
    durable.run_until_idle()
    late("first")
    run_for(durable, 1)
    assert done == ["first", "second", "undo second", "undo first"]


# -- all branches are compared before one of them goes on ---------------------------------------------


@pytest.mark.parametrize("part", ["parallel", "race"])
@pytest.mark.parametrize("way_on", ["step", "sleep", "signal", "now", "cancel"])
def test_a_later_branch_that_does_not_fit_keeps_an_earlier_one_from_going_on(durable, do, done, part, way_on):
    names = ["r"]

    def code(ctx):
        def left(ctx):
            if way_on in ("step", "now", "cancel"):
                ctx.wait_for_signal("go")
            if way_on == "now":
                ctx.now()
            elif way_on == "signal":
                ctx.wait_for_signal("go")
            elif way_on == "sleep":
                ctx.sleep(HOUR)
            do(ctx, "l")

        def right(ctx):
            do(ctx, names[0])
            ctx.sleep(5 * HOUR)

        getattr(ctx, part)("both", {"left": left, "right": right})

    deployed = Deployed("flow", code)
    execution = deployed.workflow.start()
    durable.run_until_idle()
    before = list(Step.objects.order_by("position").values())

    names[0] = "changed"
    if way_on == "cancel":
        client.cancel(execution)
    else:
        client.signal(execution, "go")
    run_for(durable, 1)

    assert client.get(execution).stuck_reason == StuckReason.NONDETERMINISM
    assert "step 'both/right/changed'" in client.inspect(execution).error
    assert done == ["r"]
    assert list(Step.objects.order_by("position").values()) == before

    names[0] = "r"
    run_for(durable, 6)
    assert client.get(execution).is_closed
    assert done == (["r"] if way_on == "cancel" else ["r", "l"])


def test_what_has_no_branches_is_replayed_once_in_a_pass(durable, do):
    replayed = []

    @workflow("flow")
    def flow(ctx):
        replayed.append(1)
        do(ctx, "a")
        ctx.sleep(HOUR)
        do(ctx, "b")

    flow.start()
    run_for(durable, 2)
    assert len(replayed) == 2


# -- race ----------------------------------------------------------------------------------------------


def test_a_race_gives_the_first_to_end_and_withdraws_the_others_waits(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        return ctx.race({"answer": lambda ctx: ctx.wait_for_signal("answer"), "time": lambda ctx: ctx.sleep(2 * HOUR)})

    run, late = flow.start(), flow.start()
    durable.run_until_idle()
    assert Execution.objects.get(pk=run.id).waiting_for == "signal answer; timer"
    durable.signal(run, "answer", 42)
    durable.run_until_idle()
    assert client.result(run) == ("answer", 42)
    run_for(durable, 2)
    assert client.result(late) == ("time", None)
    assert [(step.name, step.status) for step in Step.objects.history(late.id)] == [
        ("race", "completed"),
        ("race/answer/signal:answer", "cancelled"),
        ("race/time/sleep", "completed"),
        ("race:won", "completed"),
    ]


def test_a_loser_cleans_up_and_is_undone_and_the_rest_goes_on(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        def loser(ctx):
            do(ctx, "reserved", undo=True)
            try:
                ctx.wait_for_signal("never")
            except Cancelled:
                return do(ctx, "cleaned up")  # a value, but too late

        def winner(ctx):
            ctx.sleep(HOUR)
            return do(ctx, "won")

        first = ctx.race({"loser": loser, "winner": winner})
        ctx.sleep(HOUR)
        return [*first, do(ctx, "after")]

    run = flow.start()
    run_for(durable, 2)
    assert client.result(run) == ["winner", "won", "after"]
    assert done == ["reserved", "won", "cleaned up", "undo reserved", "after"]


def test_of_two_that_end_in_one_pass_the_first_in_order_has_won(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        return ctx.race({"a": lambda ctx: do(ctx, "a"), "b": lambda ctx: do(ctx, "b")})

    assert durable.run(flow.start()) == ("a", "a")
    assert done == ["a"]


def test_the_error_of_the_first_to_end_is_raised(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.race({"waits": lambda ctx: ctx.wait_for_signal("never"), "fails": failing})

    run = flow.start()
    run_for(durable, 1)
    with pytest.raises(ExecutionFailedError, match="left failed"):
        client.result(run)


def test_what_several_losers_did_is_undone_in_the_reverse_order_of_completion(durable, done, do):
    def loser(name):
        def branch(ctx):
            do(ctx, f"{name} early", undo=True)
            ctx.sleep(HOUR)
            do(ctx, f"{name} late", undo=True)
            ctx.wait_for_signal("never")

        return branch

    @workflow("flow")
    def flow(ctx):
        return ctx.race({"a": loser("a"), "b": loser("b"), "winner": lambda ctx: ctx.sleep(2 * HOUR)})[0]

    run = flow.start()
    run_for(durable, 2)
    assert client.result(run) == "winner"
    assert done[4:] == ["undo b late", "undo a late", "undo b early", "undo a early"]


def test_a_cancellation_beside_the_winner_comes_after_the_race(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        def winner(ctx):
            ctx.step("cancel", client.cancel, ctx.execution_id, compensate=lambda _: done.append("undone"))

        ctx.race({"winner": winner, "loser": lambda ctx: ctx.wait_for_signal("never")})
        do(ctx, "after")

    execution = flow.start()
    durable.run_until_idle()

    assert client.get(execution).status == "cancelled"
    assert done == ["undone"]
    statuses = dict(Step.objects.values_list("name", "status"))
    assert (statuses["race:won"], statuses["race/winner/cancel"], statuses["after"]) == (
        "completed",
        "completed",
        "cancelled",
    )


def test_a_cancellation_before_the_winner_is_undone_is_not_forgotten_at_a_replay(durable, done, do):
    @step(retry=Retry(max_attempts=2, initial_seconds=60, jitter=0))
    def undo(_):
        done.append("undo")
        if done.count("undo") == 1:
            raise OSError("not yet")

    @workflow("flow")
    def flow(ctx):
        ctx.race({"winner": lambda ctx: ctx.step("cancel", client.cancel, ctx.execution_id, compensate=undo)})
        do(ctx, "after")

    execution = flow.start()
    run_for(durable, 1)

    assert client.get(execution).status == "cancelled"
    assert done == ["undo", "undo"]


def test_a_cancellation_of_the_execution_ends_a_race(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.race({"a": lambda ctx: ctx.wait_for_signal("a"), "b": lambda ctx: ctx.wait_for_signal("b")})

    run = flow.start()
    durable.run_until_idle()
    client.cancel(run)
    with pytest.raises(ExecutionCancelledError):
        durable.run(run)


def test_a_cancellation_is_told_to_every_branch_of_a_race(durable, do, done):
    def waiting(name):
        def branch(ctx):
            do(ctx, name, undo=True)
            try:
                ctx.wait_for_signal(name)
            except Cancelled:
                do(ctx, f"clean {name}")
                raise

        return branch

    @workflow("flow")
    def flow(ctx):
        ctx.race({"a": waiting("a"), "b": waiting("b")})

    run = flow.start()
    durable.run_until_idle()
    client.cancel(run)
    with pytest.raises(ExecutionCancelledError):
        durable.run(run)
    assert sorted(done) == ["a", "b", "clean a", "clean b", "undo a", "undo b"]
    assert not Step.objects.filter(execution=run.id, status="waiting").exists()


def test_a_cancelled_race_that_a_replay_meets_again_is_still_undone(durable, done):
    tries = []

    @step(retry=Retry(max_attempts=2, initial_seconds=60, jitter=0))
    def undo(result):
        tries.append(result)
        if len(tries) == 1:
            raise OSError("not yet")

    def branch(ctx):
        ctx.step("car", lambda: "car", compensate=undo)
        ctx.wait_for_signal("never")

    @workflow("flow")
    def flow(ctx):
        ctx.race({"a": branch, "b": lambda ctx: ctx.wait_for_signal("b")})

    run = flow.start()
    durable.run_until_idle()
    client.cancel(run)
    run_for(durable, 2)
    assert (client.get(run).status, tries) == ("cancelled", ["car", "car"])


# -- map -----------------------------------------------------------------------------------------------


def test_map_gives_the_values_in_the_order_of_the_items(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.map(lambda ctx, item: ctx.step("double", lambda: 2 * item), range(4))

    assert durable.run(flow.start()) == [0, 2, 4, 6]


def test_map_begins_no_more_than_its_concurrency(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        def handle(ctx, item):
            do(ctx, f"begin {item}")
            ctx.sleep(HOUR)
            return item

        return ctx.map(handle, [1, 2, 3], concurrency=2)

    run = flow.start()
    durable.run_until_idle()
    assert done == ["begin 1", "begin 2"]
    run_for(durable, 1)
    assert done == ["begin 1", "begin 2", "begin 3"]
    run_for(durable, 1)
    assert client.result(run) == [1, 2, 3]


def test_a_map_that_is_called_off_begins_nothing_new_while_it_cleans_up(durable, done, do):
    @workflow("flow")
    def flow(ctx):
        def handle(ctx, item):
            do(ctx, f"begin {item}")
            try:
                ctx.wait_for_signal("never")
            except Cancelled:
                ctx.sleep(HOUR)
                do(ctx, f"clean {item}")

        ctx.parallel({"map": lambda ctx: ctx.map(handle, [1, 2], concurrency=1), "failing": failing})

    run = flow.start()
    run_for(durable, 3)
    with pytest.raises(ExecutionFailedError, match="left failed"):
        client.result(run)
    assert done == ["begin 1", "clean 1"]


# -- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (lambda ctx: ctx.parallel({"a/b": no_op}), "letters, digits"),
        (lambda ctx: ctx.parallel({"a": 7}), "7 is no branch"),
        (lambda ctx: ctx.parallel([no_op]), "give a dict of functions by name"),
        (lambda ctx: ctx.parallel("id"), "takes 1 positional arguments beside its id, not 0"),
        (lambda ctx: ctx.map(no_op), "takes 2 positional"),
        (lambda ctx: ctx.gather(no_op, None), "None is no branch"),
        (lambda ctx: ctx.map(no_op, [1], concurrency=0), "concurrency=0"),
        (lambda ctx: ctx.map(no_op, [1], concurrency=True), "concurrency=True"),
        (lambda ctx: ctx.switch("s", 1, [Case("a", bool, no_op), Case("a", bool, no_op)]), "two branches"),
        (lambda ctx: ctx.switch("s", 1, {"a": no_op}, default=3), "3 is no branch"),
        (lambda ctx: ctx.switch("__s", 1, {"a": no_op}), "reserved"),
    ],
)
def test_bad_input_is_refused_before_anything_is_recorded(durable, code, message):
    deployed = Deployed("flow", code)
    run = deployed.workflow.start()
    with pytest.raises(ExecutionFailedError, match=message):
        durable.run(run)
    assert names(run) == []


def test_the_outer_context_cannot_be_used_inside_a_branch(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.parallel({"a": lambda branch: ctx.step("mine", no_op)})

    with pytest.raises(ExecutionFailedError, match="must use the context that it is given"):
        durable.run(flow.start())


def test_a_path_that_the_column_cannot_hold_is_refused(durable):
    @workflow("flow")
    def flow(ctx):
        def deeper(ctx, depth=0):
            return ctx.parallel({"x" * 100: lambda ctx: deeper(ctx, depth + 1)})

        deeper(ctx)

    with pytest.raises(ExecutionFailedError, match="nested too deep"):
        durable.run(flow.start())


@pytest.mark.parametrize("ends", ["inside", "outside"])
def test_the_longest_path_can_be_undone(durable, done, ends):
    """At another replay too: what does not fit the column comes back as another name."""

    @workflow("flow")
    def flow(ctx):
        def inner(ctx):
            ctx.step("s" * 66, no_op, compensate=lambda result: done.append("undone"))
            if ends == "inside":
                raise ValueError(ends)

        try:
            ctx.parallel({"a" * 90: lambda ctx: ctx.parallel({"b" * 70: inner})})
        except ValueError:
            ctx.sleep(HOUR)
            raise
        ctx.rollback()
        ctx.sleep(HOUR)
        raise ValueError(ends)

    run = flow.start()
    run_for(durable, 1)
    with pytest.raises(ExecutionFailedError, match=ends):
        client.result(run)
    assert done == ["undone"]
    assert max(map(len, names(run))) == 255


def test_other_branches_than_the_recorded_ones_are_set_aside(durable):
    deployed = Deployed("flow", lambda ctx: ctx.gather(lambda ctx: ctx.sleep(HOUR)))
    run = deployed.workflow.start()
    durable.run_until_idle()
    deployed.code = lambda ctx: ctx.gather(lambda ctx: ctx.sleep(HOUR), pytest.fail)
    run_for(durable, 1)
    assert Execution.objects.get(pk=run.id).stuck_reason == StuckReason.NONDETERMINISM
    assert "parallel 'gather' with branches ['0']" in client.inspect(run).error


def test_a_branch_without_an_end_that_the_history_has_is_set_aside(durable):
    def first(ctx):
        ctx.gather(lambda ctx: (ctx.step("a", no_op), ctx.sleep(HOUR)))

    deployed = Deployed("flow", first)
    run = deployed.workflow.start()
    durable.run_until_idle()
    deployed.code = lambda ctx: ctx.gather(lambda ctx: ctx.step("a", no_op))
    run_for(durable, 1)
    assert Execution.objects.get(pk=run.id).stuck_reason == StuckReason.NONDETERMINISM


def test_a_cancellation_that_comes_while_a_race_is_won_leaves_no_wait_open(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.race(
            {
                "a": lambda ctx: (ctx.sleep(HOUR), ctx.step("a", lambda: client.cancel(run)))[0],
                "b": lambda ctx: ctx.wait_for_signal("never"),
            }
        )

    run = flow.start()
    run_for(durable, 1)
    assert Execution.objects.get(pk=run.id).status == "completed"  # it asked for nothing more
    assert not Step.objects.filter(execution_id=run.id).unsettled().exists()


# -- what it costs -------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_part_is_recorded_with_the_first_thing_inside(durable, polling):
    """No commit of its own: it comes and goes with what makes it matter."""
    from django_durable.engine import worker
    from tests.authoring import Killed

    def die():
        raise Killed

    @workflow("flow")
    def flow(ctx):
        ctx.note("began")
        ctx.switch("way", "a", {"a": lambda ctx: (ctx.step("one", no_op), ctx.step("two", die))})

    run = flow.start()
    with pytest.raises(Killed):
        worker.advance_one(run.id, using="default")
    kinds = list(Step.objects.history(run.id).values_list("kind", flat=True))
    assert kinds == [Kind.NOTE, Kind.SWITCH, Kind.STEP]


def _refuses(value):
    raise LookupError(value)


@pytest.mark.parametrize("cases", [{"card": no_op}, [Case("card", _refuses, no_op)]], ids=["no match", "no answer"])
def test_a_switch_without_a_choice_fails_alike_at_every_replay(durable, done, do, cases):
    @workflow("flow")
    def flow(ctx):
        try:
            ctx.switch("pay", "cheque", cases)
        except InvalidOptionError as error:
            do(ctx, "went on")
            ctx.sleep(HOUR)
            return str(error)

    run = flow.start()
    run_for(durable, 1)
    assert "switch 'pay'" in durable.run(run)
    assert "cheque" in durable.run(run)
    assert done == ["went on"]


def test_a_person_helps_the_compensation_that_gave_up_and_not_one_that_is_retried(durable, done, do):
    def fail(result):
        raise OSError("line is down")

    def undone_by(retry):
        def branch(ctx):
            ctx.step("book", no_op, compensate=step(name="undo", retry=retry)(fail))
            ctx.rollback()

        return branch

    @workflow("flow")
    def flow(ctx):
        patient, impatient = Retry(initial_seconds=60), Retry(max_attempts=1)
        ctx.parallel({"patient": undone_by(patient), "impatient": undone_by(impatient)})

    run = flow.start()
    durable.run_until_idle()
    assert Execution.objects.get(pk=run.id).stuck_reason == StuckReason.COMPENSATION
    client.skip_compensation(run)
    row = Step.objects.history(run.id).get(status=StepStatus.SKIPPED)
    assert row.name == "parallel/impatient/rollback:book"
