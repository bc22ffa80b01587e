"""How long a history may get: a warning, advice that every replay repeats, and a limit that sets aside."""

from datetime import timedelta

import pytest

from django_durable import client
from django_durable.models import AuditEntry, Step, StuckReason
from django_durable.signals import history_long
from tests.authoring import NO_BROKER, Deployed, no_op

HOUR = timedelta(hours=1)


@pytest.fixture
def flow():
    """A workflow whose code a test replaces."""
    return Deployed("flow", no_op)


@pytest.fixture
def limits(settings):
    def set_limits(warning, limit):
        settings.DURABLE = {**NO_BROKER, "HISTORY_WARNING": warning, "HISTORY_LIMIT": limit}

    set_limits(3, 6)
    return set_limits


@pytest.fixture
def warned():
    told = []

    def hear(sender, length, **facts):
        told.append(length)

    history_long.connect(hear)
    yield told
    history_long.disconnect(hear)


def steps(ctx, number, then=no_op):
    for _ in range(number):
        ctx.step(no_op)
    return then(ctx)


def kinds(run):
    return [step.kind for step in Step.objects.history(run.pk)]


def test_people_are_told_once_when_the_warning_is_reached(
    durable, flow, limits, warned, caplog, django_capture_on_commit_callbacks
):
    flow.code = lambda ctx: steps(ctx, 5, lambda ctx: ctx.sleep(HOUR))
    with django_capture_on_commit_callbacks(execute=True):
        run = flow.workflow.start()
        durable.run_until_idle()
        durable.advance(HOUR)
        durable.run_until_idle()
    assert (warned, client.get(run).status) == ([3], "completed")
    assert "history long" in caplog.text


def test_people_are_told_when_a_park_reaches_it(durable, flow, limits, warned, django_capture_on_commit_callbacks):
    flow.code = lambda ctx: ctx.gather(*[lambda ctx: ctx.sleep(HOUR)] * 4)
    with django_capture_on_commit_callbacks(execute=True):
        flow.workflow.start()
        durable.run_until_idle()
    assert warned == [5]


def test_a_short_history_warns_nobody(durable, flow, limits, warned, django_capture_on_commit_callbacks):
    flow.code = lambda ctx: steps(ctx, 2)
    with django_capture_on_commit_callbacks(execute=True):
        flow.workflow.start()
        durable.run_until_idle()
    assert warned == []


def test_the_advice_comes_with_the_warning(durable, flow, limits):
    flow.code = lambda ctx, number: steps(ctx, number, lambda ctx: ctx.should_continue_as_new)
    assert [durable.run(flow.workflow.start(number)) for number in (0, 2, 3, 4)] == [False, False, True, True]


def test_every_replay_gets_the_same_advice_whatever_the_settings(durable, flow, limits):
    def code(ctx):
        advice = []
        for _ in range(4):
            advice.append(ctx.should_continue_as_new)
            ctx.sleep(HOUR)
        return advice

    flow.code = code
    run = flow.workflow.start()
    for warning in (3, 1, 3, 3):
        limits(warning, 20)
        durable.run_until_idle()
        durable.advance(HOUR)
    limits(15, 20)
    assert durable.run(run) == [False, False, True, True]
    assert kinds(run) == ["sleep", "sleep", "long", "sleep", "long", "sleep"]


def test_the_advice_counts_what_branches_have_recorded(durable, flow, limits):
    def code(ctx):
        ctx.gather(*[lambda ctx: ctx.step(no_op)] * 3)
        return ctx.should_continue_as_new

    flow.code = code
    assert durable.run(flow.workflow.start()) is True


def test_a_branch_that_has_ended_with_a_no_says_so_at_every_replay(durable, flow, limits):
    advice = []

    def asks(ctx):
        advice.append(ctx.should_continue_as_new)
        return advice[-1]

    def beside(ctx):
        for _ in range(4):
            ctx.sleep(HOUR)

    flow.code = lambda ctx: ctx.parallel({"asks": asks, "beside": beside})["asks"]
    run = flow.workflow.start()
    for _ in range(4):
        durable.run_until_idle()
        durable.advance(HOUR)
    assert durable.run(run) is False
    assert set(advice) == {False}


def test_the_advice_is_followed(durable, flow, limits):
    def code(ctx, number):
        while number < 10:
            ctx.step(no_op)
            number += 1
            if ctx.should_continue_as_new:
                ctx.continue_as_new(number)
        return number

    flow.code = code
    run = flow.workflow.start(0)
    assert durable.run(run) == 10
    assert kinds(run) == ["step", "step", "step", "long", "continue"]


def test_the_limit_sets_aside_before_anything_new_runs(durable, flow, limits):
    done = []
    flow.code = lambda ctx: [ctx.step(f"s{number}", done.append, number) for number in range(9)]
    run = flow.workflow.start()
    durable.run_until_idle()
    row = client.get(run)
    assert (row.status, row.stuck_reason, len(done)) == ("stuck", StuckReason.HISTORY, 6)
    assert "DURABLE['HISTORY_LIMIT'] allows 6" in client.inspect(run).error
    assert AuditEntry.objects.filter(kind="stuck_history_limit").count() == 1
    limits(3, 9)
    durable.advance(timedelta(minutes=2))
    durable.run(run)
    assert done == list(range(9))


def test_at_the_limit_it_can_still_be_cancelled_and_undone(durable, flow, limits):
    undone = []

    def code(ctx):
        ctx.step("car", lambda: "car", compensate=undone.append)
        steps(ctx, 20)

    flow.code = code
    run = flow.workflow.start()
    durable.run_until_idle()
    assert client.get(run).stuck_reason == StuckReason.HISTORY
    client.cancel(run)
    durable.run_until_idle()
    assert (client.get(run).status, undone) == ("cancelled", ["car"])


def test_at_the_limit_it_can_still_continue(durable, flow, limits):
    flow.code = lambda ctx, again: steps(ctx, 6, lambda ctx: ctx.continue_as_new(False) if again else "done")
    assert durable.run(flow.workflow.start(True)) == "done"


def test_at_the_limit_a_branch_sets_aside_all(durable, flow, limits):
    flow.code = lambda ctx: ctx.gather(lambda ctx: ctx.wait_for_signal("go"), lambda ctx: steps(ctx, 9))
    run = flow.workflow.start()
    durable.run_until_idle()
    assert client.get(run).stuck_reason == StuckReason.HISTORY
