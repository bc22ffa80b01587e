"""Updates: one answer for each request, at a place in the history that every replay agrees on."""

import uuid
from dataclasses import dataclass
from datetime import timedelta

import pytest
from django.db import transaction

from django_durable import Cancelled, Retry, UpdateFailed, client, step, workflow
from django_durable.engine import advance as passes
from django_durable.exceptions import (
    CodecError,
    ConfigurationError,
    ExecutionClosedError,
    ExecutionConflict,
    ExecutionNotFoundError,
    InvalidOptionError,
    ResultTimeoutError,
    TransactionOpenError,
)
from django_durable.models import Signal, Step
from tests.authoring import Deployed, Killed, no_op, rows


@dataclass(frozen=True)
class Address:
    street: str


def answering(flow):
    """The updates that these tests ask for."""

    @flow.update("add")
    def add(state, number: int):
        state["sum"] = state.get("sum", 0) + number
        return state["sum"]

    @flow.update("move", validator=refuse_nowhere)
    def move(state, address: Address):
        before, state["address"] = state.get("address"), address
        return before

    @flow.update("broken")
    def broken(state, payload):
        state["sum"] = 10**6
        raise LookupError(f"no {payload}")

    @flow.update("odd")
    def odd(state, payload):
        state["odd"] = payload
        return object()

    @flow.query("state")
    def whole(state):
        return state

    return flow


def refuse_nowhere(address):
    if not isinstance(address, Address):
        raise TypeError("an address, please")
    return address.street != "nowhere"


@pytest.fixture
def looks():
    """What a workflow saw, by place, over all its runs."""
    return {}


@pytest.fixture
def flow(looks):
    """Waits for three signals, looks at the state around each wait, and returns what it saw."""

    @workflow("flow")
    def flow(ctx):
        for number in range(3):
            looks.setdefault(f"before {number}", []).append(dict(ctx.state))
            ctx.wait_for_signal("go")
            looks.setdefault(f"behind {number}", []).append(dict(ctx.state))
        return dict(ctx.state)

    return answering(flow)


def first_looks(looks):
    """What was seen at each place; it must have been the same each time."""
    for place, seen in looks.items():
        assert all(each == seen[0] for each in seen), (place, seen)
    return {place: seen[0] for place, seen in looks.items()}


def kinds(execution):
    return list(Step.objects.filter(execution_id=execution.id).order_by("position").values_list("kind", "name"))


# -- the answer ----------------------------------------------------------------------------------------


def test_a_waiting_workflow_answers_and_goes_on_waiting(durable, flow):
    execution = flow.start()
    durable.run_until_idle()
    assert [durable.update(execution, "add", number) for number in (2, 3)] == [2, 5]
    found = durable.inspect(execution)
    assert (found.status, found.waiting_for, found.pending_signals) == ("waiting", "signal go", ())
    assert kinds(execution) == [
        ("wait", "signal:go"),
        ("update", "__update:add"),
        ("update", "__update:add#2"),
    ]


def test_the_code_sees_a_change_behind_the_wait_and_never_before_it(durable, flow, looks):
    execution = flow.start()
    durable.run_until_idle()
    durable.update(execution, "add", 1)
    durable.update(execution, "add", 1)
    durable.signal(execution, "go")
    durable.update(execution, "add", 1)
    durable.signal(execution, "go")
    durable.signal(execution, "go")
    assert client.result(execution) == {"sum": 3}
    assert first_looks(looks) == {
        "before 0": {},
        "behind 0": {"sum": 2},
        "before 1": {"sum": 2},
        "behind 1": {"sum": 3},
        "before 2": {"sum": 3},
        "behind 2": {"sum": 3},
    }


def test_what_came_before_the_first_pass_is_answered_at_the_first_wait(durable, flow, looks):
    execution = flow.start()
    ids = [client.send_update(execution, "add", number) for number in (1, 2)]
    durable.run_until_idle()
    assert [client.update_result(execution, each) for each in ids] == [1, 3]
    for _ in range(3):
        durable.signal(execution, "go")
    assert first_looks(looks)["before 0"] == {}
    assert client.result(execution) == {"sum": 3}


def test_a_signal_and_an_update_that_come_together_are_both_seen(durable, flow, looks):
    execution = flow.start()
    durable.run_until_idle()
    client.signal(execution, "go")
    asked = client.send_update(execution, "add", 1)
    client.signal(execution, "go")
    durable.run_until_idle()
    assert client.update_result(execution, asked) == 1
    assert first_looks(looks)["before 2"] == {}
    durable.signal(execution, "go")
    assert client.result(execution) == {"sum": 1}


def test_values_of_every_kind_come_through(durable, flow):
    execution = flow.start()
    durable.run_until_idle()
    assert durable.update(execution, "move", Address("first")) is None
    assert durable.update(execution, "move", Address("second")) == Address("first")
    assert client.query(execution, "state") == {"address": Address("second")}


def test_it_is_answered_during_a_sleep_a_retry_and_a_wait_for_a_child(durable):
    @step(retry=Retry(max_attempts=2, initial_seconds=60, jitter=0))
    def flaky():
        raise OSError

    @workflow("child")
    def child(ctx):
        ctx.wait_for_signal("go")

    waits = {
        "sleep": lambda ctx: ctx.sleep(60),
        "retry": lambda ctx: ctx.step(flaky),
        "join": lambda ctx: ctx.call(child),
    }
    for name, wait in waits.items():
        deployed = Deployed(name, wait)
        execution = answering(deployed.workflow).start()
        durable.run_until_idle()
        assert durable.update(execution, "add", 1) == 1
        assert durable.update(execution, "add", 1) == 2


@pytest.mark.parametrize(
    ("name", "payload", "type_name", "message"),
    [("broken", "luck", "LookupError", "no luck"), ("odd", 1, "CodecError", "cannot be stored")],
)
def test_what_its_handler_raises_is_the_callers_and_changes_nothing(durable, flow, name, payload, type_name, message):
    execution = flow.start()
    durable.run_until_idle()
    durable.update(execution, "add", 1)
    with pytest.raises(UpdateFailed, match=message) as failed:
        durable.update(execution, name, payload)
    assert (failed.value.update, failed.value.type_name.rpartition(".")[2]) == (name, type_name)
    assert name in failed.value.traceback_text or type_name in failed.value.traceback_text
    assert client.query(execution, "state") == {"sum": 1}
    assert durable.update(execution, "add", 1) == 2


def test_what_a_handler_does_to_nested_values_and_names_is_kept(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.state.set(basket=["apple"], gone=1, kept={"a": 1}, number=1)
        ctx.wait_for_signal("go")
        return dict(ctx.state)

    @flow.update("change")
    def change(state, payload):
        state["basket"].append(payload)
        state["number"] = 1.0
        del state["gone"]
        return state["basket"]

    execution = flow.start()
    durable.run_until_idle()
    assert durable.update(execution, "change", "pear") == ["apple", "pear"]
    recorded = next(each for each in durable.inspect(execution).history if each.kind == "update")
    assert recorded.result == {
        "reply": ["apple", "pear"],
        "set": {"basket": ["apple", "pear"], "number": 1.0},
        "removed": ["gone"],
    }
    durable.signal(execution, "go")
    result = client.result(execution)
    assert result == {"basket": ["apple", "pear"], "kept": {"a": 1}, "number": 1.0}
    assert type(result["number"]) is float


# -- asking --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "error", "told"),
    [
        (
            lambda run: client.send_update(run, "nothing"),
            InvalidOptionError,
            "has no update 'nothing'; it has: 'add', ",
        ),
        (lambda run: client.send_update(run, "move", 7), TypeError, "an address, please"),
        (
            lambda run: client.send_update(run, "move", Address("nowhere")),
            InvalidOptionError,
            "refused by its validator",
        ),
        (lambda run: client.send_update(run, "add", object()), CodecError, "object"),
        (lambda run: client.send_update(run, "add", 1, update_id=""), InvalidOptionError, "update_id"),
        (lambda run: client.send_update(run, "add", 1, update_id="x" * 191), InvalidOptionError, "at most 190"),
        (lambda run: client.send_update(uuid.uuid4(), "add", 1), ExecutionNotFoundError, "No execution"),
        (lambda run: client.update(run, "add", 1), TransactionOpenError, "inside a transaction"),
        (lambda run: client.signal(run, "update/add", 1), InvalidOptionError, "cannot be used"),
        (lambda run: client.update_result(run, uuid.uuid4(), timeout=0), InvalidOptionError, "is no update"),
        (lambda run: client.update_result(run, "add", timeout=0), InvalidOptionError, "what send_update returned"),
    ],
)
def test_what_is_wrong_is_said_at_the_call_and_nothing_is_written(durable, flow, ask, error, told):
    execution = flow.start()
    durable.run_until_idle()
    before = rows()
    with pytest.raises(error, match=told):
        ask(execution)
    assert rows() == before


def test_a_repeat_gets_the_first_reply_also_after_the_end(durable, flow):
    execution = flow.start()
    first = client.send_update(execution, "add", 1, update_id="one")
    assert client.send_update(execution, "add", 1, update_id="one") == first
    durable.run_until_idle()
    assert client.send_update(execution, "add", 5, update_id="one") == first
    for _ in range(3):
        durable.signal(execution, "go")
    assert client.result(execution) == {"sum": 1}
    assert client.update_result(execution, client.send_update(execution, "add", 1, update_id="one")) == 1
    with pytest.raises(ExecutionConflict, match="was used for update 'add'"):
        client.send_update(execution, "broken", 1, update_id="one")


def test_ids_of_signals_are_others_than_ids_of_updates(durable, flow):
    execution = flow.start()
    assert client.signal(execution, "go", signal_id="one")
    client.send_update(execution, "add", 1, update_id="one")
    assert client.signal(execution, "go", signal_id="update:one")
    assert Signal.objects.count() == 3


def test_a_request_in_a_transaction_that_rolls_back_was_never_made(durable, flow):
    execution = flow.start()
    durable.run_until_idle()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        client.send_update(execution, "add", 1)
        raise ZeroDivisionError
    durable.run_until_idle()
    assert client.query(execution, "state") == {}


def test_the_reply_is_waited_for_for_so_long(durable, flow, monkeypatch):
    monkeypatch.setattr(client.messages, "refuse_transaction", lambda using: None)
    execution = flow.start()
    with pytest.raises(ResultTimeoutError, match="Update"):
        client.update(execution, "add", 1, update_id="one", timeout=0.01)
    durable.run_until_idle()
    assert client.update(execution, "add", 1, update_id="one", timeout=0.01) == 1


# -- the end -------------------------------------------------------------------------------------------


def test_who_asks_when_it_ends_is_told_so(durable):
    asked = []

    def body():
        asked.append(client.send_update(execution, "add", 1))

    @workflow("flow")
    def flow(ctx):
        ctx.step("ask", body)
        return dict(ctx.state)

    execution = answering(flow).start()
    assert durable.run(execution) == {}
    with pytest.raises(ExecutionClosedError):
        client.update_result(execution, asked[0])
    with pytest.raises(ExecutionClosedError):
        client.send_update(execution, "add", 1)


def test_a_workflow_that_cleans_up_after_a_cancellation_still_answers(durable):
    @workflow("flow")
    def flow(ctx):
        try:
            ctx.wait_for_signal("never")
        except Cancelled:
            ctx.sleep(60)
            ctx.step("sum", lambda: None) if ctx.state.get("sum") == 1 else None
            raise

    execution = answering(flow).start()
    durable.run_until_idle()
    client.cancel(execution)
    durable.run_until_idle()
    assert durable.update(execution, "add", 1) == 1
    durable.advance(timedelta(seconds=60))
    assert durable.inspect(execution).status == "cancelled"
    assert kinds(execution)[-1] == ("step", "sum")


def test_an_update_that_came_with_a_cancellation_is_answered_if_the_clean_up_waits(durable, flow):
    execution = flow.start()
    durable.run_until_idle()
    asked = client.send_update(execution, "add", 1)
    client.cancel(execution)
    durable.run_until_idle()
    assert durable.inspect(execution).status == "cancelled"
    with pytest.raises(ExecutionClosedError):
        client.update_result(execution, asked)


def test_one_whose_end_is_decided_answers_no_more(durable):
    @step(retry=Retry(max_attempts=2, initial_seconds=60, jitter=0))
    def undo(value):
        if durable.clock.now() < late:
            raise OSError

    @workflow("flow")
    def flow(ctx):
        ctx.step("car", no_op, compensate=undo)
        raise ValueError

    late = durable.clock.now() + timedelta(seconds=60)
    execution = answering(flow).start()
    durable.run_until_idle()
    assert durable.inspect(execution).status == "compensating"
    asked = client.send_update(execution, "add", 1)
    durable.run_until_idle()
    with pytest.raises(ResultTimeoutError):
        monkeyless_result(execution, asked)
    durable.advance(timedelta(seconds=60))
    assert durable.inspect(execution).status == "failed"
    with pytest.raises(ExecutionClosedError):
        client.update_result(execution, asked)


def monkeyless_result(execution, asked):
    """Look once, in a test's transaction."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(client.messages, "refuse_transaction", lambda using: None)
        return client.update_result(execution, asked, timeout=0)


def test_a_rollback_in_the_middle_answers_while_it_waits(durable):
    @step(retry=Retry(max_attempts=2, initial_seconds=60, jitter=0))
    def undo(value):
        if durable.clock.now() < late:
            raise OSError

    @workflow("flow")
    def flow(ctx):
        ctx.step("car", no_op, compensate=undo)
        ctx.rollback()
        return dict(ctx.state)

    late = durable.clock.now() + timedelta(seconds=60)
    execution = answering(flow).start()
    durable.run_until_idle()
    assert durable.update(execution, "add", 1) == 1
    durable.advance(timedelta(seconds=60))
    assert client.result(execution) == {"sum": 1}


# -- waiting for a change ------------------------------------------------------------------------------


def test_a_wait_for_a_condition_goes_on_in_the_pass_that_answers(durable):
    @workflow("flow")
    def flow(ctx):
        ctx.wait_until(lambda state: state.get("sum", 0) >= 3)
        return dict(ctx.state)

    execution = answering(flow).start()
    durable.run_until_idle()
    assert durable.update(execution, "add", 1) == 1
    assert durable.inspect(execution).status == "waiting"
    asked = client.send_update(execution, "add", 2)
    assert durable.run_until_idle() == 1
    assert client.update_result(execution, asked) == 3
    assert client.result(execution) == {"sum": 3}
    assert [kind for kind, _ in kinds(execution)] == ["until", "update", "update"]


def test_the_reply_is_there_before_a_step_that_follows_begins(durable):
    replies = []

    @workflow("flow")
    def flow(ctx):
        ctx.wait_until(lambda state: "sum" in state)
        ctx.step("long", lambda: replies.append(client.update_result(execution, asked)))

    execution = answering(flow).start()
    asked = client.send_update(execution, "add", 1)
    durable.run(execution)
    assert replies == [1]


def test_a_branch_waits_for_an_update_and_sees_it(durable, looks):
    @workflow("flow")
    def flow(ctx):
        def approved(ctx):
            looks.setdefault("before", []).append(dict(ctx.state))
            held = ctx.wait_until(lambda state: "sum" in state, timeout=3600)
            looks.setdefault("behind", []).append(dict(ctx.state))
            ctx.wait_for_signal("go")
            looks.setdefault("end", []).append(dict(ctx.state))
            return held

        def working(ctx):
            ctx.state.set(work=1)
            ctx.wait_for_signal("done")
            looks.setdefault("working", []).append(dict(ctx.state))
            ctx.state.set(work=2)

        held = ctx.parallel({"approved": approved, "working": working})["approved"]
        looks.setdefault("after", []).append(dict(ctx.state))
        ctx.wait_for_signal("go")
        return held, dict(ctx.state)

    execution = answering(flow).start()
    durable.run_until_idle()
    assert durable.update(execution, "add", 1) == 1
    assert durable.update(execution, "add", 1) == 2
    assert client.query(execution, "state") == {"work": 1, "sum": 2}
    for name in ("done", "go", "go"):
        durable.signal(execution, name)
    assert client.result(execution) == (True, {"sum": 2, "work": 2})
    assert first_looks(looks) == {
        "before": {},
        "behind": {"work": 1, "sum": 1},
        "end": {"work": 1, "sum": 1},
        "working": {"work": 1},
        "after": {"sum": 2, "work": 2},
    }


def test_the_branch_of_a_switch_sees_updates_like_the_code_around_it(durable, looks):
    @workflow("flow")
    def flow(ctx):
        def branch(ctx):
            looks.setdefault("in", []).append(dict(ctx.state))
            ctx.wait_for_signal("go")
            looks.setdefault("behind", []).append(dict(ctx.state))
            ctx.state.set(inside=1)

        ctx.switch("way", 1, {}, default=branch)
        looks.setdefault("out", []).append(dict(ctx.state))
        ctx.wait_for_signal("go")
        return dict(ctx.state)

    execution = answering(flow).start()
    durable.run_until_idle()
    durable.update(execution, "add", 1)
    durable.signal(execution, "go")
    durable.update(execution, "add", 1)
    durable.signal(execution, "go")
    assert client.result(execution) == {"sum": 2, "inside": 1}
    assert first_looks(looks) == {"in": {}, "behind": {"sum": 1}, "out": {"sum": 1, "inside": 1}}


# -- crashes and interruptions -------------------------------------------------------------------------


def test_a_death_before_the_park_loses_no_update_and_answers_none_twice(durable, flow, monkeypatch):
    execution = flow.start()
    durable.run_until_idle()
    asked = client.send_update(execution, "add", 1)
    with monkeypatch.context() as patch:
        patch.setattr(passes, "_park", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            durable.run_until_idle()
    assert kinds(execution) == [("wait", "signal:go")]
    durable.advance(timedelta(minutes=5))
    assert client.update_result(execution, asked) == 1
    assert client.query(execution, "state") == {"sum": 1}


def test_news_between_the_answer_and_the_park_is_looked_at(durable, flow, monkeypatch):
    """The answers are kept in memory meanwhile, and are not given twice."""
    execution = flow.start()
    durable.run_until_idle()
    asked = [client.send_update(execution, "add", 1)]
    real, late = passes._park, ["late"]

    def park(*what):
        if late:
            late.pop()
            asked.append(client.send_update(execution, "add", 10))
            client.signal(execution, "go")
        return real(*what)

    monkeypatch.setattr(passes, "_park", park)
    durable.run_until_idle()
    assert [client.update_result(execution, each) for each in asked] == [1, 11]
    assert client.query(execution, "state") == {"sum": 11}
    assert Signal.objects.filter(consumed_by="").count() == 0
    positions = list(Step.objects.filter(execution_id=execution.id).values_list("position", flat=True))
    assert sorted(positions) == list(range(len(positions)))


def test_code_that_does_not_have_the_update_any_more_answers_with_an_error(durable):
    deployed = Deployed("flow", lambda ctx: ctx.wait_for_signal("go"))
    execution = answering(deployed.workflow).start()
    asked = client.send_update(execution, "add", 1)
    deployed.workflow.updates.clear()
    durable.run_until_idle()
    with pytest.raises(UpdateFailed, match="has no update 'add'; it has: none"):
        client.update_result(execution, asked)


# -- declaring -----------------------------------------------------------------------------------------


def test_declarations_that_cannot_work_are_refused(flow):
    async def later(state, payload): ...

    with pytest.raises(ConfigurationError, match="two functions for its update 'add'"):
        flow.update("add")(no_op)
    with pytest.raises(ConfigurationError, match="must be a plain function"):
        flow.update("later")(later)
    with pytest.raises(ConfigurationError, match="must be a plain function"):
        flow.query("later")(later)
    with pytest.raises(InvalidOptionError, match="Query name"):
        flow.query("not a name")
    with pytest.raises(InvalidOptionError, match="at most 190"):
        flow.update("x" * 191)
    with pytest.raises(InvalidOptionError, match="validator=7"):
        flow.update("checked", validator=7)


def test_they_are_functions_that_a_test_may_call(flow):
    @flow.update("set")
    def set_(state, payload):
        state["set"] = payload

    state = {}
    set_(state, 7)
    assert state == {"set": 7}
