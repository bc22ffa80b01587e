"""Recorded histories: exported from one run, replayed without a database and without running a step."""

import json
from datetime import timedelta

import pytest

from django_durable import StepFailed, client, step
from django_durable.exceptions import NondeterminismError, UnknownWorkflowError
from django_durable.testing import export_history, replay
from tests.authoring import Deployed, no_op


class Declined(Exception):
    pass


def decline():
    raise Declined("no money")


def code(ctx, order_id):
    try:
        ctx.step(step(name="pay", raises=(Declined,))(decline))
    except Declined as error:
        ctx.note(str(error))
    try:
        ctx.step("fail", decline)
    except StepFailed as error:
        ctx.note(error.message)
    ctx.sleep(60)
    return [order_id, ctx.wait_for_signal("go", timeout=3600), ctx.now().tzinfo is not None]


@pytest.fixture
def deployed():
    return Deployed("histories.flow", code)


@pytest.fixture
def execution(durable, deployed):
    made = deployed.workflow.start(7)
    durable.advance(timedelta(minutes=2))
    return made


def exported(execution):
    """Through JSON text, as a file would."""
    return json.loads(json.dumps(export_history(execution)))


def test_a_finished_history_replays_to_its_result_without_a_step(durable, execution, django_assert_num_queries):
    durable.signal(execution, "go", "ada")
    assert client.result(execution) == [7, "ada", True]
    recorded = exported(execution)
    with django_assert_num_queries(0):
        report = replay(recorded)
    assert (report.fits, report.end, report.value) == (True, "returned", [7, "ada", True])


def test_an_open_history_replays_to_where_it_waits(execution):
    report = replay(exported(execution))
    assert (report.fits, report.end) == (True, "open")


def test_a_failed_history_replays_to_its_error(durable):
    def fails(ctx):
        ctx.step("a", no_op)
        raise ValueError("no")

    execution = Deployed("histories.fails", fails).workflow.start()
    durable.run_until_idle()
    report = replay(exported(execution))
    assert (report.fits, report.end, str(report.error)) == (True, "raised", "no")


def test_code_that_does_not_fit_is_reported_with_both_sides(durable, deployed, execution):
    recorded = exported(execution)
    deployed.code = lambda ctx, order_id: ctx.step("reserve", no_op)
    report = replay(recorded)
    assert not report.fits
    assert isinstance(report.mismatch, NondeterminismError)
    assert (report.mismatch.expected, report.mismatch.found) == ("step 'pay'", "step 'reserve'")


def test_new_calls_at_the_end_of_an_open_history_fit(durable, deployed, execution):
    recorded = exported(execution)
    deployed.code = lambda ctx, order_id: code(ctx, order_id) and ctx.step("more", no_op)
    assert replay(recorded).fits


def test_an_export_says_what_it_is_of(execution):
    recorded = exported(execution)
    assert (recorded["format"], recorded["workflow"], recorded["version"]) == (1, "histories.flow", 1)
    assert (recorded["id"], recorded["status"]) == (str(execution.id), "waiting")
    assert [row["name"] for row in recorded["history"]][:2] == ["pay", "note"]


def test_code_that_is_gone_is_unknown(execution):
    with pytest.raises(UnknownWorkflowError):
        replay(exported(execution) | {"workflow": "histories.gone"})
