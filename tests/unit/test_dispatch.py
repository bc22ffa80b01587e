"""Hints: sent after the commit, never raising, to the dispatcher that the settings name."""

import logging
import uuid

import pytest
from django.db import transaction

from django_durable import dispatch
from django_durable.exceptions import ConfigurationError

ID = uuid.UUID(int=5)


class Kept:
    hints = []

    def wake(self, execution_id, *, queue, using):
        self.hints.append(("wake", execution_id, queue, using))

    def drain(self, queue, *, using, delay_seconds=0.0):
        self.hints.append(("drain", queue, using, delay_seconds))


class Broken:
    def wake(self, execution_id, *, queue, using):
        raise ConnectionError("broker down")

    def drain(self, queue, *, using, delay_seconds=0.0):
        raise ConnectionError("broker down")


class Incomplete:
    def wake(self, execution_id, *, queue, using):
        pass


@pytest.fixture(autouse=True)
def hints(settings):
    settings.DURABLE = {"DISPATCHER": f"{__name__}.Kept"}
    Kept.hints.clear()
    return Kept.hints


@pytest.mark.django_db(transaction=True)
def test_a_hint_is_sent_after_the_commit(hints):
    with transaction.atomic():
        dispatch.wake(ID, queue="default", using="default")
        assert hints == []
    assert hints == [("wake", ID, "default", "default")]


@pytest.mark.django_db(transaction=True)
def test_a_rollback_sends_no_hint(hints):
    with transaction.atomic():
        dispatch.wake(ID, queue="default", using="default")
        transaction.set_rollback(True)
    assert hints == []


@pytest.mark.django_db(transaction=True)
def test_a_broken_dispatcher_costs_a_log_line_and_no_exception(settings, caplog):
    settings.DURABLE = {"DISPATCHER": f"{__name__}.Broken"}
    with caplog.at_level(logging.WARNING, "django_durable.dispatch"):
        dispatch.wake(ID, queue="default", using="default")
        dispatch.drain("default", using="default")
    assert [record.getMessage() for record in caplog.records] == [
        f"No hint for {ID}; the tick will find it.",
        "No hint for queue default; the next tick tries again.",
    ]


@pytest.mark.django_db(transaction=True)
def test_a_hook_after_a_broken_dispatcher_still_runs(settings):
    settings.DURABLE = {"DISPATCHER": f"{__name__}.Broken"}
    after = []
    with transaction.atomic():
        dispatch.wake(ID, queue="default", using="default")
        transaction.on_commit(lambda: after.append("sent"))
    assert after == ["sent"]


def test_drain_goes_straight_to_the_dispatcher(hints):
    dispatch.drain("slow", using="default")
    assert hints == [("drain", "slow", "default", 0.0)]


@pytest.mark.django_db(transaction=True)
def test_what_will_be_due_is_told_after_the_commit(hints):
    with transaction.atomic():
        dispatch.drain_after_commit("slow", using="default", delay_seconds=0.5)
        assert hints == []
    assert hints == [("drain", "slow", "default", 0.5)]


def test_one_dispatcher_per_process_until_the_setting_changes(settings):
    first = dispatch.get_dispatcher()
    assert dispatch.get_dispatcher() is first
    settings.DURABLE = {"DISPATCHER": "django_durable.dispatch.NullDispatcher"}
    assert isinstance(dispatch.get_dispatcher(), dispatch.NullDispatcher)


def test_the_null_dispatcher_tells_nobody():
    null = dispatch.NullDispatcher()
    assert null.wake(ID, queue="default", using="default") is None
    assert null.drain("default", using="default") is None


def test_a_dispatcher_that_lacks_a_method_is_refused(settings):
    settings.DURABLE = {"DISPATCHER": f"{__name__}.Incomplete"}
    with pytest.raises(ConfigurationError, match=r"no wake.. and drain"):
        dispatch.get_dispatcher()
