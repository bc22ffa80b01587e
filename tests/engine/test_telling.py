"""Every Django signal is sent when it should be, with the arguments that the docs promise; and only to listeners."""

from __future__ import annotations

import logging
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db import connection
from django.dispatch import Signal
from django.test.utils import CaptureQueriesContext

from django_durable import Retry, client, on_event, signals, step, workflow
from django_durable.engine import claims, repairs, telling, worker
from django_durable.engine.advance import advance
from django_durable.models import Kind, StepStatus
from tests.authoring import NO_BROKER, Deployed, no_op
from tests.docs.blocks import ROOT
from tests.engine.webhook_server import ALLOWED, receiving

HOUR = timedelta(hours=1)
SIGNALS = {name: value for name, value in vars(signals).items() if isinstance(value, Signal)}
RETRIED = Retry(max_attempts=2, initial_seconds=60, jitter=0)


def promised():
    """The arguments of each signal, by the table of the reference."""
    table = (ROOT / "docs/reference.md").read_text().partition("## Django signals")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", table, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", arguments)) for name, arguments in rows}


class Heard(list):
    """(name of the signal, its facts) in the order of sending."""

    def names(self):
        return [name for name, _ in self]

    def of(self, name):
        return [facts for heard, facts in self if heard == name]


@pytest.fixture
def heard(monkeypatch):
    """Everything that is sent; at once, as if each change were committed by itself."""
    told, receivers = Heard(), {}
    monkeypatch.setattr(signals.transaction, "on_commit", lambda send, **_: send())
    for name, signal in SIGNALS.items():

        def receiver(*, signal, sender, _name=name, **facts):
            told.append((_name, facts))

        receivers[name] = receiver
        signal.connect(receiver)
    yield told
    for name, receiver in receivers.items():
        SIGNALS[name].disconnect(receiver)


class Broken(Exception):
    pass


# -- one story for each signal -------------------------------------------------------------------------


def plain(durable):
    execution = Deployed("flow", lambda ctx: ctx.step("a", no_op)).workflow.start()
    durable.run_until_idle()
    return execution


def waits(durable):
    execution = Deployed("flow", lambda ctx: ctx.wait_for_signal("go")).workflow.start()
    durable.run_until_idle()
    client.signal(execution, "go", signal_id="once")
    client.signal(execution, "go", signal_id="once")
    return execution


def cancelled(durable):
    execution = Deployed("flow", no_op).workflow.start()
    client.cancel(execution, actor="ada", reason="wrong")
    return execution


def retried(durable):
    @step(retry=RETRIED)
    def fails():
        raise Broken

    execution = Deployed("flow", lambda ctx: ctx.step(fails)).workflow.start()
    durable.advance(HOUR)
    return execution


def too_slow(durable):
    @step(timeout=1)
    def slow():
        durable.clock.advance(timedelta(seconds=2))

    execution = Deployed("flow", lambda ctx: ctx.step(slow)).workflow.start()
    durable.run_until_idle()
    return execution


def undone(durable):
    def code(ctx):
        ctx.step("a", no_op, compensate=no_op)
        raise Broken

    execution = Deployed("flow", code).workflow.start()
    durable.run_until_idle()
    return execution


def helped(durable):
    def undo(result):
        raise Broken

    def code(ctx):
        ctx.step("a", no_op, compensate=undo)
        raise Broken

    execution = Deployed("flow", code).workflow.start()
    durable.run_until_idle()
    repairs.settle_compensation(execution.id, StepStatus.SKIPPED, None, using="default", actor="ada", reason="")
    return execution


def mended(durable):
    flow = Deployed("flow", lambda ctx: (ctx.step("a", no_op), ctx.sleep(60)))
    execution = flow.workflow.start()
    durable.run_until_idle()
    code, flow.code = flow.code, lambda ctx: ctx.step("b", no_op)
    durable.advance(timedelta(minutes=2))
    flow.code = code
    durable.advance(HOUR)
    return execution


def parent(durable):
    @workflow("small")
    def small(ctx):
        return 1

    execution = Deployed("flow", lambda ctx: ctx.call(small)).workflow.start()
    durable.run_until_idle()
    return execution


def emits(durable):
    @on_event("paid", retry=Retry(max_attempts=1))
    def refuses(event):
        raise Broken

    execution = Deployed("flow", lambda ctx: ctx.emit("paid")).workflow.start()
    durable.run_until_idle()
    return execution


def refused_outside(durable):
    with receiving() as receiver:
        receiver.answers = [500]
        _, receiver.secret = client.add_webhook(receiver.url, kinds=["terminated"])
        execution = Deployed("flow", no_op).workflow.start()
        client.terminate(execution)
        durable.run_until_idle()
    return execution


def taken_over(durable):
    execution = Deployed("flow", no_op).workflow.start()
    late = claims.take(execution.id, using="default")
    durable.advance(HOUR)
    advance(late)
    return execution


def long(durable):
    execution = Deployed("flow", lambda ctx: [ctx.step("a", no_op) for _ in range(3)]).workflow.start()
    durable.run_until_idle()
    return execution


STORIES = {
    "execution_started": (plain, 1),
    "execution_parked": (waits, 1),
    "execution_closed": (plain, 1),
    "execution_stuck": (mended, 1),
    "execution_unstuck": (mended, 1),
    "cancel_requested": (cancelled, 1),
    "operator_acted": (cancelled, 1),
    "signal_received": (waits, 1),
    "step_completed": (plain, 1),
    "step_failed": (retried, 2),
    "step_retried": (retried, 1),
    "step_timed_out": (too_slow, 1),
    "compensation_started": (undone, 1),
    "compensation_completed": (undone, 1),
    "compensation_gave_up": (helped, 1),
    "child_started": (parent, 1),
    "child_ended": (parent, 1),
    "event_emitted": (emits, 1),
    "delivery_failed": (emits, 1),
    "webhook_failed": (refused_outside, 1),
    "lease_lost": (taken_over, 1),
    "lease_recovered": (taken_over, 1),
    "history_long": (long, 1),
}


def test_there_is_a_row_of_the_reference_and_a_story_for_each():
    assert promised().keys() == SIGNALS.keys() == STORIES.keys()


@pytest.mark.parametrize("name", sorted(SIGNALS))
def test_it_is_sent_with_what_the_reference_promises(durable, settings, heard, name):
    settings.DURABLE = {**NO_BROKER, **ALLOWED, "HISTORY_WARNING": 1 if name == "history_long" else 10_000}
    story, times = STORIES[name]
    execution = story(durable)
    sent = heard.of(name)
    assert len(sent) == times
    for facts in sent:
        assert facts.keys() == promised()[name] | {"using"}
        assert facts["execution_id"] == execution.id
        assert facts["using"] == "default"


def test_the_docstring_names_the_same_arguments():
    rows = re.findall(r"^(\w+) +(execution_id.*)$", signals.__doc__, re.MULTILINE)
    assert {name: set(arguments.split(", ")) for name, arguments in rows} == {
        name: arguments | {"using"} for name, arguments in promised().items()
    }


# -- what is told of some ------------------------------------------------------------------------------


def test_attempts_say_whether_there_is_another(durable, heard):
    retried(durable)
    assert [facts["will_retry"] for facts in heard.of("step_failed")] == [True, False]
    (again,) = heard.of("step_retried")
    assert (again["attempt"], again["type_name"], again["delay_seconds"]) == (1, "Broken", 60)


def test_a_child_is_named_by_its_id(durable, heard):
    execution = parent(durable)
    (child,) = [facts for facts in heard.of("execution_started") if facts["execution_id"] != execution.id]
    assert str(heard.of("child_started")[0]["child_id"]) == str(child["execution_id"])
    assert (str(heard.of("child_ended")[0]["child_id"]), heard.of("child_ended")[0]["status"]) == (
        str(child["execution_id"]),
        "completed",
    )


def test_a_person_who_helps_what_is_stuck_is_told(durable, heard):
    helped(durable)
    (act,) = heard.of("operator_acted")
    assert (act["verb"], act["actor"]) == ("compensation_skipped", "ada")
    assert heard.of("execution_unstuck")[0]["reason"] == "compensation"


def test_a_replay_tells_nothing_again(durable, heard):
    def code(ctx):
        ctx.step("a", no_op)
        ctx.sleep(60)
        ctx.step("b", no_op)

    Deployed("flow", code).workflow.start()
    durable.advance(HOUR)
    assert [facts["step_id"] for facts in heard.of("step_completed")] == ["a", "b"]


@pytest.mark.django_db(transaction=True)
def test_a_step_is_told_after_its_commit(settings):
    settings.DURABLE = NO_BROKER
    found = []

    def look(**facts):
        found.append((connection.in_atomic_block, facts["step_id"]))

    def code(ctx):
        ctx.step("plain", no_op)
        ctx.step(step(name="atomic", atomic=True)(no_op))

    signals.step_completed.connect(look)
    try:
        worker.advance_one(Deployed("flow", code).workflow.start().id, using="default")
    finally:
        signals.step_completed.disconnect(look)
    assert found == [(False, "plain"), (False, "atomic")]


def test_a_reason_that_a_person_gave_is_not_logged(durable, caplog, monkeypatch):
    monkeypatch.setattr(signals.transaction, "on_commit", lambda send, **_: send())
    with caplog.at_level(logging.DEBUG, "django_durable.execution"):
        execution = Deployed("flow", no_op).workflow.start()
        client.cancel(execution, actor="ada", reason="the customer's secret")
    assert "cancel requested" in caplog.text
    assert "secret" not in caplog.text
    assert "secret" not in str([getattr(record, "durable", "") for record in caplog.records])


# -- and when nobody listens ---------------------------------------------------------------------------


def test_when_nobody_listens_nothing_is_built_and_nothing_is_asked(durable, monkeypatch, caplog):
    def unwanted(*args, **kwargs):
        raise AssertionError("nobody asked")

    def work():
        with CaptureQueriesContext(connection) as queries:
            plain(durable)
        return len(queries)

    with caplog.at_level(logging.CRITICAL, "django_durable.execution"):
        work()
        alone = work()
        monkeypatch.setattr(telling, "_facts", unwanted)
        monkeypatch.setattr(telling, "_keep", unwanted)
        monkeypatch.setattr(signals, "transaction", SimpleNamespace(on_commit=unwanted))
        assert work() == alone


def test_every_kind_that_people_look_for_is_told():
    untold = {
        Kind.NOW,
        Kind.PARALLEL,
        Kind.RACE,
        Kind.PATCH,
        Kind.TASK,
        Kind.LOOP,
        Kind.LONG,
        Kind.CONTINUE,
        Kind.TOKEN,
        Kind.BACK,  # an order, which has an entry of its own
    }
    assert {kind for kind, _ in telling.KINDS} == set(Kind) - untold
