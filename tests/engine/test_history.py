"""Reading what is recorded: plain values, in order, in one statement."""

import uuid
from datetime import timedelta

import pytest

from django_durable import client, clock, workflow
from django_durable.engine import history
from django_durable.engine.history import Checkpoint
from django_durable.models import Step
from tests.authoring import no_op


@pytest.fixture
def execution(durable):
    @workflow("flow")
    def flow(ctx):
        for number in range(3):
            ctx.step(f"s{number}", no_op)
        ctx.wait_for_signal("go")

    made = flow.start()
    durable.run_until_idle()
    return made


def test_a_checkpoint_has_every_column_of_its_row():
    columns = {field.name for field in Step._meta.fields} - {"execution"}
    assert set(history.FIELDS) == columns


def test_the_history_is_in_order_and_takes_one_statement(execution, django_assert_num_queries):
    with django_assert_num_queries(1):
        loaded = history.load(execution.id, using="default")
    assert [row.position for row in loaded] == [0, 1, 2, 3]
    assert [row.is_settled for row in loaded] == [True, True, True, False]
    assert all(type(row) is Checkpoint for row in loaded)


def test_a_checkpoint_is_found_by_its_id(execution):
    for row in history.load(execution.id, using="default"):
        assert history.find(row.id, using="default") == row
    assert history.find(uuid.uuid4(), using="default") is None


def test_the_inbox_is_what_is_not_consumed_in_acceptance_order(execution):
    for number in range(3):
        client.signal(execution, "other", number)
    found = history.load_inbox(execution.id, using="default")
    assert [(signal.name, signal.payload) for signal in found] == [("other", f"[1,{number}]") for number in range(3)]


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled", "timed_out"])
def test_what_is_settled_never_changes_again(status):
    made = Checkpoint(position=0, name="a", kind="step", status=status, started_at=clock.now())
    assert made.is_settled


@pytest.mark.parametrize("status", ["started", "retrying", "waiting"])
def test_what_is_open_may_still_be_settled(status):
    at = clock.now() + timedelta(seconds=1)
    assert not Checkpoint(position=0, name="a", kind="step", status=status, started_at=at).is_settled
