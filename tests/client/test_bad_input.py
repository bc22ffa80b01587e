"""Bad input: refused where it is given, with what to do, and nothing is written."""

import re
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import Group

from django_durable import (
    CodecError,
    InvalidOptionError,
    PayloadTooLargeError,
    Retry,
    SignalType,
    UnknownWorkflowError,
    client,
    step,
    workflow,
)
from tests.authoring import rows

NAIVE = datetime(2026, 1, 1)
DEEP: list = []
for _ in range(101):
    DEEP = [DEEP]


@pytest.fixture
def flow():
    @workflow("bad.flow")
    def flow(ctx, given=None):
        return given

    return flow


PAYLOADS = {
    "NaN": (float("nan"), CodecError, "not a JSON number"),
    "infinity in a dict": ({"a": [float("inf")]}, CodecError, r"\[\"a\"\]\[0\]: "),
    "a key that is no string": ({1: "a"}, CodecError, "keys must be str"),
    "an unknown class": (object(), CodecError, "regist"),
    "too deep": (DEEP, CodecError, "Nested deeper than 100"),
    "too large": ("x" * (1024 * 1024), PayloadTooLargeError, "pass its key"),
}


@pytest.mark.parametrize(("value", "error", "advice"), PAYLOADS.values(), ids=PAYLOADS)
def test_payloads_that_cannot_be_stored_are_refused_at_start_and_signal(durable, flow, value, error, advice):
    execution = flow.start()
    before = rows()
    with pytest.raises(error, match=advice):
        flow.start(value)
    with pytest.raises(error, match=advice):
        client.signal(execution, "go", value)
    assert rows() == before


def test_a_payload_just_below_the_limit_is_taken(durable, flow):
    assert len(durable.run(flow.start("x" * (1024 * 1024 - 100)))) == 1024 * 1024 - 100


def test_a_model_instance_is_refused_with_the_way_out(durable, flow):
    group = Group.objects.create(name="g")
    with pytest.raises(CodecError, match="pk"):
        flow.start(group)
    with pytest.raises(CodecError):
        flow.start(Group.objects.all())
    assert set(rows().values()) == {0}


def test_wrong_arguments_are_a_type_error_at_the_start(durable, flow):
    with pytest.raises(TypeError):
        flow.start(1, 2)
    with pytest.raises(TypeError):
        client.start("bad.flow", unknown=1)
    assert set(rows().values()) == {0}


def test_an_unknown_workflow_or_version_is_refused(durable):
    with pytest.raises(UnknownWorkflowError, match=re.escape("`workflows.py` of installed apps")):
        client.start("bad.nowhere")


OPTIONS = {
    "both delay and at": {"delay": 1, "at": NAIVE},
    "naive at": {"at": NAIVE},
    "at is no datetime": {"at": "tomorrow"},
    "negative delay": {"delay": -1},
    "endless delay": {"delay": float("inf")},
    "delay is a string": {"delay": "5"},
    "delay is a boolean": {"delay": True},
    "zero timeout": {"timeout": 0},
    "negative timeout": {"timeout": timedelta(seconds=-1)},
    "timeout is NaN": {"timeout": float("nan")},
    "timeout is a string": {"timeout": "1h"},
    "empty key": {"key": ""},
    "long key": {"key": "x" * 201},
    "key with a newline": {"key": "a\nb"},
    "key is no string": {"key": 7},
    "unknown priority": {"priority": "urgent"},
    "queue with odd characters": {"queue": "a b"},
    "unknown queue": {"queue": "nobody-reads-it"},
    "label that is no string": {"labels": {"n": 1}},
    "label name with odd characters": {"labels": {"a b": "x"}},
    "subject that is no model": {"subject": "order 1"},
    "subject that is not saved": {"subject": Group(name="unsaved")},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_bad_start_options_are_refused_and_nothing_is_written(durable, flow, options):
    with pytest.raises(InvalidOptionError, match=r"give|Give|add it"):
        flow.using(**options).start()
    assert set(rows().values()) == {0}


@pytest.mark.parametrize("name", ["", "a b", "ä", "a\n", "x" * 201, "a/b", "<b>", None, 7])
def test_odd_names_are_refused_everywhere(durable, flow, name):
    execution = flow.start()
    before = rows()
    with pytest.raises(InvalidOptionError):
        workflow(name)
    with pytest.raises(InvalidOptionError):
        SignalType(name)
    with pytest.raises(InvalidOptionError):
        client.signal(execution, name)
    assert rows() == before


@pytest.mark.parametrize("signal_id", ["", "x" * 201, "a\tb", 5])
def test_odd_signal_ids_are_refused(durable, flow, signal_id):
    execution = flow.start()
    with pytest.raises(InvalidOptionError, match="signal_id"):
        client.signal(execution, "go", signal_id=signal_id)


CALLS = {
    "negative sleep": lambda ctx: ctx.sleep(-1),
    "sleep of a string": lambda ctx: ctx.sleep("5"),
    "sleep of NaN": lambda ctx: ctx.sleep(float("nan")),
    "naive sleep_until": lambda ctx: ctx.sleep_until(NAIVE),
    "negative wait": lambda ctx: ctx.wait_for_signal("go", timeout=-1),
    "odd signal name": lambda ctx: ctx.wait_for_signal("a b"),
    "token for an odd signal name": lambda ctx: ctx.signal_token("a b", expires=60),
    "token that has expired already": lambda ctx: ctx.signal_token("go", expires=0),
    "token without an end": lambda ctx: ctx.signal_token("go", expires=None),
    "odd step id": lambda ctx: ctx.step("a b", len, []),
    "numbered step id": lambda ctx: ctx.step("a#2", len, []),
    "reserved step id": lambda ctx: ctx.step("__x", len, []),
    "rollback step id": lambda ctx: ctx.step("rollback:x", len, []),
    "no function": lambda ctx: ctx.step("a", 5),
    "neither id nor function": lambda ctx: ctx.step(5),
    "a lambda without an id": lambda ctx: ctx.step(lambda: 1),
    "a note that is no text": lambda ctx: ctx.note(5),
    "an endless note": lambda ctx: ctx.note("x" * 2001),
    "progress of a half": lambda ctx: ctx.progress(0.5),
    "negative progress": lambda ctx: ctx.progress(-1, 5),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_bad_durable_calls_are_refused_at_the_call_and_leave_no_checkpoint(durable, call):
    seen = []

    @workflow("bad.call")
    def flow(ctx):
        with pytest.raises(InvalidOptionError) as caught:
            call(ctx)
        seen.append(str(caught.value))

    durable.run(flow.start())
    assert seen
    assert rows()["Step"] == 0


DEFINITIONS = {
    "a version of zero": lambda: workflow("x", version=0),
    "a version that is no number": lambda: workflow("x", version="1"),
    "an unknown priority": lambda: workflow("x", priority="urgent"),
    "a negative timeout": lambda: step(timeout=-1)(len),
    "a retry that is none": lambda: step(retry=3)(len),
    "raises that are no classes": lambda: step(raises=(1,))(len),
    "raises that is no tuple": lambda: step(raises=ValueError)(len),
    "at most once with retries": lambda: step(at_most_once=True, retry=Retry(max_attempts=2))(len),
    "at most once and atomic": lambda: step(at_most_once=True, atomic=True)(len),
    "no attempts": lambda: Retry(max_attempts=0),
}


@pytest.mark.parametrize("define", DEFINITIONS.values(), ids=DEFINITIONS)
def test_bad_definitions_are_refused_where_they_are_written(define):
    with pytest.raises(InvalidOptionError):
        define()


def test_an_id_that_is_no_uuid_is_refused(durable):
    for order in (client.cancel, client.terminate, lambda pk: client.signal(pk, "go")):
        with pytest.raises(InvalidOptionError, match="give a UUID"):
            order(f"{uuid4()}x")
