"""What a pass sets aside, and how it goes on when code or people have changed."""

import contextlib
from datetime import timedelta

import pytest

from django_durable import client, signals, workflow
from django_durable.definitions import registry
from django_durable.engine import claims
from django_durable.exceptions import ExecutionCancelledError
from django_durable.models import AuditEntry
from tests.authoring import Deployed, Killed, no_op


def crash(execution, durable):
    """A worker claims it and dies at once; its lease runs out."""
    assert claims.take(execution.id, using="default") is not None
    durable.clock.advance(timedelta(seconds=31))


# -- swallowed control flow ----------------------------------------------------------------------------


def bare_except(ctx):
    try:
        ctx.sleep(60)
    except:  # noqa: E722
        return "wrong"


def return_in_finally(ctx):
    try:
        ctx.sleep(60)
    finally:
        return "wrong"  # noqa: B012


def suppress_everything(ctx):
    with contextlib.suppress(BaseException):
        ctx.sleep(60)
    ctx.step("more", no_op)
    return "wrong"


def another_error_instead(ctx):
    try:
        ctx.sleep(60)
    except BaseException as error:
        raise ValueError("wrapped") from error


def right(ctx):
    ctx.sleep(60)
    return "right"


@pytest.mark.filterwarnings("ignore:'return' in a 'finally' block:SyntaxWarning")
@pytest.mark.parametrize("code", [bare_except, return_in_finally, suppress_everything, another_error_instead])
def test_swallowed_control_flow_sets_it_aside_until_the_code_is_right(durable, code):
    deployed = Deployed("flow", code)
    execution = deployed.workflow.start()
    durable.run_until_idle()
    found = durable.inspect(execution)
    assert (found.status, found.stuck_reason) == ("stuck", "nondeterminism")
    assert "bare `except:`" in found.error
    deployed.code = right
    durable.advance(timedelta(minutes=5))
    assert client.result(execution) == "right"


# -- code that no longer matches -----------------------------------------------------------------------


def test_code_that_does_not_match_runs_nothing_new_and_heals_by_itself(durable):
    ran = []

    def old(ctx):
        ctx.step("charge", no_op)
        ctx.sleep(60)

    def wrong(ctx):
        ctx.step("reserve", lambda: ran.append(1))
        ctx.sleep(60)

    deployed = Deployed("flow", old)
    execution = deployed.workflow.start()
    durable.run_until_idle()
    deployed.code = wrong
    durable.advance(timedelta(minutes=1))
    found = durable.inspect(execution)
    assert (found.status, found.stuck_reason, ran) == ("stuck", "nondeterminism", [])
    assert "Position 0: the history has step 'charge', the code asked for step 'reserve' at " in found.error
    assert "test_advance_stuck.py:" in found.error
    deployed.code = old
    durable.advance(timedelta(minutes=2))
    assert client.get(execution).status == "completed"
    assert client.get(execution).stuck_reason == ""


def test_being_stuck_is_told_once(durable, django_capture_on_commit_callbacks):
    told = []

    def heard(**facts):
        told.append((facts["reason"], facts["detail"][:10]))

    deployed = Deployed("flow", bare_except)
    execution = deployed.workflow.start()
    signals.execution_stuck.connect(heard)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            durable.advance(timedelta(minutes=5))
    finally:
        signals.execution_stuck.disconnect(heard)
    assert [reason for reason, _ in told] == ["nondeterminism"]
    kinds = AuditEntry.objects.filter(execution_id=execution.id).values_list("kind", flat=True)
    assert list(kinds) == ["stuck_nondeterminism"]


def test_a_stuck_execution_can_be_cancelled(durable):
    deployed = Deployed("flow", bare_except)
    execution = deployed.workflow.start()
    durable.run_until_idle()
    deployed.code = right
    client.cancel(execution)
    with pytest.raises(ExecutionCancelledError):
        durable.run(execution)


# -- unknown code --------------------------------------------------------------------------------------


def define(version=1):
    @workflow("elsewhere", version=version)
    def elsewhere(ctx):
        return f"version {version}"

    return elsewhere


@pytest.mark.parametrize("known", [None, 2], ids=["unknown name", "unknown version"])
def test_a_worker_without_the_code_leaves_it_for_one_that_has_it(durable, known):
    with registry.isolated():
        execution = define().start()
    with registry.isolated():
        if known:
            define(known)
        durable.run_until_idle()
        found = durable.inspect(execution)
        assert (found.status, found.timer.is_leased, found.timer.claims) == ("pending", False, 0)
    define()
    durable.advance(timedelta(seconds=5))
    assert client.result(execution) == "version 1"


def test_the_pause_between_refusals_grows(durable):
    with registry.isolated():
        define().start()
    assert 5 <= durable.advance(timedelta(minutes=1)) <= 10
    assert 9 <= durable.advance(timedelta(minutes=10)) <= 11


def test_code_that_nobody_has_is_reported_and_still_picked_up_later(durable):
    with registry.isolated():
        execution = define().start()
    durable.advance(timedelta(minutes=3))
    found = durable.inspect(execution)
    assert (found.status, found.stuck_reason) == ("stuck", "no_worker_for")
    assert found.waiting_for == "a worker with elsewhere version 1"
    define()
    durable.advance(timedelta(minutes=2))
    assert client.result(execution) == "version 1"


# -- poison --------------------------------------------------------------------------------------------


def test_an_execution_that_keeps_losing_its_workers_is_set_aside(durable):
    ran = []

    @workflow("flow")
    def flow(ctx):
        ran.append(1)

    execution = flow.start()
    for _ in range(10):
        crash(execution, durable)
    durable.run_until_idle()
    found = durable.inspect(execution)
    assert (found.status, found.stuck_reason, ran) == ("stuck", "poison", [])
    assert "10 workers were lost" in found.error
    assert durable.advance(timedelta(days=1)) == 0


def test_poison_does_not_wake_for_news(durable):
    @workflow("flow")
    def flow(ctx):
        return ctx.wait_for_signal("go")

    execution = flow.start()
    for _ in range(10):
        crash(execution, durable)
    durable.run_until_idle()
    durable.signal(execution, "go")
    assert durable.inspect(execution).status == "stuck"
    assert len(durable.inspect(execution).pending_signals) == 1


def test_the_limit_is_a_setting(durable, settings):
    settings.DURABLE = {**settings.DURABLE, "MAX_CLAIMS": 2}
    execution = Deployed("flow", right).workflow.start()
    crash(execution, durable)
    crash(execution, durable)
    durable.run_until_idle()
    assert durable.inspect(execution).stuck_reason == "poison"


def test_progress_forgives_the_workers_lost_before(durable):
    lives = {"before": 6, "after": 6}

    def fragile(name):
        lives[name] -= 1
        if lives[name] > 0:
            raise Killed

    @workflow("flow")
    def flow(ctx):
        ctx.step(fragile, "before")
        ctx.step(fragile, "after")
        return "through"

    execution = flow.start()
    for _ in range(10):
        with contextlib.suppress(Killed):
            durable.run_until_idle()
        durable.clock.advance(timedelta(seconds=31))
    durable.run_until_idle()
    assert client.result(execution) == "through"
