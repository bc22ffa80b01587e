"""One run of the function: what it returns, raises or leaves behind becomes the outcome, never an exception."""

import pytest

from django_durable import client
from django_durable.context import Runtime
from django_durable.engine import claims
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.outcomes import Abandon, HandBack, Mismatch, Park, Raised, Returned
from django_durable.engine.replay import Replay
from django_durable.exceptions import Cancelled, LeaseLostError
from tests.authoring import Deployed, no_op


@pytest.fixture
def run(durable):
    """Run code once against a history of settled steps; the outcome."""
    deployed = Deployed("flow", no_op)
    claim = claims.take(deployed.workflow.start().id, using="default")

    def run(code, *recorded):
        deployed.code = code
        now = claim.now()
        history = [
            Checkpoint(position=number, name=name, kind="step", started_at=now, finished_at=now, result="[1,7]")
            for number, name in enumerate(recorded)
        ]
        journal = Journal(claim, inbox=[], cancel_requested_at=None)
        replay = Replay(journal, history, short_wait_seconds=0)
        return replay.run(deployed.workflow, [], {})

    run.claim = claim
    return run


def test_a_return_and_an_error_are_outcomes(run):
    assert run(lambda ctx: 3) == Returned(3)
    outcome = run(lambda ctx: 1 / 0)
    assert isinstance(outcome, Raised)
    assert isinstance(outcome.error, ZeroDivisionError)


def test_a_wait_is_an_outcome(run):
    assert isinstance(run(lambda ctx: ctx.sleep(1)), Park)


def test_recorded_steps_are_handed_out_and_not_run(run):
    assert run(lambda ctx: ctx.step("a", pytest.fail), "a") == Returned(7)


def raises_early(ctx):
    raise ValueError("early")


@pytest.mark.parametrize(
    ("code", "found"),
    [(no_op, "the end of the function"), (raises_early, "ValueError('early')")],
    ids=["return", "raise"],
)
def test_ending_before_the_history_does_is_a_mismatch(run, code, found):
    outcome = run(code, "a")
    assert isinstance(outcome, Mismatch)
    assert (outcome.error.expected, outcome.error.found) == ("step 'a'", found)


def test_a_mismatch_is_kept_though_the_code_catches_everything(run):
    def code(ctx):
        try:
            ctx.step("b", no_op)
        except BaseException:
            return "looks fine"

    outcome = run(code, "a")
    assert isinstance(outcome, Mismatch)
    assert outcome.error.found == "step 'b'"


def test_a_lost_lease_is_kept_though_the_code_catches_everything(run):
    client.terminate(run.claim.execution_id)

    def code(ctx):
        try:
            ctx.step("a", no_op)
        except BaseException:
            return "looks fine"

    outcome = run(code)
    assert isinstance(outcome, Abandon)
    assert isinstance(outcome.error, LeaseLostError)


def test_a_worker_that_stops_hands_back_before_new_work(run, stopping):
    assert run(lambda ctx: ctx.step("a", pytest.fail)) == HandBack()


def test_control_flow_of_the_users_own_is_an_outcome(run):
    def code(ctx):
        raise Cancelled

    assert isinstance(run(code), Raised)


def test_keyboard_interrupts_pass_through(run):
    def code(ctx):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(code)


def test_it_offers_everything_that_a_context_asks_for():
    wanted = [name for name in vars(Runtime) if not name.startswith("_")]
    assert wanted
    assert all(callable(getattr(Replay, name)) for name in wanted)
