"""The two ways through a history, without an engine around them."""

from datetime import UTC, datetime

import pytest

from django_durable.engine.history import Checkpoint
from django_durable.engine.policies import POLICIES, ByName, InOrder
from django_durable.models import Kind

THEN = datetime(2026, 1, 1, tzinfo=UTC)


def recorded(*names, kind=Kind.STEP, status="completed"):
    return [
        Checkpoint(position=n, name=name, kind=kind, started_at=THEN, status=status) for n, name in enumerate(names)
    ]


@pytest.fixture(params=sorted(POLICIES))
def policy(request):
    return POLICIES[request.param]


def test_each_record_is_handed_out_once(policy):
    walk = policy(recorded("a", "b"), None)

    assert [walk.take("a"), walk.take("b")] == [0, 1]
    assert (walk.unmet, walk.left, list(walk.unasked), walk.has_unasked, walk.is_behind) == (
        None,
        None,
        [],
        False,
        False,
    )


def test_what_is_recorded_is_offered_to_its_own_kind_and_name(policy):
    history = recorded("a", "b")
    walk = policy(history, None)

    assert walk.offered(Kind.STEP, "a") is history[0]
    assert walk.offered(Kind.CHILD, "a") is None
    assert walk.offered(Kind.STEP, "new") is None
    assert walk.against(Kind.STEP, "a") is None
    assert walk.against(Kind.CHILD, "a") is history[0]


def test_a_call_that_was_taken_and_never_recorded_is_not_offered(policy):
    """It left by an error of its own, before there was anything to record."""
    walk = policy([], None)
    walk.take("a")

    assert walk.offered(Kind.STEP, "a") is None
    assert walk.against(Kind.STEP, "b") is None


def test_in_order_refuses_a_new_call_before_what_is_left():
    history = recorded("a", "b")
    walk = InOrder(history, None)
    walk.take("a")

    assert walk.against(Kind.STEP, "x") is history[1]
    assert walk.unmet is history[1]


def test_by_name_takes_a_new_call_anywhere():
    walk = ByName(recorded("a", "b"), None)

    assert walk.against(Kind.STEP, "x") is None
    assert walk.take("x") == 2
    assert walk.unmet is None
    assert [checkpoint.name for checkpoint in walk.unasked] == ["a", "b"]


def test_a_branch_in_order_is_over_once_anything_is_recorded_behind_its_part():
    outside = recorded("part", "after")
    outer = InOrder(outside, None)
    outer.take("part")
    branch = InOrder(recorded("part/only/a"), outer)
    branch.take("part/only/a")

    assert branch.unmet is None
    assert branch.against(Kind.STEP, "part/only/x") is outside[1]
    outer.take("after")
    assert branch.against(Kind.STEP, "part/only/x") is None


def test_by_name_only_the_mark_of_a_rollback_ends_a_branch():
    outside = [*recorded("part", "after"), *recorded("__rollback", kind=Kind.ROLLBACK)]
    outer = ByName(outside, None)
    branch = ByName([*recorded("part/only/a"), *recorded("part/only/open", status="waiting")], outer)

    assert branch.against(Kind.STEP, "part/only/a") is None
    assert branch.against(Kind.STEP, "part/only/open") is outside[2]
    assert branch.against(Kind.STEP, "part/only/x") is outside[2]
    outer.take("__rollback")
    assert branch.against(Kind.STEP, "part/only/x") is None
