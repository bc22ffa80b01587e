"""How a pass can end: plain facts, carried out of the function by a Suspend."""

from dataclasses import FrozenInstanceError

import pytest

from django_durable.engine.outcomes import HandBack, Leave, Mismatch, Raised, Returned
from django_durable.exceptions import DurableError, Suspend


def test_leaving_is_a_suspend_that_carries_why():
    why = HandBack()
    leave = Leave(why)
    assert isinstance(leave, Suspend)
    assert leave.why is why
    assert str(leave) == "HandBack"


def test_except_exception_lets_it_pass():
    with pytest.raises(Leave):
        try:
            raise Leave(HandBack())
        except Exception:
            pytest.fail("caught")


def test_outcomes_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Returned(1).value = 2


def test_outcomes_are_told_apart_by_class():
    error = DurableError("no")
    assert Mismatch(error).error is Raised(error).error is error
    assert not isinstance(Mismatch(error), Raised)
