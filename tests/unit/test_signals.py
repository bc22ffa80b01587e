"""Django signals: sent after the commit, robustly, and logged without payloads."""

import logging

import pytest
from django.db import transaction

from django_durable import signals
from django_durable.models import Execution

FACTS = {"execution_id": "an id", "workflow": "orders.fulfil", "using": "default"}


@pytest.fixture
def heard():
    calls = []

    def receiver(**facts):
        calls.append(facts)

    signals.execution_closed.connect(receiver)
    yield calls
    signals.execution_closed.disconnect(receiver)


def send(**facts):
    signals.send_on_commit(signals.execution_closed, sender=Execution, **FACTS, **facts)


@pytest.mark.django_db(transaction=True)
def test_a_signal_is_sent_after_the_commit_that_made_it_true(heard):
    with transaction.atomic():
        send(status="completed")
        assert heard == []
    assert [call["status"] for call in heard] == ["completed"]
    assert heard[0]["sender"] is Execution
    assert heard[0]["execution_id"] == "an id"


@pytest.mark.django_db(transaction=True)
def test_a_rollback_sends_nothing(heard):
    with transaction.atomic():
        send(status="completed")
        transaction.set_rollback(True)
    assert heard == []


@pytest.mark.django_db(transaction=True)
def test_a_receiver_that_fails_stops_no_other(heard):
    def broken(**facts):
        raise ValueError("receiver")

    signals.execution_closed.connect(broken)
    try:
        send(status="completed")
    finally:
        signals.execution_closed.disconnect(broken)
    assert len(heard) == 1


def logged(caplog):
    """The records of our logger: a thread of another test may have something to say."""
    return [record for record in caplog.records if record.name == "django_durable.execution"]


@pytest.mark.django_db(transaction=True)
def test_the_log_tells_which_execution_and_what_happened(caplog):
    with caplog.at_level(logging.INFO, "django_durable.execution"):
        send(status="completed")
    (record,) = logged(caplog)
    assert record.getMessage() == "closed an id status='completed'"
    assert record.durable["workflow"] == "orders.fulfil"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("signal", "level"),
    [
        (signals.execution_started, logging.DEBUG),
        (signals.execution_parked, logging.DEBUG),
        (signals.execution_closed, logging.INFO),
        (signals.execution_stuck, logging.ERROR),
        (signals.step_failed, logging.WARNING),
        (signals.lease_lost, logging.WARNING),
    ],
)
def test_the_level_says_how_bad_it_is(caplog, signal, level):
    with caplog.at_level(logging.DEBUG, "django_durable.execution"):
        signals.send_on_commit(signal, sender=Execution, **FACTS)
    assert [record.levelno for record in logged(caplog)] == [level]


def test_every_signal_is_in_the_table_of_the_docstring():
    public = {name: value for name, value in vars(signals).items() if not name.startswith("_")}
    defined = {name for name, value in public.items() if isinstance(value, signals.Signal)}
    assert defined
    assert all(name in signals.__doc__ for name in defined)
