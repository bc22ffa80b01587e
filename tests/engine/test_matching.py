"""Matching calls with the history: order, kind and id; nothing runs before its call was matched."""

from datetime import timedelta

import pytest

from django_durable import client
from django_durable.engine import claims
from django_durable.engine.history import Checkpoint
from django_durable.engine.journal import Journal
from django_durable.engine.matching import Matcher
from django_durable.engine.outcomes import Abandon, HandBack, Leave, Mismatch, Park
from django_durable.engine.scopes import Shared
from django_durable.exceptions import Cancelled, DeadlineExceeded, LeaseLostError, SwallowedControlFlowError
from django_durable.models import Kind, Status, StepStatus
from tests.authoring import Deployed, no_op


@pytest.fixture
def claim(durable):
    execution = Deployed("flow", no_op).workflow.start()
    return claims.take(execution.id, using="default")


@pytest.fixture
def matcher(claim):
    """A matcher with two recorded steps, ``a`` and an open ``a#2``."""
    now = claim.now()

    def make(*, deadline_at=None, cancel_requested_at=None):
        recorded = [
            Checkpoint(position=0, name="a", kind="step", started_at=now, finished_at=now),
            Checkpoint(position=1, name="a#2", kind="step", status=StepStatus.RETRYING, started_at=now),
        ]
        orders = {"cancel_requested_at": cancel_requested_at, "deadline_at": deadline_at}
        journal = Journal(claim, inbox=[], length=2, **orders)
        return Matcher(Shared(journal, recorded, short_wait_seconds=0))

    return make


def test_calls_meet_their_checkpoints_in_order(matcher):
    one = matcher()
    calls = [one.enter(Kind.STEP, "a") for _ in range(3)]
    assert [(call.index, call.name, call.is_new) for call in calls] == [
        (0, "a", False),
        (1, "a#2", False),
        (2, "a#3", True),
    ]


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [(Kind.STEP, "b", "step 'b'"), (Kind.SLEEP, "a", "sleep 'a'"), (Kind.WAIT, "signal:go", "wait 'signal:go'")],
)
def test_another_name_or_kind_leaves_with_both_sides(matcher, kind, name, found):
    with pytest.raises(Leave) as left:
        matcher().enter(kind, name)
    assert isinstance(left.value.why, Mismatch)
    error = left.value.why.error
    assert (error.position, error.expected, error.found) == (0, "step 'a'", found)
    assert "test_matching.py:" in error.source


def test_after_leaving_every_call_says_that_it_was_swallowed(matcher):
    one = matcher()
    one.leave(HandBack())
    with pytest.raises(SwallowedControlFlowError):
        one.enter(Kind.STEP, "a")


def test_while_leaving_every_call_leaves_on(matcher):
    one = matcher()
    with pytest.raises(Leave) as left:
        try:
            raise one.leave(HandBack())
        finally:
            one.enter(Kind.STEP, "a")
    assert left.value is one.shared.leaving


def test_a_rewind_starts_from_the_top_with_the_same_numbers(matcher):
    one = matcher()
    first = [one.enter(Kind.STEP, "a").name, one.random_numbers.random()]
    one.rewind()
    assert [one.enter(Kind.STEP, "a").name, one.random_numbers.random()] == first


@pytest.mark.parametrize(
    ("due", "error", "status"),
    [("cancel_requested_at", Cancelled, "cancelled"), ("deadline_at", DeadlineExceeded, "timed_out")],
)
def test_an_interruption_is_recorded_at_the_first_call_that_is_new(matcher, claim, due, error, status):
    one = matcher(**{due: claim.now()})
    one.history.pop()
    one.enter(Kind.STEP, "a")
    with pytest.raises(error):
        one.enter(Kind.SLEEP, "sleep")
    assert [(row.name, row.status) for row in one.history] == [("a", "completed"), ("sleep", status)]
    assert one.enter(Kind.STEP, "clean up").is_new  # delivered once
    one.rewind()
    one.enter(Kind.STEP, "a")
    with pytest.raises(error):
        one.enter(Kind.SLEEP, "sleep")


def test_a_park_wakes_for_the_deadline(matcher, claim):
    deadline = claim.now() + timedelta(minutes=1)
    one = matcher(deadline_at=deadline)
    call = one.enter(Kind.STEP, "a")
    park = {"status": Status.WAITING, "waiting_for": ""}
    later = one.park(call, call.checkpoint(), until=deadline + timedelta(days=1), **park)
    never = one.park(call, call.checkpoint(), until=None, **park)
    sooner = one.park(call, call.checkpoint(), until=claim.now(), **park)
    assert [leave.why.until for leave in (later, never, sooner)] == [deadline, deadline, claim.now()]
    assert isinstance(later.why, Park)


def test_nothing_new_begins_under_a_lost_lease(matcher, claim):
    claim.lost = True
    with pytest.raises(Leave) as left:
        matcher().before_new_work()
    assert isinstance(left.value.why, Abandon)


def test_a_write_that_is_refused_leaves_the_function(matcher, claim):
    client.terminate(claim.execution_id)
    one = matcher()
    one.history.clear()
    call = one.enter(Kind.STEP, "a")
    with pytest.raises(Leave) as left:
        one.settle(call, call.checkpoint(finished_at=claim.now()))
    assert isinstance(left.value.why.error, LeaseLostError)


def test_replaying_is_what_an_earlier_pass_has_reached(matcher):
    one = matcher()
    seen = []
    for _ in range(3):
        seen.append(one.is_replaying)
        one.enter(Kind.STEP, "a")
    assert seen == [True, True, False]
