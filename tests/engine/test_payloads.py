"""Stored payloads: the limit, and the project's cipher around everything that quotes user data."""

from datetime import timedelta

import pytest

from django_durable import client, workflow
from django_durable.engine import payloads
from django_durable.exceptions import CodecError, ExecutionConflict, ExecutionFailedError, PayloadTooLargeError
from django_durable.models import Execution, Signal, Step
from tests.ciphers import ROT13


@pytest.fixture
def sealed(durable, settings):
    settings.DURABLE = {**settings.DURABLE, "PAYLOAD_CIPHER": ROT13}


def stored():
    """Every text that could quote a payload."""
    texts = [*Execution.objects.values_list("input", "result", "error"), *Step.objects.values_list("result", "error")]
    texts += Signal.objects.values_list("payload")
    return [text for row in texts for text in row if text is not None]


def test_a_value_comes_back_equal_and_fresh():
    value = {"a": [1, (2, 3)]}
    text = payloads.dump(value)
    assert payloads.load(text) == value
    assert payloads.load(text) is not payloads.load(text)


def test_the_limit_is_the_settings(settings):
    settings.DURABLE = {"PAYLOAD_LIMIT_BYTES": 20}
    assert payloads.load(payloads.dump("x" * 10)) == "x" * 10
    with pytest.raises(PayloadTooLargeError):
        payloads.dump("x" * 20)


def test_text_that_is_no_payload_is_refused():
    with pytest.raises(CodecError):
        payloads.load("nonsense")


def test_everything_that_quotes_user_data_goes_through_the_cipher(sealed, durable):
    @workflow("flow")
    def flow(ctx, name):
        ctx.step("greet", lambda: f"hello {name}")
        ctx.sleep(1)
        got = ctx.wait_for_signal("go")
        if got == "fail":
            raise ValueError(name)
        return [name, got]

    good, bad = flow.start("secret"), flow.start("secret")
    durable.advance(timedelta(seconds=1))
    durable.signal(good, "go", "secret")
    durable.signal(bad, "go", "fail")
    assert client.result(good) == ["secret", "secret"]
    with pytest.raises(ExecutionFailedError, match="ValueError: secret"):
        client.result(bad)
    assert len(stored()) >= 8
    assert all(text.startswith("sealed:") and "secret" not in text for text in stored())


def test_people_see_through_the_cipher(sealed, durable):
    @workflow("flow")
    def flow(ctx, name):
        return ctx.wait_for_signal("go")

    execution = flow.start("ada")
    client.signal(execution, "other", "grace")
    found = durable.inspect(execution)
    assert (found.input["args"], found.pending_signals[0].payload) == (["ada"], "grace")


def test_a_key_with_the_same_input_is_recognised_through_the_cipher(sealed):
    @workflow("flow")
    def flow(ctx, name):
        pass

    assert flow.using(key="k").start("ada").id == flow.using(key="k").start("ada").id
    with pytest.raises(ExecutionConflict):
        flow.using(key="k").start("grace")
