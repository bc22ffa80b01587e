"""continue_as_new: an execution ends and the next one takes over, in one transaction."""

from datetime import timedelta

import pytest

from django_durable import Cancelled, client, workflow
from django_durable.engine import succession
from django_durable.exceptions import (
    ExecutionCancelledError,
    ExecutionClosedError,
    ExecutionFailedError,
    ExecutionNotFoundError,
    UsedTokenError,
)
from django_durable.models import AuditEntry, Execution, Signal, Step, StuckReason, Timer
from django_durable.testing import export_history, replay
from tests.authoring import Deployed, no_op

HOUR = timedelta(hours=1)


@pytest.fixture
def flow():
    """A workflow whose code a test replaces."""
    return Deployed("flow", no_op)


def count_down(ctx, number):
    ctx.step(no_op)
    if number:
        ctx.continue_as_new(number - 1)
    return "done"


def wait_then_wait(ctx, number):
    """Ends with what the second of two executions was sent."""
    answer = ctx.wait_for_signal("go")
    if number:
        ctx.continue_as_new(number - 1)
    return answer


def chain():
    return list(Execution.objects.filter(workflow="flow").order_by("created_at", "pk"))


def names(run):
    return [step.name for step in Step.objects.history(run.pk)]


# -- what goes on --------------------------------------------------------------------------------------


def test_the_state_goes_over(durable, flow):
    def code(ctx, number):
        seen = dict(ctx.state)
        ctx.state.set(**{f"of_{number}": number})
        ctx.step(no_op)
        if number:
            ctx.continue_as_new(number - 1)
        ctx.wait_for_signal("end")
        return seen

    flow.code = code
    run = flow.workflow.start(2)
    durable.run_until_idle()
    durable.signal(run, "end")
    durable.run_until_idle()
    assert client.result(run) == {"of_2": 2, "of_1": 1}
    assert names(chain()[1]) == ["__state", "state", "no_op", "continue_as_new"]
    assert replay(export_history(chain()[2])).fits


def test_another_state_can_be_given_and_queries_see_it(durable, flow):
    @flow.workflow.query("all")
    def all_of_it(state):
        return dict(state)

    def code(ctx, number):
        ctx.state.set(mine=number)
        if number:
            ctx.continue_as_new(number - 1, state={"given": True} if number == 2 else {})
        ctx.wait_for_signal("end")

    flow.code = code
    run = flow.workflow.start(2)
    durable.run_until_idle()
    first, second, third = chain()
    assert [names(each)[0] for each in (first, second, third)] == ["state", "__state", "state"]
    assert replay(export_history(second)).fits
    assert [client.query(each, "all") for each in (first, second, third)] == [{"mine": 0}] * 3  # the live one's
    durable.signal(run, "end")
    durable.run_until_idle()


@pytest.mark.parametrize("state", [7, [("a", 1)], {"a": object()}])
def test_a_state_that_cannot_be_stored_is_refused(durable, flow, state):
    flow.code = lambda ctx: ctx.continue_as_new(state=state)
    run = flow.workflow.start()
    durable.run_until_idle()
    assert client.get(run).status == "failed"
    assert len(chain()) == 1


def test_a_request_that_was_not_answered_goes_over(durable, flow):
    @flow.workflow.update("add")
    def add(state, number):
        state["sum"] = state.get("sum", 0) + number
        return state["sum"]

    def code(ctx, number):
        if number:
            ctx.continue_as_new(number - 1)
        ctx.wait_for_signal("end")

    flow.code = code
    run = flow.workflow.start(1)
    request = client.send_update(run, "add", 7)
    durable.run_until_idle()
    assert client.get(run).status == "continued"
    assert client.update_result(run, request) == 7
    assert client.update_result(chain()[1], request) == 7
    again = client.send_update(run, "add", 5, update_id="once")
    assert client.send_update(chain()[1], "add", 5, update_id="once") == again
    durable.run_until_idle()
    assert client.update_result(run, again) == 12


def test_a_child_of_a_map_cannot(durable, flow):
    flow.code = lambda ctx, number: ctx.continue_as_new(number)

    @workflow("mapping")
    def mapping(ctx):
        return [type(each.error).__name__ + str(each.error) for each in ctx.map(flow.workflow, [1], settle=True)]

    [told] = durable.run(mapping.start())
    assert "A child of ctx.map cannot continue as new" in told


def test_it_goes_on_as_new_executions_with_short_histories(durable, flow):
    flow.code = count_down
    run = flow.workflow.start(2)
    assert durable.run(run) == "done"
    first, second, third = chain()
    assert [each.status for each in (first, second, third)] == ["continued", "continued", "completed"]
    assert first.pk == run.id
    assert {each.chain for each in (first, second, third)} == {run.id}
    assert [names(each) for each in (first, third)] == [["no_op", "continue_as_new"], ["no_op"]]
    assert not Timer.objects.exists()


def test_the_history_names_the_next_one(durable, flow):
    flow.code = count_down
    run = flow.workflow.start(1)
    durable.run_until_idle()
    assert client.inspect(run).history[-1].result == chain()[1].pk


def test_an_execution_that_was_never_continued_has_no_chain(durable, flow):
    flow.code = count_down
    durable.run(flow.workflow.start(0))
    assert chain()[0].chain is None


def test_everything_but_the_input_goes_over(durable, flow, settings):
    settings.DURABLE = {"QUEUES": ["slow"], "DISPATCHER": "django_durable.dispatch.NullDispatcher"}
    flow.code = lambda ctx, number: ctx.continue_as_new(number + 1) if number < 1 else ctx.wait_for_signal("go")
    subject = AuditEntry.objects.create(execution_id=flow.workflow.start(5).id, kind="x")
    options = {"key": "k", "labels": {"a": "b"}, "queue": "slow", "priority": "high", "timeout": 5 * HOUR}
    run = flow.workflow.using(**options, subject=subject).start(0)
    deadline = Execution.objects.get(pk=run.id).deadline_at
    durable.advance(HOUR)
    durable.run_until_idle()
    new = client.latest(run)
    assert new.pk != run.id
    assert (new.key, new.labels, new.queue, new.timer.queue, new.timer.priority) == ("k", {"a": "b"}, "slow", "slow", 1)
    assert (new.subject_type, new.subject_id) == ("django_durable.auditentry", str(subject.pk))
    assert new.deadline_at == deadline
    assert client.inspect(new).input["args"] == [1]


def test_a_workflow_with_a_timeout_gets_no_new_one(durable):
    @workflow("flow", timeout=2 * HOUR)
    def flow(ctx, number):
        ctx.sleep(HOUR)
        ctx.continue_as_new(number + 1)

    run = flow.start(0)
    durable.run_until_idle()
    for _ in range(3):
        durable.advance(HOUR)
        durable.run_until_idle()
    assert client.latest(run).status == "timed_out"


def test_the_newest_version_takes_over(durable):
    @workflow("flow")
    def old(ctx):
        ctx.continue_as_new("to the new one")

    run = old.start()

    @workflow("flow", version=2)
    def new(ctx, word):
        return word

    assert durable.run(run) == "to the new one"
    assert client.latest(run).version == 2


# -- the key -------------------------------------------------------------------------------------------


def test_the_key_belongs_to_the_last_one(durable, flow):
    flow.code = wait_then_wait
    run = flow.workflow.using(key="k").start(1)
    durable.run_until_idle()
    durable.signal(run, "go")
    last = client.latest(run)
    assert [each.pk for each in client.find(key="k")] == [last.pk]
    assert flow.workflow.using(key="k").start(1).id == last.pk
    assert client.get(run).key is None


def test_signal_with_start_finds_the_last_one(durable, flow):
    flow.code = wait_then_wait
    prepared = flow.workflow.using(key="k").prepare(1)
    run, _ = client.signal_with_start(prepared, "go", "one")
    durable.run_until_idle()
    last, is_new = client.signal_with_start(prepared, "go", "two")
    assert (last.pk, is_new) == (client.latest(run).pk, False)
    assert durable.run(run) == "two"


# -- signals -------------------------------------------------------------------------------------------


def test_signals_that_nobody_consumed_go_over_in_their_order(durable, flow):
    def code(ctx, number):
        answer = ctx.wait_for_signal("go")
        return answer if number == 3 else ctx.continue_as_new(number + 1)

    flow.code = code
    run = flow.workflow.start(0)
    for number in range(4):
        client.signal(run, "go", number, signal_id=f"s{number}")
    assert durable.run(run) == 3
    assert Signal.objects.filter(consumed_by="").count() == 0


def test_a_signal_to_an_old_id_reaches_the_last_one(durable, flow):
    flow.code = wait_then_wait
    run = flow.workflow.start(2)
    durable.run_until_idle()
    for number in (1, 2, 3):
        durable.signal(run, "go", number)
    assert client.result(run) == 3


def test_a_repeated_signal_is_known_after_its_execution_was_continued(durable, flow):
    flow.code = wait_then_wait
    run = flow.workflow.start(1)
    client.signal(run, "go", "one", signal_id="once")
    durable.run_until_idle()
    last = client.latest(run)
    assert [client.signal(each, "go", "again", signal_id="once") for each in (run, last)] == [False, False]
    assert client.signal(run, "go", "two", signal_id="twice")
    assert durable.run(run) == "two"


def test_a_repeated_signal_is_known_where_it_waits_to_be_consumed(durable, flow):
    flow.code = wait_then_wait
    run = flow.workflow.start(1)
    client.signal(run, "go", "one", signal_id="first")
    client.signal(run, "other", "two", signal_id="kept")
    durable.run_until_idle()
    assert client.signal(run, "other", "two", signal_id="kept") is False
    assert Signal.objects.get(signal_id="kept").execution_id == client.latest(run).pk


def test_a_token_of_an_old_one_still_opens_its_door_once(durable, flow):
    tokens = []

    def code(ctx, number):
        if number:
            ctx.step("mail", tokens.append, ctx.signal_token("go", expires=HOUR))
            ctx.continue_as_new(0)
        return ctx.wait_for_signal("go")

    flow.code = code
    run = flow.workflow.start(1)
    durable.run_until_idle()
    assert client.get_by_token(tokens[0], "go").pk == client.latest(run).pk
    client.signal_by_token(tokens[0], "go", "yes")
    with pytest.raises(UsedTokenError):
        client.signal_by_token(tokens[0], "go", "no")
    assert durable.run(run) == "yes"
    with pytest.raises(UsedTokenError):
        client.signal_by_token(tokens[0], "go", "no")


def test_an_old_id_is_refused_once_the_last_one_has_ended(durable, flow):
    flow.code = count_down
    run = flow.workflow.start(1)
    durable.run(run)
    with pytest.raises(ExecutionClosedError, match="completed") as closed:
        client.signal(run, "go")
    assert closed.value.execution_id == client.latest(run).pk


def test_one_whose_successor_is_deleted_is_not_found(durable, flow):
    flow.code = count_down
    run = flow.workflow.start(1)
    durable.run(run)
    client.latest(run).delete()
    with pytest.raises(ExecutionNotFoundError):
        client.result(run)
    with pytest.raises(ExecutionClosedError, match="continued"):
        client.signal(run, "go")


# -- cancelling ----------------------------------------------------------------------------------------


def test_a_cancel_to_an_old_id_reaches_the_last_one(durable, flow):
    flow.code = wait_then_wait
    run = flow.workflow.start(1)
    durable.run_until_idle()
    durable.signal(run, "go")
    client.cancel(run, reason="enough")
    durable.run_until_idle()
    with pytest.raises(ExecutionCancelledError, match="enough"):
        client.result(run)
    assert client.get(run).status == "continued"


def test_a_terminate_to_an_old_id_reaches_the_last_one(durable, flow):
    flow.code = wait_then_wait
    run = flow.workflow.start(1)
    durable.run_until_idle()
    durable.signal(run, "go")
    client.terminate(run)
    assert client.latest(run).status == "terminated"


def cancel_at_the_commit(monkeypatch, run):
    """A cancellation comes when all is decided, just before the transaction."""
    real = succession.continue_as_new

    def late(*args, **kwargs):
        monkeypatch.setattr(succession, "continue_as_new", real)
        client.cancel(run)
        return real(*args, **kwargs)

    monkeypatch.setattr(succession, "continue_as_new", late)


def test_a_cancel_just_before_wins_and_is_told_at_the_call(durable, flow, monkeypatch):
    told = []

    def code(ctx, number):
        try:
            ctx.continue_as_new(number)
        except Cancelled:
            told.append("cancelled")
            ctx.step("clean_up", no_op)
            raise

    flow.code = code
    run = flow.workflow.start(1)
    cancel_at_the_commit(monkeypatch, run)
    durable.run_until_idle()
    assert (client.get(run).status, set(told), len(chain())) == ("cancelled", {"cancelled"}, 1)
    assert names(run) == ["continue_as_new", "clean_up"]


def test_a_cancel_just_before_wins_after_a_finally_that_recorded(durable, flow, monkeypatch):
    def code(ctx, number):
        try:
            ctx.continue_as_new(number)
        finally:
            ctx.step("last", no_op)

    flow.code = code
    run = flow.workflow.start(1)
    cancel_at_the_commit(monkeypatch, run)
    durable.run_until_idle()
    assert (client.get(run).status, names(run)) == ("cancelled", ["last", "continue_as_new"])


def test_what_was_cancelled_does_not_go_on(durable, flow):
    def code(ctx):
        try:
            ctx.wait_for_signal("go")
        except Cancelled:
            ctx.continue_as_new()

    flow.code = code
    run = flow.workflow.start()
    durable.run_until_idle()
    client.cancel(run)
    durable.run_until_idle()
    assert (client.get(run).status, len(chain())) == ("cancelled", 1)


def test_a_cancel_in_a_finally_block_that_waits_wins(durable, flow):
    def code(ctx):
        try:
            ctx.continue_as_new()
        finally:
            ctx.sleep(HOUR)

    flow.code = code
    run = flow.workflow.start()
    durable.run_until_idle()
    assert client.get(run).status == "sleeping"
    client.cancel(run)
    durable.run_until_idle()
    assert (client.get(run).status, len(chain())) == ("cancelled", 1)


# -- leaving the function ------------------------------------------------------------------------------


def test_finally_blocks_make_durable_calls_on_the_way_out(durable, flow):
    done = []

    def code(ctx, number):
        try:
            if number:
                ctx.continue_as_new(number - 1)
        finally:
            ctx.sleep(HOUR)
            ctx.step("close", lambda: done.append(number))
        return "done"

    flow.code = code
    run = flow.workflow.start(1)
    for _ in range(2):
        durable.run_until_idle()
        durable.advance(HOUR)
    assert (durable.run(run), done) == ("done", [1, 0])


def test_a_finally_block_that_fails_fails_the_run(durable, flow):
    def code(ctx):
        try:
            ctx.continue_as_new()
        finally:
            raise ValueError("in finally")

    flow.code = code
    with pytest.raises(ExecutionFailedError, match="in finally"):
        durable.run(flow.workflow.start())


def test_swallowing_it_is_told(durable, flow):
    def code(ctx):
        try:
            ctx.continue_as_new()
        except BaseException:
            return "swallowed"

    flow.code = code
    run = flow.workflow.start()
    durable.run_until_idle()
    row = client.get(run)
    assert (row.status, row.stuck_reason) == ("stuck", StuckReason.NONDETERMINISM)
    assert "ContinueAsNew" in client.inspect(run).error
    flow.code = lambda ctx: "mended"
    durable.advance(timedelta(minutes=2))
    assert durable.run(run) == "mended"


def test_allowed_inside_a_switch_and_a_loop(durable, flow):
    def code(ctx, number):
        ctx.switch("way", number, [], default=lambda ctx: ctx.continue_as_new(1)) if not number else None
        ctx.loop("round", lambda value: number < 2, lambda ctx, value: ctx.continue_as_new(2))
        return number

    flow.code = code
    assert durable.run(flow.workflow.start(0)) == 2


@pytest.mark.parametrize("part", ["parallel", "race", "map", "gather"])
def test_refused_inside_a_branch_beside_others(durable, flow, part):
    def leave(ctx, item=None):
        ctx.continue_as_new()

    def code(ctx):
        how = {"map": lambda: ctx.map(leave, [1]), "gather": lambda: ctx.gather(leave)}
        return how.get(part, lambda: getattr(ctx, part)({"a": leave}))()

    flow.code = code
    with pytest.raises(ExecutionFailedError, match="leave the others behind"):
        durable.run(flow.workflow.start())
    assert len(chain()) == 1


def test_refused_inside_a_step_body(durable, flow):
    flow.code = lambda ctx: ctx.step("body", lambda: ctx.continue_as_new())
    with pytest.raises(ExecutionFailedError, match="inside the body of step"):
        durable.run(flow.workflow.start())


@pytest.mark.parametrize(("given", "error"), [((object(),), "CodecError"), ((1, 2, 3), "TypeError")])
def test_arguments_that_cannot_be_are_refused_at_the_call(durable, given, error):
    @workflow("flow")
    def flow(ctx, number):
        ctx.continue_as_new(*given)

    with pytest.raises(ExecutionFailedError, match=error):
        durable.run(flow.start(1))
    assert len(chain()) == 1


def test_a_second_call_on_the_way_out_is_refused(durable, flow):
    def code(ctx):
        try:
            ctx.continue_as_new(1)
        finally:
            ctx.continue_as_new(2)

    flow.code = code
    with pytest.raises(ExecutionFailedError, match="was called before"):
        durable.run(flow.workflow.start())


# -- sagas and children --------------------------------------------------------------------------------


def test_what_is_done_is_not_undone_any_more(durable, flow):
    undone = []

    def code(ctx, number):
        if not number:
            raise ValueError("later")
        ctx.step("car", lambda: "car", compensate=undone.append)
        ctx.continue_as_new(number - 1)

    flow.code = code
    run = flow.workflow.start(1)
    durable.run_until_idle()
    assert (client.latest(run).status, undone) == ("failed", [])
    assert client.get(run).status == "continued"


def test_open_children_are_dealt_with_as_at_every_end(durable, flow):
    child = Deployed("child", lambda ctx: ctx.wait_for_signal("go"))

    def code(ctx, number):
        if number:
            for policy in ("cancel", "abandon", "wait"):
                ctx.start_child(policy, child.workflow.using(on_parent_close=policy))
            ctx.continue_as_new(0)
        return "done"

    flow.code = code
    run = flow.workflow.start(1)
    durable.run_until_idle()
    assert client.get(run).status == "waiting"
    durable.signal(Execution.objects.get(on_parent_close="wait"), "go")
    assert durable.run(run) == "done"
    ends = dict(Execution.objects.filter(workflow="child").values_list("on_parent_close", "status"))
    assert ends == {"cancel": "cancelled", "abandon": "waiting", "wait": "completed"}


def parent_of(flow):
    @workflow("parent")
    def parent(ctx, number):
        return ctx.call(flow.workflow.using(key="child"), number)

    return parent


def test_a_parent_waits_for_the_last_of_the_chain(durable, flow):
    flow.code = wait_then_wait
    run = parent_of(flow).start(2)
    durable.run_until_idle()
    for number in range(3):
        assert client.get(run).status == "waiting"
        durable.signal(chain()[0], "go", number)
    assert durable.run(run) == 2
    assert {(each.parent_id, each.depth, each.on_parent_close) for each in chain()} == {(run.id, 1, "cancel")}


def test_a_parent_that_is_cancelled_cancels_the_last_of_the_chain(durable, flow):
    flow.code = wait_then_wait
    run = parent_of(flow).start(2)
    durable.run_until_idle()
    durable.signal(chain()[0], "go")
    client.cancel(run)
    durable.run_until_idle()
    assert [each.status for each in chain()] == ["continued", "cancelled"]


def test_a_parent_learns_of_a_last_one_that_fails(durable, flow):
    def code(ctx, number):
        if not number:
            raise ValueError("no more")
        ctx.continue_as_new(number - 1)

    flow.code = code
    with pytest.raises(ExecutionFailedError, match="no more"):
        durable.run(parent_of(flow).start(2))


# -- recorded histories --------------------------------------------------------------------------------


def test_a_continued_history_is_replayed_to_its_end(durable, flow):
    flow.code = count_down
    run = flow.workflow.start(1)
    durable.run(run)
    recorded = export_history(run)
    assert replay(recorded).end == "continued"
    flow.code = lambda ctx, number: ctx.step(no_op)
    report = replay(recorded)
    assert not report.fits
    assert "continue 'continue_as_new'" in str(report.mismatch)
