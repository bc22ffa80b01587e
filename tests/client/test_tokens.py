"""signal_by_token and get_by_token: one use, in time, for one signal; refused in words that help the right person."""

import traceback
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import OperationalError, transaction
from django.test import RequestFactory
from django.views.debug import SafeExceptionReporterFilter

from django_durable import (
    CodecError,
    ExecutionClosedError,
    ExpiredTokenError,
    InvalidOptionError,
    InvalidTokenError,
    SignalType,
    TokenError,
    UsedTokenError,
    client,
    register_type,
    workflow,
)
from django_durable.models import Execution, Signal
from django_durable.testing.faults import DatabaseCalls, watch_database
from tests.authoring import rows

HOUR = timedelta(hours=1)


@register_type
@dataclass(frozen=True)
class Decision:
    by: str


decided = SignalType("client.decided", payload=Decision)


@pytest.fixture
def asked(durable):
    """An execution that has issued a token and waits; ``count`` signals end it."""
    tokens = []

    @workflow("client.asks")
    def asks(ctx, count):
        tokens.append(ctx.signal_token(decided, expires=HOUR))
        return [ctx.wait_for_signal(decided).by for _ in range(count)]

    def ask(count=1):
        execution = asks.start(count)
        durable.run_until_idle()
        return SimpleNamespace(execution=execution, token=tokens[-1])

    return ask


def test_a_token_brings_its_signal_to_the_execution_that_issued_it(durable, asked):
    first, second = asked(), asked()
    assert client.signal_by_token(first.token, decided, Decision("ada")) == first.execution.id
    assert client.signal_by_token(second.token, decided, Decision("bob")) == second.execution.id
    assert (durable.run(first.execution), durable.run(second.execution)) == (["ada"], ["bob"])


def test_the_second_use_is_refused_and_writes_nothing(asked):
    found = asked(count=2)
    client.signal_by_token(found.token, decided, Decision("ada"))
    before = rows()
    with pytest.raises(UsedTokenError, match=r"used before.*one signal"):
        client.signal_by_token(found.token, decided, Decision("bob"))
    assert rows() == before
    assert client.get(found.execution).timer.wake_seq == 1


def test_a_second_use_after_the_end_is_told_as_that(durable, asked):
    found = asked()
    client.signal_by_token(found.token, decided, Decision("ada"))
    durable.run(found.execution)
    with pytest.raises(UsedTokenError):
        client.signal_by_token(found.token, decided, Decision("ada"))


def test_an_expired_token_is_refused_to_the_second(durable, asked):
    found = asked(count=2)
    durable.advance(HOUR - timedelta(seconds=1))
    assert client.get_by_token(found.token, decided).id == found.execution.id
    durable.advance(timedelta(seconds=1))
    with pytest.raises(ExpiredTokenError, match=r"expired.*issue another"):
        client.signal_by_token(found.token, decided, Decision("ada"))
    assert not Signal.objects.exists()


def test_a_used_token_that_expires_stays_a_used_one(durable, asked):
    found = asked(count=2)
    client.signal_by_token(found.token, decided, Decision("ada"))
    durable.advance(2 * HOUR)
    with pytest.raises(UsedTokenError):
        client.signal_by_token(found.token, decided, Decision("ada"))


def test_a_token_of_a_closed_execution_is_refused(durable, asked):
    found = asked()
    client.terminate(found.execution)
    for use in (client.get_by_token, client.signal_by_token):
        with pytest.raises(ExecutionClosedError, match="is terminated"):
            use(found.token, "client.decided")
    assert not Signal.objects.exists()


def test_a_token_is_good_for_the_signal_it_was_issued_for(asked):
    found = asked()
    for use in (client.get_by_token, client.signal_by_token):
        with pytest.raises(InvalidTokenError):
            use(found.token, "client.paid")
    assert not Signal.objects.exists()


def test_a_token_of_a_deleted_execution_is_like_one_that_never_was(asked):
    found = asked()
    client.terminate(found.execution)
    Execution.objects.all().delete()
    with pytest.raises(InvalidTokenError) as gone:
        client.signal_by_token(found.token, decided, Decision("ada"))
    with pytest.raises(InvalidTokenError) as forged:
        client.signal_by_token("a.b", decided, Decision("ada"))
    assert str(gone.value) == str(forged.value)
    assert gone.value.__cause__ is forged.value.__cause__ is None


def test_one_class_catches_every_refusal_of_a_token():
    assert set(TokenError.__subclasses__()) == {InvalidTokenError, ExpiredTokenError, UsedTokenError}


@pytest.mark.parametrize(
    ("payload", "error"),
    [({"by": "ada"}, InvalidOptionError), (Decision(by=object()), CodecError)],
    ids=["another class", "cannot be stored"],
)
def test_a_bad_payload_is_refused_and_the_token_stays_good(durable, asked, payload, error):
    found = asked()
    with pytest.raises(error):
        client.signal_by_token(found.token, decided, payload)
    client.signal_by_token(found.token, decided, Decision("ada"))
    assert durable.run(found.execution) == ["ada"]


@pytest.mark.parametrize("name", ["", "a b", None, 7])
def test_odd_signal_names_are_refused(asked, name):
    found = asked()
    for use in (client.get_by_token, client.signal_by_token):
        with pytest.raises(InvalidOptionError, match="Signal name"):
            use(found.token, name)


def test_looking_does_not_use_it(durable, asked):
    found = asked()
    for _ in range(3):
        assert client.get_by_token(found.token, decided).id == found.execution.id
    client.signal_by_token(found.token, decided, Decision("ada"))
    with pytest.raises(UsedTokenError):
        client.get_by_token(found.token, decided)


def test_a_use_that_is_rolled_back_is_none(durable, asked):
    found = asked()
    with transaction.atomic():
        client.signal_by_token(found.token, decided, Decision("ada"))
        transaction.set_rollback(True)
    client.signal_by_token(found.token, decided, Decision("bob"))
    assert durable.run(found.execution) == ["bob"]


def test_a_refusal_leaves_the_callers_transaction_usable(durable, asked):
    found = asked(count=2)
    client.signal_by_token(found.token, decided, Decision("ada"))
    with transaction.atomic():
        with pytest.raises(UsedTokenError):
            client.signal_by_token(found.token, decided, Decision("bob"))
        client.signal(found.execution, decided, Decision("cyd"))
    assert durable.run(found.execution) == ["ada", "cyd"]


def test_a_token_can_be_used_before_the_workflow_waits(durable):
    tokens = []

    @workflow("client.asks_late")
    def asks_late(ctx):
        tokens.append(ctx.signal_token("go", expires=2 * HOUR))
        ctx.sleep(HOUR)
        return ctx.wait_for_signal("go")

    execution = asks_late.start()
    durable.run_until_idle()
    client.signal_by_token(tokens[0], "go", "early")
    durable.advance(HOUR)
    assert client.result(execution) == "early"


@pytest.mark.parametrize("use", [client.get_by_token, client.signal_by_token], ids=lambda use: use.__name__)
def test_an_error_mail_about_a_failed_use_does_not_show_the_token(asked, use):
    found = asked()
    with pytest.raises(OperationalError) as failed, watch_database(DatabaseCalls(at=1, die=_refuse)):
        use(found.token, "client.decided")
    frames = [frame for frame, _ in traceback.walk_tb(failed.tb)]
    (ours,) = (frame for frame in frames if frame.f_code.co_name == use.__name__)
    shown = dict(SafeExceptionReporterFilter().get_traceback_frame_variables(RequestFactory().get("/"), ours))
    assert shown["token"] == SafeExceptionReporterFilter.cleansed_substitute
    assert [frame.f_code.co_name for frame in frames if found.token in frame.f_locals.values()] == [use.__name__]


def _refuse():
    raise OperationalError("no answer")
